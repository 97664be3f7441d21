#!/bin/sh
# Installs the Debian packages that deps.txt lists, if any is missing.
set -eu
cd "$(dirname "$0")/.."
want=$(sed -e 's/#.*//' deps.txt)
command -v dpkg-query >/dev/null || {
	echo "this is no Debian: install the equivalents of" $want "and go on" >&2
	exit 1
}
missing=
for p in $want; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
	sudo=sudo
	command -v sudo >/dev/null || {
		echo "these packages are missing and you are not root (and there is no sudo):$missing" >&2
		echo "ask for: apt-get install$missing" >&2
		exit 1
	}
fi
echo "installing:$missing"
$sudo apt-get update -q
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing

#!/bin/sh
# Installs the Debian packages that deps.txt lists, if any is missing.
set -eu
cd "$(dirname "$0")/.."
want=$(sed -e 's/#.*//' deps.txt)
missing=
for p in $want; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing:$missing"
$sudo apt-get update -q
# The package's own cluster is not needed; deephash makes private ones.
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing

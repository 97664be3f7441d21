#!/bin/bash
# clean.sh: stop the quick start's server and remove all it made.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top"
. test/lib.sh
. doc/quickstart/lib.sh
link=$home
[ -e "$home" ] || { echo "nothing to remove: there is no $home"; exit 0; }
home=$(cd "$home" && pwd -P)
[ -f "$home/.made-by-quickstart" ] || [ -z "$(ls -A "$home")" ] ||
	fail "$home does not look like a quick start; remove it yourself"
if [ -f "$home/data/postmaster.pid" ]; then
	# pg_ctl of the copy that the server runs from, else of the system.
	tree=$top/build/tree
	[ ! -d "$home/tree" ] || tree=$home/tree
	bin=$tree$("${PG_CONFIG:-pg_config}" --bindir)
	[ -x "$bin/pg_ctl" ] || bin=$("${PG_CONFIG:-pg_config}" --bindir)
	stop_server
	[ ! -f "$home/data/postmaster.pid" ] || fail "the server of $home does not stop"
fi
rm -rf "$(socket_dir)" "$home" "$link"
echo "removed $home"

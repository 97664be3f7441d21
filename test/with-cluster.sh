#!/bin/bash
# with-cluster.sh DIR COMMAND [ARG...]: run COMMAND beside a fresh private
# server (socket only) whose data lies in DIR, then stop it and remove DIR.
# COMMAND finds it through PGHOST, PGPORT, PGUSER, PGDATABASE and PGDATA.
#   POSTGRES_CONF   extra lines for postgresql.conf
#   KEEP_CLUSTER=1  leave DIR behind
#   CRASH_EXPECTED=1  a crash in the server's log is no failure
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/test/lib.sh"
run_where_open test/with-cluster.sh "$@"

dir=$1
shift
bin=$top/build/tree$("$PG_CONFIG" --bindir)
[ -x "$bin/postgres" ] || { echo "no $bin/postgres: run make tree first" >&2; exit 1; }
rm -rf "$dir"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
# A socket path may not exceed 107 bytes, which a deep checkout can.
sock=$(mktemp -d /tmp/deephash.XXXXXX)
[ "$(id -u)" != 0 ] || chown "$server_user" "$dir" "$sock"
stop() {
	as_server "$bin/pg_ctl" -D "$dir/data" -m fast -w stop >/dev/null 2>&1 ||
		as_server "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1 || true
	cd "$top"
	rm -rf "$sock"
	[ -n "${KEEP_CLUSTER:-}" ] || rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM
cd /
as_server "$bin/initdb" -D "$dir/data" -A trust -U postgres -N -E UTF8 --locale=C >"$sock/initdb.log" 2>&1 || { cat "$sock/initdb.log"; exit 1; }
cat >>"$dir/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$sock'
fsync = off
${POSTGRES_CONF:-}
CONF
as_server "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/server.log" -w start >/dev/null || { cat "$dir/data/server.log"; exit 1; }
export PGHOST=$sock PGPORT=5432 PGUSER=postgres PGDATABASE=postgres PGDATA=$dir/data PATH=$bin:$PATH
cd "$top"
status=0
"$@" || status=$?
# A crash that the command did not notice is a failure too.
if [ -z "${CRASH_EXPECTED:-}" ] && grep -E 'PANIC|TRAP:|was terminated by signal' "$dir/data/server.log"; then
	[ $status -ne 0 ] || status=1
fi
# DIR goes with its log: what the server itself had to say, and not its answers to
# the statements that are meant to fail.
if [ $status -ne 0 ]; then
	echo "of the server's log:"
	grep -aE ' (LOG|WARNING|FATAL|PANIC):  |TRAP:' "$dir/data/server.log" | cut -c 1-300 | tail -n 30 || true
fi
exit $status

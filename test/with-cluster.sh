#!/bin/bash
# with-cluster.sh DIR COMMAND [ARG...]: run COMMAND beside a fresh private
# server (socket only) whose data lies in DIR, then stop it and remove DIR.
# COMMAND finds it through PGHOST, PGPORT, PGUSER and PGDATABASE.
#   POSTGRES_CONF   extra lines for postgresql.conf
#   KEEP_CLUSTER=1  leave DIR behind
# PostgreSQL refuses to run as root: root hands the server to user postgres.
set -eu
dir=$1
shift
top=$(cd "$(dirname "$0")/.." && pwd)
bin=$top/build/tree$("${PG_CONFIG:-pg_config}" --bindir)
rm -rf "$dir"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
as() { "$@"; }
if [ "$(id -u)" = 0 ]; then
	chown postgres "$dir"
	as() { setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; }
fi
# A socket path may not exceed 107 bytes, which a deep checkout can.
sock=$(mktemp -d /tmp/deephash.XXXXXX)
[ "$(id -u)" = 0 ] && chown postgres "$sock"
stop() {
	as "$bin/pg_ctl" -D "$dir/data" -m fast -w stop >/dev/null 2>&1 || true
	rm -rf "$sock"
	[ -n "${KEEP_CLUSTER:-}" ] || rm -rf "$dir"
}
trap stop EXIT
cd /
as "$bin/initdb" -D "$dir/data" -A trust -U postgres -N -E UTF8 --locale=C >"$sock/initdb.log" 2>&1 || { cat "$sock/initdb.log"; exit 1; }
cat >>"$dir/data/postgresql.conf" <<EOF
listen_addresses = ''
unix_socket_directories = '$sock'
fsync = off
${POSTGRES_CONF:-}
EOF
as "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/server.log" -w start >/dev/null || { cat "$dir/data/server.log"; exit 1; }
export PGHOST=$sock PGPORT=5432 PGUSER=postgres PGDATABASE=postgres PGDATA=$dir/data PATH=$bin:$PATH
cd "$top"
status=0
"$@" || status=$?
if [ $status -ne 0 ] && grep -qE 'PANIC|TRAP|terminated by signal' "$dir/data/server.log"; then
	grep -E 'PANIC|TRAP|terminated by signal' "$dir/data/server.log" | head
fi
exit $status

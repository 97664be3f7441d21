#!/bin/bash
# search.sh [ROWS]: times the index against a plain pass over the same codes, in
# a server of its own, and prints a table, also written to
# bench/results/search-DATE.txt.  See README.md for what the figures include.
#   SETS="uniform:64 ..."  data sets, KIND:BITS (KIND uniform or clustered)
#   QUERIES=100            queries per set
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
rows=${1:-1000000}
sets=${SETS:-uniform:64 clustered:64 clustered:128 clustered:256}
queries=${QUERIES:-100}

if [ -z "${SEARCH_INSIDE:-}" ]; then
	export SEARCH_INSIDE=1 SETS=$sets QUERIES=$queries POSTGRES_CONF="shared_buffers = '1GB'
autovacuum = off
max_wal_size = '8GB'"
	exec test/with-cluster.sh build/bench/cluster bench/search.sh "$rows"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/deephash-search.XXXXXX")
trap 'rm -rf "$work"' EXIT
out=bench/results/search-$(date +%F).txt
mkdir -p bench/results
figure() { tr ' ' '\n' <"$work/line" | sed -n "s/^$1=//p"; }

{
	echo "search.sh $rows, $queries queries a set, asked three times; $(date '+%F %H:%M')"
	sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1
	echo "load $(cut -d' ' -f1-3 /proc/loadavg) on $(nproc) processors; PostgreSQL $(pg_config --version | sed 's/[^0-9]*//')"
	echo "CPU milliseconds unless it says wall; L: one thread's pass over the packed codes"
	printf '%-14s %8s %8s %6s %9s %9s %8s %6s %8s %7s %7s %7s %8s %6s\n' set L k10 'k10/L' p50-wall p99-wall \
		k100 '/k10' radius4 r4/L floor build '/btree' bytes
} | tee "$out"
for set in $sets; do
	kind=${set%:*}
	bits=${set#*:}
	build/bench/search make "$kind" "$bits" "$rows" "$queries" 1 "$work/queries" >"$work/codes"
	dropdb --if-exists bench 2>/dev/null
	createdb bench
	psql -qX -d bench -v ON_ERROR_STOP=1 <<-SQL
		CREATE EXTENSION deephash;
		CREATE TABLE loaded (code hashcode);
		\\copy loaded FROM '$work/codes'
		CREATE TABLE codes AS SELECT code, (random() * 9e18)::bigint AS number FROM loaded;
		DROP TABLE loaded;
		CREATE TABLE queries (n serial, code hashcode);
		\\copy queries (code) FROM '$work/queries'
	SQL
	psql -qXAt -d bench -f bench/search.sql >"$work/line"
	build/bench/search pass "$work/codes" "$work/queries" 10 >"$work/pass"
	read -r L kernel _ <"$work/pass"
	awk -v set="$set" -v L="$L" -v k10="$(figure k10_cpu)" -v p50="$(figure k10_p50)" -v p99="$(figure k10_p99)" \
		-v k100="$(figure k100_cpu)" -v r4="$(figure r4_cpu)" -v fl="$(figure floor_cpu)" -v build="$(figure build_cpu)" \
		-v btree="$(figure btree_cpu)" -v bytes="$(figure bytes)" -v wrong="$(figure wrong)" \
		-v plain="$(figure plain_cpu)" -v ins="$(figure insert_cpu)" -v kernel="$kernel" 'BEGIN {
		printf "%-14s %8.4f %8.4f %6.1f %9.3f %9.3f %8.4f %6.2f %8.4f %7.2f %7.4f %7.0f %8.2f %6.1f\n", set, L, k10, k10 / L, p50, p99,
			k100, k100 / k10, r4, r4 / L, fl, build, build / btree, bytes
		printf "  kernel %s; inserts at %.0f %% of the rate without the index; %s\n", kernel, 100 * plain / ins,
			wrong == 0 ? "answers equal to a full scan" : "WRONG ANSWERS: " wrong
		exit wrong != 0 }' | tee -a "$out"
	[ "${PIPESTATUS[0]}" = 0 ] || exit 1
done

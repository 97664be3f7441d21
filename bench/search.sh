#!/bin/bash
# search.sh: times the index against a plain pass over the same codes, btrees, and
# what else is installed, in a server of its own; prints tables, also written to
# bench/results/search-DATE.txt.  README.md says what the figures include.
#   SETS="KIND:BITS[:ROWS] ..."  data sets; KIND uniform, clustered or clustered90
#   ROWS=1000000                 rows of a set that names none
#   QUERIES=100                  queries per set
#   INSERTS=200000               rows inserted one by one, per set of 64 bits
#   COPIES=1000000               rows of a COPY, per set of 64 bits
#   SHARED_BUFFERS=4GB           must hold table and index
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
rows=${ROWS:-1000000}
sets=${SETS:-uniform:64 clustered:64 clustered:128 clustered:256 uniform:64:10000000 clustered:64:10000000 clustered90:64}
queries=${QUERIES:-100}
inserts=${INSERTS:-200000}
copies=${COPIES:-1000000}

if [ -z "${SEARCH_INSIDE:-}" ]; then
	export SEARCH_INSIDE=1 POSTGRES_CONF="shared_buffers = '${SHARED_BUFFERS:-4GB}'
huge_pages = try
jit = off
autovacuum = off
max_wal_size = '16GB'
checkpoint_timeout = '1h'
maintenance_work_mem = '${MAINTENANCE_WORK_MEM:-256MB}'"
	exec test/with-cluster.sh build/bench/cluster bench/search.sh
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/deephash-search.XXXXXX")
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
out=bench/results/search-$(date +%F).txt
mkdir -p bench/results

vector=$(psql -qXAt -d postgres -c "SELECT default_version FROM pg_available_extensions
	WHERE name = 'vector' AND string_to_array(substring(default_version FROM '^[0-9.]+'), '.')::int[] >= '{0,7}'")

sql() { psql -qXAt -d bench -v ON_ERROR_STOP=1 "$@"; }
figure() { sed -n "s/^$1=//p" "$work/figures"; }
figures() { sql -c "SELECT name || '=' || round(value, 5) FROM results" >"$work/figures"; }
# Divide figures, or a figure by a number: ratio NAME NAME|NUMBER
ratio() { awk -v a="$(figure "$1")" -v b="$(figure "$2")" 'BEGIN { printf "%.2f", (b ? a / b : 0) }'; }
of_L() { awk -v a="$(figure "$1")" -v L="$L" 'BEGIN { printf "%.2f", a / L }'; }

# Memory of its own of every server process but the postmaster, in MB, the most seen
# until the file named appears.
watch_memory() {
	local most=0 now
	while [ ! -e "$1" ]; do
		now=$(for s in $(pgrep -P "$(head -n 1 "$PGDATA/postmaster.pid")"); do
			sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$s/status" 2>/dev/null
		done | awk '{ n += $1 } END { printf "%d", n / 1024 }')
		[ "$now" -le "$most" ] || most=$now
		sleep 0.1
	done
	echo "$most" >"$1.most"
}

load() { # KIND BITS ROWS
	build/bench/search make "$1" "$2" "$3" "$queries" 1 "$work/queries" >"$work/codes"
	build/bench/search pass "$work/codes" "$work/queries" 10 >"$work/pass"
	build/bench/search truth "$work/codes" "$work/queries" 10 >"$work/truth"
	dropdb --if-exists bench 2>/dev/null
	createdb bench
	sql -c "CREATE EXTENSION deephash" -f bench/search/functions.sql
	sql <<-SQL
		CREATE TABLE codes (code hashcode($2), number bigint DEFAULT (random() * 1e15)::bigint);
		\\copy codes (code) FROM '$work/codes'
		CREATE TABLE queries (n serial, code hashcode);
		\\copy queries (code) FROM '$work/queries'
		CREATE TABLE truth (n serial, distances int[]);
		\\copy truth (distances) FROM '$work/truth' (DELIMITER '|')
		VACUUM ANALYZE codes;
	SQL
}

# CREATE INDEX, alone and with workers, beside a btree; memory; bytes a row.
build() {
	rm -f "$work/built" "$work/built.most"
	sql -c "SET max_parallel_maintenance_workers = 0" -f bench/search/build.sql >/dev/null
	idle=$(for s in $(pgrep -P "$(head -n 1 "$PGDATA/postmaster.pid")"); do
		sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$s/status" 2>/dev/null; done | awk '{ n += $1 } END { printf "%d", n / 1024 }')
	watch_memory "$work/built" &
	sql -c "DROP INDEX codes_code" -c "SELECT timed('parallel', 'CREATE INDEX codes_code ON codes USING mih (code)')" >/dev/null
	touch "$work/built"
	wait
	figures
	printf '  build: mih %.1f s, btree %.1f s, ratio %s (CPU %s); with workers mih %.1f s, btree %.1f s, ratio %s; memory %d MB of %s\n' \
		"$(awk "BEGIN { print $(figure mih_wall) / 1000 }")" "$(awk "BEGIN { print $(figure btree_wall) / 1000 }")" \
		"$(ratio mih_wall btree_wall)" "$(ratio mih_cpu btree_cpu)" "$(awk "BEGIN { print $(figure parallel_wall) / 1000 }")" \
		"$(awk "BEGIN { print $(figure parallel_btree_wall) / 1000 }")" "$(ratio parallel_wall parallel_btree_wall)" \
		$(($(cat "$work/built.most") - idle)) "$(sql -c 'SHOW maintenance_work_mem')"
	printf '  bytes a row: %.1f; one packed copy %.1f; four chunks %.1f\n' "$(figure bytes)" "$(figure packed_bytes)" "$(figure four_bytes)"
}

ask() {
	sql -f bench/search/queries.sql >/dev/null
	figures
	printf '  %-22s %9s %9s %9s %9s %8s\n' '' 'p50 ms' 'CPU ms' 'p99 ms' 'worst ms' 'p50/L'
	for q in k10 k100 r4 f50 f10 f1 packed; do
		case $q in
		k10) name='10 nearest' ;; k100) name='100 nearest' ;; r4) name='radius 4' ;; f50) name='10 nearest of 50 %' ;;
		f10) name='10 nearest of 10 %' ;; f1) name='10 nearest of 1 %' ;; packed) name='packed pass, 10' ;;
		esac
		printf '  %-22s %9.4f %9.4f %9.4f %9.4f %8s\n' "$name" "$(figure ${q}_p50)" "$(figure ${q}_cpu)" "$(figure ${q}_p99)" \
			"$(figure ${q}_worst)" "$(of_L ${q}_p50)"
	done
	printf '  100 / 10 nearest %s; worst / packed pass %s; floor of executor and PL/pgSQL %.4f ms; sequential scan %.0f ms\n' \
		"$(ratio k100_p50 k10_p50)" "$(ratio k10_worst packed_p50)" "$(figure floor_p50)" "$(figure seq_wall)"
	printf '  join of 10,000 queries: %.1f s, %.4f ms each\n' "$(awk "BEGIN { print $(figure join_wall) / 1000 }")" \
		"$(awk "BEGIN { print $(figure join_wall) / 10000 }")"
	if [ "$(figure wrong)" != 0.00000 ] || [ "$(figure r4_wrong)" != 0.00000 ]; then
		echo "  WRONG ANSWERS: $(figure wrong) of k-NN, $(figure r4_wrong) of radius"
		touch "$work/failed"
	else
		echo "  answers of all $queries queries equal to a full pass"
	fi
}

# Queries a second of two sessions against one.
two_sessions() {
	local set="SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan"
	sql -c "SELECT prepare_query('SELECT ctid FROM codes ORDER BY code <~> q LIMIT 10')" >/dev/null
	sql -c "$set" -c "SELECT ask_for(1)" -c "SELECT ask_for(3)" | tail -n 1 >"$work/one"
	for i in 1 2; do
		sql -c "$set" -c "SELECT ask_for(1)" -c "SELECT ask_for(3)" | tail -n 1 >"$work/two.$i" &
	done
	wait
	awk '{ n[FILENAME] = $1; if (FILENAME ~ /two/) sum += $1; else one = $1 }
		END { printf "  queries a second: one session %.0f, two %.0f, ratio %.2f\n", one, sum, sum / one }' \
		"$work/one" "$work/two.1" "$work/two.2"
}

# The approximate indexes of pgvector, from 0.7 on, which knows bit strings.
peers() { # BITS ROWS
	[ -n "$vector" ] || return 0
	sql -c "CREATE EXTENSION vector"
	peer "$1" hnsw "hnsw (code bit_hamming_ops)"
	peer "$1" ivfflat "ivfflat (code bit_hamming_ops) WITH (lists = $(awk "BEGIN { printf \"%d\", sqrt($2) }"))"
}

peer() { # BITS NAME INDEX
	sql -v bits="$1" -v peer="$2" -v index="$3" -f bench/search/peer.sql >/dev/null
	figures
	printf '  %s: p50 %.4f ms (mih %s times as fast), recall %.3f; build %.1f s, %.1f bytes a row, %.0f rows a second inserted\n' "$2" \
		"$(figure "$2_p50")" "$(ratio "$2_p50" k10_p50)" "$(figure "$2_recall")" "$(awk "BEGIN { print $(figure "$2_build_wall") / 1000 }")" \
		"$(figure "$2_bytes")" "$(awk "BEGIN { print 2000000 / $(figure "$2_insert_wall") }")"
}

write_rows() {
	head -n "$copies" "$work/codes" >"$work/some"
	chmod 644 "$work/some"
	sql -v rows="$inserts" -v file="$work/some" -f bench/search/writes.sql >/dev/null
	figures
	printf '  inserts of %d rows, rate of no index: mih %.0f %%, btree on the code %.0f %%; into the %d rows of a COPY mih %.0f %%\n' "$inserts" \
		"$(awk "BEGIN { print 100 * $(figure insert_plain_cpu) / $(figure insert_mih_cpu) }")" \
		"$(awk "BEGIN { print 100 * $(figure insert_plain_cpu) / $(figure insert_btree_cpu) }")" "$copies" \
		"$(awk "BEGIN { print 100 * $(figure more_plain_cpu) / $(figure more_mih_cpu) }")"
	printf '  latency of a row in ms: p50 %.4f, p99 %.4f, p99.9 %.4f, max %.1f (btree %.4f, %.4f, %.4f, %.1f)\n' "$(figure mih_p50)" \
		"$(figure mih_p99)" "$(figure mih_p999)" "$(figure mih_max)" "$(figure btree_p50)" "$(figure btree_p99)" "$(figure btree_p999)" "$(figure btree_max)"
	printf '  COPY of %d rows: rate of mih / btree on the code %s (CPU), %s (wall); / no index %s\n' "$copies" "$(ratio copy_btree_cpu copy_mih_cpu)" \
		"$(ratio copy_btree_wall copy_mih_wall)" "$(ratio copy_plain_cpu copy_mih_cpu)"
}

vacuum() {
	sql -f bench/search/vacuum.sql >/dev/null
	figures
	printf '  VACUUM of a tenth: mih %.0f ms CPU, btree %.0f, no index %.0f; index part mih / btree %s\n' "$(figure vacuum_mih_cpu)" \
		"$(figure vacuum_btree_cpu)" "$(figure vacuum_none_cpu)" \
		"$(awk "BEGIN { n = $(figure vacuum_none_cpu); printf \"%.2f\", ($(figure vacuum_mih_cpu) - n) / ($(figure vacuum_btree_cpu) - n) }")"
}

run_set() {
	local kind bits n
	IFS=: read -r kind bits n <<<"$1"
	n=${n:-$rows}
	load "$kind" "$bits" "$n"
	read -r L kernel _ <"$work/pass"
	echo
	echo "$kind codes of $bits bits, $n rows: L = $L ms ($kernel; load $(cut -d' ' -f1 /proc/loadavg))"
	build
	ask
	two_sessions
	peers "$bits" "$n"
	[ "$bits" != 64 ] || [ "$inserts" = 0 ] || write_rows
	vacuum
}

{
	echo "search.sh, $queries queries a set, asked three times; $(date '+%F %H:%M')"
	echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors; PostgreSQL $(pg_config --version | sed 's/[^0-9]*//'); shared_buffers ${SHARED_BUFFERS:-4GB}, huge pages $(grep -q 'HugePages_Total: *[1-9]' /proc/meminfo && echo there || echo none)"
	echo "$([ -n "$vector" ] && echo "peer: pgvector $vector" || echo "peers: no pgvector of 0.7 or later is installed")"
	for set in $sets; do
		run_set "$set"
	done
} | tee "$out"
[ ! -e "$work/failed" ]

#!/bin/bash
# encode.sh [--quick]: pictures a second and latencies of encoding in SQL, against the same
# decoding and the same network without PostgreSQL, in a server of its own; prints tables,
# also written to bench/results/encode-DATE.txt (or RESULT).  README.md says what the figures include.
#   MODELS="bundled resnet18 vit-ti"   networks, the two latter with random weights
#   DEVICE=cpu                   deephash.device, and where the bare engine computes
#   ROUNDS=3                     all measurements take turns; medians count
#   SECONDS_EACH=1.5             of each measurement, more where pictures take long
#   SESSIONS="1 2 8 32"          concurrent sessions
#   PEER=1                       also PyTorch's inference; always on a GPU, where there is one
#   PYTHON=PROGRAM               python3 with PyTorch
#   EXTRA_CONF="NAME = VALUE"    more lines for postgresql.conf
#   RESULT=FILE                  instead of bench/results/encode-DATE.txt
#   DEEPHASH_DATA=FOLDER         with CIFAR-10 and photographs; made-up scenes otherwise
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
[ "${1:-}" != --quick ] || export ROUNDS=1 SECONDS_EACH=1 QUICK=1
models=${MODELS:-bundled resnet18 vit-ti}
device=${DEVICE:-cpu}
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-1.5}
sessions=${SESSIONS:-1 2 8 32}
data=$(realpath -m "${DEEPHASH_DATA:-../shared/data}")
threads=$(nproc)
batch=32
lone_seconds=0.4

if [ -z "${ENCODE_INSIDE:-}" ]; then
	export ENCODE_INSIDE=1 POSTGRES_CONF="shared_buffers = '512MB'
shared_preload_libraries = 'deephash'
deephash.device = '$device'
deephash.batch_size = $batch
max_connections = 64
jit = off
autovacuum = off
max_wal_size = '4GB'
checkpoint_timeout = '1h'
${EXTRA_CONF:-}"
	exec test/with-cluster.sh build/bench/encode-cluster bench/encode.sh
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/deephash-encode.XXXXXX")
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
mkdir -p bench/results
out=${RESULT:-bench/results/encode-$(date +%F).txt}

sql() { psql -qXAt -d bench -v ON_ERROR_STOP=1 "$@"; }
median() { sort -g | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2 + 1)]) / 2 }'; }
load() { cut -d' ' -f1 /proc/loadavg; }

# Pictures for a model, a path a line in $work/MODEL.list: at most 500.
pictures() {
	local from
	if [ "$1" = bundled ]; then
		from=$work/cifar10
		if [ -r "$data/cifar10.med.xz" ] || [ -r "$data/test_batch.bin" ]; then
			build/bin/deephash-train images --data "cifar10:$data:test" --out "$from" >/dev/null
			about='CIFAR-10, 32 x 32'
		else
			build/bin/deephash-train synth --size 32 --per-class 100 "$from" >/dev/null
			about='made-up scenes, 32 x 32'
		fi
	else
		from=$work/photos
		if [ -r "$data/imagenet_photos.tar" ]; then
			[ -d "$from" ] || { mkdir "$from" && tar xf "$data/imagenet_photos.tar" -C "$from"; }
			about=photographs
		else
			[ -d "$from" ] || build/bin/deephash-train synth --size 384 --per-class 50 "$from" >/dev/null
			about='made-up scenes, 384 x 384'
		fi
	fi
	find "$from" -name '*.jpg' | sort | awk '{ a[NR] = $0 } END { step = NR > 500 ? NR / 500 : 1;
		for (i = 1; i <= NR; i += step) print a[int(i)] }' >"$work/$1.list"
	chmod -R a+rX "$work"
}

set_up() { # MODEL: its file, its pictures, a database of its own
	case $1 in
	bundled) cp models/cifar10-64.safetensors "$work/bundled" ;;
	*) build/bench/encode model "$1" "$work/$1" ;;
	esac
	pictures "$1"
	chmod a+r "$work/$1"
	dropdb --if-exists bench 2>/dev/null
	createdb bench
	sql -f bench/encode/functions.sql
	awk '{ printf "%d\t%s\n", NR - 1, $0 }' "$work/$1.list" >"$work/numbered"
	sql <<-SQL
		SELECT deephash_load_model('m', '$work/$1') > 0 \\g /dev/null
		CREATE TEMP TABLE list (id int, path text);
		\\copy list FROM '$work/numbered'
		INSERT INTO photo SELECT id, pg_read_binary_file(path) FROM list;
		CREATE TABLE by_row (id int, jpeg bytea, code hashcode);
		CREATE TRIGGER made BEFORE INSERT ON by_row FOR EACH ROW
			EXECUTE FUNCTION deephash_encode_trigger('jpeg', 'code', 'm');
		CREATE TABLE by_statement (id serial PRIMARY KEY, jpeg bytea, code hashcode);
		CREATE TRIGGER made AFTER INSERT ON by_statement REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
			EXECUTE FUNCTION deephash_encode_statement_trigger('jpeg', 'code', 'm');
		CREATE TABLE later (id int, jpeg bytea, code hashcode);
		ALTER TABLE by_row ALTER jpeg SET STORAGE EXTERNAL;
		ALTER TABLE by_statement ALTER jpeg SET STORAGE EXTERNAL;
		ALTER TABLE later ALTER jpeg SET STORAGE EXTERNAL;
		VACUUM ANALYZE photo;
		CHECKPOINT;
	SQL
}

# ------------------------------------------------------------------- measuring
# Each appends lines to $work/log: WHAT RATE ENGINE-CPU SESSION-CPU P50 P95 P99.

bare() { # MODEL: in batches
	build/bench/encode batches "$work/$1" "$work/$1.list" $batch "$threads" "$seconds" "$device" |
		awk '{ print "bare", $1, $2, $3, "- - -" }' >>"$work/log"
}

bare_alone() { # MODEL: latencies
	build/bench/encode alone "$work/$1" "$work/$1.list" "$threads" "$seconds" "$device" | sort -g |
		awk '{ v[NR] = $1; sum += $1 }
		function p(q) { return v[int(1 + q * (NR - 1))] }
		END { print "bare_alone", 1000 * NR / sum, "- -", p(0.5), p(0.95), p(0.99) }' >>"$work/log"
}

together() { # WHAT SESSIONS STATEMENT [BESIDE]: one picture at a time each, beside another query
	local i long
	long=$(awk -v s="$seconds" -v n="$2" -v r="$rate" 'BEGIN { print (4 * n / r > s ? 4 * n / r : s) }')
	sql -c "TRUNCATE begun, timing, spent"
	[ -z "${4:-}" ] || sql -c "$4" >"$work/session.beside" 2>&1 &
	for ((i = 1; i <= $2; i++)); do
		PGAPPNAME=encode_session sql -c "SELECT encode_alone('$1', $i, \$s\$$3\$s\$)" >"$work/session.$i" 2>&1 &
	done
	# All of them wait for the row.
	until [ "$(sql -c "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'encode_session'
		AND wait_event = 'PgSleep'")" = "$2" ]; do
		if grep -h ERROR "$work"/session.*; then exit 1; fi
		sleep 0.05
	done
	sql -c "INSERT INTO begun VALUES (clock_timestamp() + $long * interval '1 second')"
	wait
	if grep -h ERROR "$work"/session.*; then exit 1; fi
	sql -c "SELECT rates('$1')" >>"$work/log"
}

many() { # WHAT STATEMENT: one statement for $images pictures
	sql -c "TRUNCATE by_row, by_statement" -c "SELECT deephash_encode(jpeg, 'm') FROM photo WHERE id = 0" \
		-c "SELECT before_many()" -c "$2" -c "SELECT after_many('$1', $images)" 2>"$work/notices" |
		tail -n 1 >>"$work/log"
}

round() { # MODEL
	local n
	for n in $sessions; do
		[ "$n" != 1 ] || bare_alone "$1"
		together "$n" "$n" "PERFORM deephash_encode(jpeg, 'm') FROM photo WHERE id = picture"
		[ "$n" != 1 ] || bare_alone "$1"
		bare "$1"
	done
	together beside 1 "PERFORM deephash_encode(jpeg, 'm') FROM photo WHERE id = picture" "SELECT bulk_load()"
	together insert 1 "INSERT INTO by_row SELECT id, jpeg FROM photo WHERE id = picture"
	many array "SELECT cardinality(deephash_encode_array(array_agg(jpeg), 'm')) FROM ($rows) s"
	many set "SELECT count(code) FROM deephash_encode_set((SELECT array_agg(jpeg) FROM ($rows) s), 'm')"
	many statement "INSERT INTO by_statement (jpeg) SELECT jpeg FROM ($rows) s"
	bare "$1"
	many copy_row "COPY by_row (id, jpeg) FROM '$copy' (FORMAT binary)"
	many copy_statement "COPY by_statement (id, jpeg) FROM '$copy' (FORMAT binary)"
	sql -c "TRUNCATE later" -c "INSERT INTO later $rows"
	many table "CALL deephash_encode_table('later', 'jpeg', 'code', 'm')"
	bare "$1"
}

# What one request alone takes beyond decoding and computing, from many short turns: it is
# less than the machine's speed changes within seconds.
lone() { # MODEL
	local r
	: >"$work/lone"
	for ((r = 0; r < 5 * rounds; r++)); do
		lone_bare "$1"
		sql -c "SELECT 'given', lone($lone_seconds, false)" -F ' ' >>"$work/lone"
		lone_bare "$1"
		sql -c "SELECT 'fetched', lone($lone_seconds, true)" -F ' ' >>"$work/lone"
	done
	lone_bare "$1"
	lone_line given 'one request alone over bare, its picture at hand:'
	lone_line fetched '... with what fetching it from its table takes:  '
}

lone_bare() { # MODEL
	echo "bare $(build/bench/encode alone "$work/$1" "$work/$1.list" "$threads" $lone_seconds "$device" | median)" >>"$work/lone"
}

lone_line() { # WHAT TEXT
	awk -v what="$1" '{ if (p == what) print v - ($2 + before) / 2; before = p == "bare" ? v : before; p = $1; v = $2 }' "$work/lone" |
		sort -g | awk -v text="$2" '{ v[NR] = $1 }
		function q(f) { return v[int(1 + f * (NR - 1) + 0.5)] }
		END { printf "  %s %.2f ms (quartiles %.2f to %.2f)\n", text, q(0.5), q(0.25), q(0.75) }'
}

# ---------------------------------------------------------------------- a model

# The network alone in full batches, and in PyTorch: medians of three.
network() { # MODEL
	local python= candidate line rates precision peers
	for ((r = 0; r < 3; r++)); do
		build/bench/encode computing "$work/$1" $batch "$threads" "$seconds" "$device"
	done >"$work/computing"
	precision=$(awk '{ print $2; exit }' "$work/computing")
	rates=$(awk '{ print $1 }' "$work/computing" | median)
	line="  the network alone, batches of $batch, $precision: $rates pictures a second"
	for candidate in ${PYTHON:-} python3 /usr/bin/python3; do
		if "$candidate" -c "import torch; exit('$device' == 'cuda' and not torch.cuda.is_available())" 2>/dev/null; then
			python=$candidate
			break
		fi
	done
	if [ -n "$python" ] && [ "$1" != bundled ]; then
		peers=$(for ((r = 0; r < 3; r++)); do
			OMP_NUM_THREADS=$threads "$python" bench/encode/peer.py "$1" $batch "$seconds" "$device" "$precision"
		done | median)
		line+="; PyTorch $peers, ratio $(awk "BEGIN { printf \"%.2f\", $rates / $peers }")"
	fi
	echo "$line"
}

measure() { # MODEL
	local started=$SECONDS
	set_up "$1"
	: >"$work/log"
	bare "$1"
	rate=$(awk '{ print $2 }' "$work/log")
	images=$(awk -v r="$rate" -v s="$seconds" 'BEGIN { n = int(r * s); print (n < 64 ? 64 : n > 20000 ? 20000 : n) }')
	rows="SELECT g AS id, jpeg FROM generate_series(0, $images - 1) g JOIN photo p ON p.id = g % $(wc -l <"$work/$1.list")"
	copy=$PGDATA/encode.copy
	sql -c "COPY ($rows) TO '$copy' (FORMAT binary)"
	for ((r = 0; r < rounds; r++)); do
		round "$1"
	done
	echo
	echo "$1: $(wc -l <"$work/$1.list") $about, $(awk '{ system("stat -Lc %s " $0) }' "$work/$1.list" |
		awk '{ n += $1 } END { printf "%.1f", n / NR / 1000 }') kB each; statements of $images pictures; load $(load)"
	awk -v batch=$batch -v sessions="$sessions" -f bench/encode/table.awk "$work/log"
	lone "$1"
	[ "$device" = cpu ] && [ -z "${PEER:-}" ] || network "$1"
	echo "  ($((SECONDS - started)) s)"
}

{
	echo "encode.sh${QUICK:+ --quick}, device $device, $rounds rounds of $seconds s; $(date '+%F %H:%M')"
	echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $threads processors; PostgreSQL $(pg_config --version | sed 's/[^0-9]*//'); load $(load) before"
	echo 'CPU in milliseconds a picture, of the engine and of the sessions'
	for model in $models; do
		measure "$model"
	done
} | tee "$out"

#!/bin/bash
# codes.sh: inside of test/with-cluster.sh: the same pictures by the device, in each of PRECISIONS, and
# by the CPU; the bits that differ and how near to their threshold they lie.  The first MOST in the folder
# PICTURES; MODELS name the files in build/gpu-check/models.
set -eu
work=build/gpu-check
sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }
set_to() { # NAME VALUE
	sql -c "ALTER SYSTEM SET $1 = $2" -c 'SELECT pg_reload_conf()' >/dev/null
}

# wait_for WHAT: until the engine that serves has this device and precision.
wait_for() {
	local i
	for ((i = 0; i < 240; i++)); do
		seen=$(sql -F ', ' -c 'SELECT device, precision, state, reason FROM deephash_service' 2>&1 || true)
		case $seen in "$1"*) echo "engine: $seen"; return; esac
		sleep 0.5
	done
	return 1
}

# What somebody far from this machine wants to know of an engine that does not use the device.
# Fails where it does not without the sandbox, either; where it does all else is tried so.
explain() {
	echo "FAIL: the engine should use $1, but says: $seen"
	tail -n 40 "$PGDATA/server.log"
	set_to deephash.sandbox off
	if wait_for "$1"; then
		echo 'without the sandbox (deephash.sandbox = off) it does: going on so'
		: >$work/without-sandbox
	else
		echo "without the sandbox (deephash.sandbox = off) it says: $seen"
		return 1
	fi
}

sql <<SQL
CREATE EXTENSION deephash;
CREATE TABLE answer (kind text, model text, id int, logits float4[], code hashcode);
CREATE TABLE tolerance (kind text, model text, factor float8, bias float8);
CREATE TABLE photo (id int PRIMARY KEY, jpeg bytea);
CREATE TABLE path (path text);
\\copy path FROM PROGRAM 'find $PICTURES -name "*.jpg" | sort | head -n $MOST'
INSERT INTO photo SELECT row_number() OVER (ORDER BY path) - 1, pg_read_binary_file(path) FROM path;
CREATE TABLE model AS SELECT unnest(string_to_array('$MODELS', ' ')) AS model;
SELECT deephash_load_model(model, '$PWD/$work/models/' || model || '.safetensors') > 0 FROM model \\g /dev/null
SQL
for precision in $PRECISIONS; do
	for model in $MODELS; do
		read -r factor bias < <(build/gpu-parity tolerance "$precision" $work/models/"$model".safetensors)
		sql -c "INSERT INTO tolerance VALUES ('$precision', '$model', $factor, $bias)"
	done
	set_to deephash.precision "$precision"
	wait_for "cuda, $precision" || explain "cuda, $precision"
	sql -c 'SELECT deephash_stats_reset()' >/dev/null
	sql -v kind="$precision" -f gpu/checks/encode.sql
	sql -F ' ' -c 'SELECT images, batches, errors, doubtful_bits FROM deephash_stats' |
		awk '{ print "engine: " $1 " images in " $2 " batches, " $3 " errors, " $4 " bits in doubt" }'
done
set_to deephash.device cpu
wait_for cpu || { echo "FAIL: the engine should use cpu, but says: $seen"; exit 1; }
sql -v kind=cpu -f gpu/checks/encode.sql
psql -XqP footer=off -v ON_ERROR_STOP=1 -f gpu/checks/compare.sql >$work/compare.txt
grep -v verdict $work/compare.txt
sed -n 's/^ *verdict: //p' $work/compare.txt
grep -q '^ *verdict: codes: .*, 0 outside' $work/compare.txt

#!/bin/bash
# codes.sh: inside of test/with-cluster.sh: the same pictures by the device and by the CPU, the
# bits that differ and how near to their threshold they lie.  DEVICE, PICTURES.
set -eu
work=build/gpu-check
sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }

# wait_for DEVICE: until the engine that serves uses it.
wait_for() {
	local i
	for ((i = 0; i < 60; i++)); do
		seen=$(sql -c 'SELECT device, state, reason FROM deephash_service' 2>&1 || true)
		case $seen in "$1"*) echo "engine: $seen"; return; esac
		sleep 0.5
	done
	return 1
}

# What somebody far from this machine wants to know of an engine that does not use the device.
explain() {
	echo "FAIL: the engine should use $DEVICE, but says: $seen"
	tail -n 40 "$PGDATA/server.log"
	sql -c 'ALTER SYSTEM SET deephash.sandbox = off' -c 'SELECT pg_reload_conf()' >/dev/null
	wait_for "$DEVICE" && echo 'without the sandbox (deephash.sandbox = off) it does' || echo "without the sandbox (deephash.sandbox = off) it says: $seen"
}

sql <<SQL
CREATE EXTENSION deephash;
CREATE TABLE answer (kind text, model text, id int, logits float4[], code hashcode);
CREATE TABLE photo (id int PRIMARY KEY, jpeg bytea);
CREATE TABLE path (path text);
\\copy path FROM PROGRAM 'find $PICTURES -name "*.jpg" | sort'
INSERT INTO photo SELECT row_number() OVER (ORDER BY path) - 1, pg_read_binary_file(path) FROM path;
SELECT deephash_load_model(m, '$PWD/$work/models/' || m || '.safetensors') > 0
  FROM unnest(ARRAY['bundled', 'resnet18', 'vit-ti']) AS m \\g /dev/null
SQL
if ! wait_for "$DEVICE"; then
	explain
	exit 1
fi
sql -v kind=device -f gpu/checks/encode.sql
sql -c 'SELECT device, models, images, batches, failures FROM deephash_service' |
	awk -F '|' '{ print "engine: " $1 ", " $2 " models, " $3 " images in " $4 " batches, " $5 " failures" }'
sql -c "ALTER SYSTEM SET deephash.device = 'cpu'" -c 'SELECT pg_reload_conf()' >/dev/null
wait_for cpu || { echo "FAIL: the engine should use cpu, but says: $seen"; exit 1; }
sql -v kind=cpu -f gpu/checks/encode.sql
psql -XqP footer=off -v ON_ERROR_STOP=1 -v tolerance="${TOLERANCE:-1e-3}" -f gpu/checks/compare.sql >$work/compare.txt
grep -v verdict $work/compare.txt
sed -n 's/^ *verdict: //p' $work/compare.txt
grep -q '^ *verdict: codes: .*, 0 outside' $work/compare.txt

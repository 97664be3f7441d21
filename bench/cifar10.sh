#!/bin/bash
# cifar10.sh [MODEL]: the main job on CIFAR-10, judged in SQL.
#
# The 10,000 test pictures become JPEGs (quality 95) and are encoded by an INSERT
# trigger; the codes of the 50,000 training pictures are the database, in a mih
# index.  Mean average precision over whole rankings is computed in SQL, every
# ranking read in order from the index, and compared with what deephash-train eval
# says of the same codes.  Protocol Pfull-R.
#
# DEEPHASH_DATA names the folder with CIFAR-10 (cifar10.med.xz or the official
# binary batches); QUERIES=N takes only the first N test pictures.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${DEEPHASH_DATA:-../shared/data}
model=$(realpath "${1:-models/cifar10-64.safetensors}")
if ! [ -r "$data/cifar10.med.xz" ] && ! [ -r "$data/test_batch.bin" ]; then
	echo "skipped: no CIFAR-10 in $data (DEEPHASH_DATA names the folder)"
	exit 0
fi
make -s tree
train=build/bin/deephash-train
work=$PWD/build/bench/cifar10
rm -rf "$work"
mkdir -p "$work"

echo "model $(basename "$model"), $(stat -c %s "$model") bytes, sha256 $(sha256sum "$model" | cut -c1-16)…"
"$train" images --data "cifar10:$data:test" --out "$work/jpeg" --quality 95 >/dev/null
echo "$(wc -l <"$work/jpeg/manifest.tsv") test pictures as JPEGs"
"$train" encode --model "$model" --data "cifar10:$data:train" --labels >"$work/database.tsv"
bits=$("$train" encode --model "$model" --data "cifar10:$data:test" --labels |
	tee "$work/test_pixels.tsv" | awk 'NR == 1 { print length($2) * 4 }')
head -n "${QUERIES:-10000}" "$work/jpeg/manifest.tsv" >"$work/queries.tsv"
cp "$model" "$work/model.safetensors"
export WORK=$work BITS=$bits
test/with-cluster.sh "$work/cluster" bash -c '
	psql -Xq -v ON_ERROR_STOP=1 -v work="$WORK" -v bits="$BITS" -f bench/cifar10.sql'

echo "the same codes, judged by deephash-train eval:"
"$train" eval --query-codes "$work/query_codes.tsv" --database-codes "$work/database.tsv" --json >"$work/eval.json"
"$train" eval --query-codes "$work/query_codes.tsv" --database-codes "$work/database.tsv"
echo "the test pictures' own pixels (no JPEG between):"
head -n "${QUERIES:-10000}" "$work/test_pixels.tsv" >"$work/pixel_codes.tsv"
"$train" eval --query-codes "$work/pixel_codes.tsv" --database-codes "$work/database.tsv"
sql=$(cat "$work/map.txt")
eval=$(sed 's/.*"map_all": *\([0-9.eE+-]*\).*/\1/' <<<"$(tr -d '\n' <"$work/eval.json")")
echo "mAP@all in SQL through the index $sql, by deephash-train eval $eval"
awk -v a="$sql" -v b="$eval" 'BEGIN { d = a - b; if (d < 0) d = -d; if (d > 5.1e-7) { print "they differ"; exit 1 }
	print "equal in all six digits that eval prints" }'

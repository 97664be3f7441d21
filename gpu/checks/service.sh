#!/bin/bash
# service.sh: the whole service in a private PostgreSQL: codes by the device beside codes by the
# CPU, then throughput and latency of encoding in SQL beside the bare engine (bench/encode.sh).
set -u
. gpu/checks/lib.sh
begun=$SECONDS
export PICTURES MOST=20 MODELS=bundled PRECISIONS='float32 fp16' ENCODER=$top/$programs/deephash-encoder
[ -n "${REHEARSE:-}" ] || export MOST=500 MODELS='bundled resnet18 vit-ti' PRECISIONS='fp16 bf16 tf32 float32'
# PostgreSQL does not run as root, and its user must read the pictures and models.
[ "$(id -u)" != 0 ] || id "${DEEPHASH_SERVER_USER:-postgres}" >/dev/null 2>&1 || export DEEPHASH_SERVER_USER=nobody
PICTURES=$(photographs) || { echo 'summary: no pictures'; exit 1; }
models=build/gpu-check/models
mkdir -p $models
cp models/cifar10-64.safetensors $models/bundled.safetensors
for arch in resnet18 vit-ti; do
	[ -z "${REHEARSE:-}" ] || break
	build/bench/encode model $arch $models/$arch.safetensors || { echo "summary: cannot make a model of $arch"; exit 1; }
done
chmod a+r $models/*

failed= unfinished= text=
export POSTGRES_CONF="shared_preload_libraries = 'deephash'
deephash.device = 'cuda'
deephash.encoder_program = '$ENCODER'
deephash.batch_size = 64"
rm -f build/gpu-check/without-sandbox build/gpu-check/encode-table.txt
timeout -k 10 $((STAGE_SECONDS * 6 / 10)) test/with-cluster.sh build/gpu-check/cluster bash gpu/checks/codes.sh
status=$?
stop_servers
case $status in
0) ;;
124 | 137) unfinished=1 ;;
*) failed=1 ;;
esac
text=$(sed -n 's/^codes: //p' "$STAGE_LOG")
: "${text:=comparing codes ${failed:+FAILED}${unfinished:+did not end}}"
if [ -f build/gpu-check/without-sandbox ]; then
	failed=1
	text+='; FAILED with the sandbox, all else without'
	export EXTRA_CONF='deephash.sandbox = off'
fi

unset POSTGRES_CONF
left=$((STAGE_SECONDS - (SECONDS - begun) - 10))
if [ $left -lt 30 ]; then
	text+='; throughput not run: no time was left'
else
	export DEVICE=cuda
	[ -z "${REHEARSE:-}" ] || export DEVICE=cpu SESSIONS='1 8'
	# Printed model by model, so that what is cut off leaves the models before it.
	RESULT=build/gpu-check/encode-table.txt DEEPHASH_DATA=$data timeout -k 10 $left bench/encode.sh --quick
	status=$?
	stop_servers
	case $status in
	0) text+='; throughput and latency measured' ;;
	124 | 137) text+="; throughput: stopped after $left s" && unfinished=1 ;;
	*) text+="; throughput FAILED ($status)" && failed=1 ;;
	esac
	# The row of most sessions: pictures a second, and of the bare engine's rate.
	text+=$(awk '/^[a-z0-9-]+: [0-9]+ / { model = $1 }
		/deephash_encode, sessions: / { last[model] = $3 " sessions " $4 "/s, " $5 " of bare" }
		/; PyTorch / { sub(/.*PyTorch/, "PyTorch"); torch[model] = ", " $0 }
		END { for (m in last) printf "; %s %s%s", m, last[m], torch[m] }' build/gpu-check/encode-table.txt)
fi
echo "summary: $text"
[ -z "$failed" ] || exit 1
[ -z "$unfinished" ] || exit 3

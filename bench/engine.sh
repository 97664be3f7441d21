#!/bin/bash
# engine.sh: training steps and inference of three networks on the CPU, beside PyTorch
# where a python3 with it is installed (Debian: python3-torch); prints a table, also
# written to bench/results/engine-DATE.txt.
#   THREADS=N    default: all processors
#   SECONDS_EACH=8   time of each measurement
#   ROUNDS=3     the engines take turns; the median counts
set -eu
cd "$(dirname "$0")/.."
threads=${THREADS:-$(nproc)}
seconds=${SECONDS_EACH:-8}
rounds=${ROUNDS:-3}
python=
for candidate in ${PYTHON:-} /usr/bin/python3 python3; do
	if "$candidate" -c 'import torch' 2>/dev/null; then
		python=$candidate
		break
	fi
done
mkdir -p bench/results
out=bench/results/engine-$(date +%F).txt

median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# NAME ARCHITECTURE PEER SIDE BATCH
compare() {
	local mine=() peer=() r t
	for ((r = 0; r < rounds; r++)); do
		mine+=("$(build/bench/engine "$2" "$4" "$5" "$threads" "$seconds")")
		[ -z "$python" ] ||
			peer+=("$(OMP_NUM_THREADS=$threads "$python" bench/engine/peer.py "$3" "$4" "$5" "$threads" "$seconds")")
	done
	t=$(printf '%s\n' "${mine[@]}")
	printf '%-22s %5d %9.1f %9.1f %8s' "$1" "$5" "$(awk '{ print $1 }' <<<"$t" | median)" \
		"$(awk '{ print $2 }' <<<"$t" | median)" "$(awk '{ print $3 }' <<<"$t" | median)"
	if [ -n "$python" ]; then
		p=$(printf '%s\n' "${peer[@]}")
		printf ' %9.1f %9.1f %8s' "$(awk '{ print $1 }' <<<"$p" | median)" "$(awk '{ print $2 }' <<<"$p" | median)" \
			"$(awk '{ print $3 }' <<<"$p" | median)"
		paste <(awk '{ print $1 }' <<<"$t" | median) <(awk '{ print $2 }' <<<"$t" | median) \
			<(awk '{ print $1 }' <<<"$p" | median) <(awk '{ print $2 }' <<<"$p" | median) |
			awk '{ printf " %7.2f %7.2f", $1 / $3, $2 / $4 }'
	fi
	printf '   (%.1f to %.1f GFLOP/s)\n' "$(awk '{ print 6e-3 * $1 * $4 }' <<<"$t" | median)" \
		"$(awk '{ print 2e-3 * $2 * $4 }' <<<"$t" | median)"
}

{
	echo "engine.sh, $threads threads, float32, $rounds rounds of $seconds s; $(date '+%F %H:%M')"
	echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1); load $(cut -d' ' -f1 /proc/loadavg)"
	# OPENBLAS_CORETYPE in the environment slows both engines where it names an older CPU
	echo "deephash: $(build/bench/engine about)${OPENBLAS_CORETYPE:+; OPENBLAS_CORETYPE=$OPENBLAS_CORETYPE}"
	if [ -n "$python" ]; then
		"$python" -c 'import torch; print("PyTorch", torch.__version__, "oneDNN" if torch.backends.mkldnn.is_available() else "no oneDNN")'
	else
		echo 'no PyTorch is installed: deephash alone'
	fi
	echo 'pictures a second and MB of a step; training in GFLOP/s counts three times the forward pass'
	printf '%-22s %5s %9s %9s %8s' '' batch training inference MB
	[ -z "$python" ] || printf ' %9s %9s %8s %7s %7s' 'PyTorch' inference MB 'ratio' 'ratio'
	echo
	compare 'ResNet-18, 32 px' 'resnet18 stem=cifar' resnet18 32 64
	compare 'ViT-Ti/16, 224 px' vit-ti vit-ti 224 8
	compare 'speednet 48-160-160' 'speednet width1=48 width2=160 width3=160' speednet-48-160-160 32 512
} | tee "$out"

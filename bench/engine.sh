#!/bin/bash
# engine.sh: training steps and inference of three networks, beside PyTorch where a
# python3 with it is installed (Debian: python3-torch); prints a table, also written to
# bench/results/engine-DATE.txt.
#   DEVICE=cpu         or cuda: with TF32 and bf16, and how near the GPU's peak it comes
#   PRECISIONS="..."   float32 on the CPU; bf16 tf32 float32 on a GPU
#   PEERS="..."        eager; on a GPU also compile (torch.compile).  Empty: none
#   THREADS=N          default: all processors
#   SECONDS_EACH=8     time of each measurement; 3 on a GPU
#   ROUNDS=3           all take turns; the median counts.  1 on a GPU
#   TIME_LIMIT=SECONDS what has not begun by then is not run, and said to be so
#   RESULT=FILE        instead of bench/results/engine-DATE.txt
#   PYTHON=PROGRAM     python3 with PyTorch
# Ends with 3 when the time limit left something out, and 1 when something failed.
set -u
cd "$(dirname "$0")/.." || exit 1
device=${DEVICE:-cpu}
threads=${THREADS:-$(nproc)}
plugin=build/lib
failed= late=
if [ "$device" = cuda ]; then
	precisions=${PRECISIONS-bf16 tf32 float32} peers=${PEERS-eager compile} seconds=${SECONDS_EACH:-3} rounds=${ROUNDS:-1}
else
	precisions=${PRECISIONS-float32} peers=${PEERS-eager} seconds=${SECONDS_EACH:-8} rounds=${ROUNDS:-3}
fi
python=
for candidate in ${PYTHON:-} python3 /usr/bin/python3; do
	if "$candidate" -c "import torch; exit('$device' == 'cuda' and not torch.cuda.is_available())" 2>/dev/null; then
		python=$candidate
		break
	fi
done
out=${RESULT:-bench/results/engine-$(date +%F).txt}
mkdir -p "$(dirname "$out")"
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT

# column N of the lines in the standard input, their median
median() { awk -v n="$1" '{ print $n }' | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
medians() { for n in $(seq "$2"); do printf '%s ' "$(median "$n" <<<"$1")"; done; }
in_time() { [ -z "${TIME_LIMIT:-}" ] || [ $SECONDS -lt "$TIME_LIMIT" ]; }

# run WHO ARCHITECTURE PEER SIDE BATCH PRECISION: a line of numbers, or an error in $errors
run() {
	case $1 in
	deephash) build/bench/engine --device "$device" --plugin $plugin --precision "$6" --threads "$threads" \
		--seconds "$seconds" "$2" "$4" "$5" ;;
	*) OMP_NUM_THREADS=$threads "$python" bench/engine/peer.py --device "$device" --precision "$6" --threads "$threads" \
		--seconds "$seconds" $([ "$1" = eager ] || echo --compile) "$3" "$4" "$5" ;;
	esac 2>"$errors"
}

# compare PRECISION NAME ARCHITECTURE PEER SIDE BATCH
compare() {
	local precision=$1 name=$2 who r line mine=''
	local -A seen=()
	shift 2
	for ((r = 0; r < rounds; r++)); do
		for who in deephash ${python:+$peers}; do
			if ! in_time; then
				seen[$who]=${seen[$who]:-late}
			elif line=$(run "$who" "$@" "$precision") && [ -n "$line" ]; then
				seen[$who]=${seen[$who]:+${seen[$who]}$'\n'}$line
			else
				seen[$who]="failed: $(tail -n 1 "$errors")"
			fi
		done
	done
	for who in deephash ${python:+$peers}; do
		printf '%-20s %5d %-8s %-9s' "$name" "$4" "$precision" "$who"
		case ${seen[$who]} in
		late) late=1 && echo ' not run: no time was left' ;;
		failed*) failed=1 && echo " ${seen[$who]}" ;;
		*)
			if [ "$who" = deephash ]; then
				mine=$(medians "${seen[$who]}" 5)
				row_of_ours "$precision" "$mine"
			else
				row_of_theirs "$(medians "${seen[$who]}" 3)" "$mine"
			fi
			;;
		esac
	done
}

row_of_theirs() {
	awk '{
		printf " %9.1f %10.1f %8.0f", $1, $2, $3
		if (NF > 3)
			printf "   deephash: %.2f and %.2f times as fast, %.2f of the memory", $4 / $1, $5 / $2, $6 / $3
		print ""
	}' <<<"$1 $2"
}

# Our line ends with GFLOP/s or, where the peak is known, with TFLOP/s and the share of it.
row_of_ours() {
	awk -v precision="$1" -v peaks="$peaks" '{
		printf " %9.1f %10.1f %8.0f", $1, $2, $3
		split(peaks, peak, " ")
		best = peak[precision == "float32" ? 1 : precision == "tf32" ? 2 : 3]
		if (peaks == "")
			printf "   %.1f and %.1f GFLOP/s\n", 6e-3 * $1 * $5, 2e-3 * $2 * $5
		else {
			training = 6e-6 * $1 * $5
			inference = 2e-6 * $2 * $5
			printf "   %.1f TFLOP/s, %.1f %% of the peak", training, 100 * training / best
			printf "; inference %.1f, %.1f %%\n", inference, 100 * inference / best
		}
	}' <<<"$2"
}

table() {
	echo "engine.sh on $device, $threads threads, $rounds rounds of $seconds s; $(date '+%F %H:%M')"
	echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1); load $(cut -d' ' -f1 /proc/loadavg)"
	# OPENBLAS_CORETYPE in the environment slows both engines where it names an older CPU
	echo "deephash: $(build/bench/engine --device "$device" --plugin $plugin about 2>&1)${OPENBLAS_CORETYPE:+; OPENBLAS_CORETYPE=$OPENBLAS_CORETYPE}"
	if [ -n "$python" ]; then
		"$python" bench/engine/peer.py --device "$device" about 2>/dev/null
	else
		echo 'no PyTorch that can use the device is installed: deephash alone'
	fi
	peaks=
	if [ "$device" = cuda ]; then
		peaks=$(build/bench/peak 2>"$errors") || { failed=1 && peaks= && echo "the peak: failed: $(tail -n 1 "$errors")"; }
		[ -z "$peaks" ] || awk '{ printf "peak of this GPU (cuBLAS, 8192 x 8192): float32 %.1f, TF32 %.1f, bf16 %.1f TFLOP/s; its memory: %.0f GB/s\n",
			$1, $2, $3, $4 }' <<<"$peaks"
	fi
	echo 'pictures a second, and MB of a training step; a step counts as three forward passes'
	printf '%-20s %5s %-8s %-9s %9s %10s %8s\n' '' batch '' '' training inference MB
	for precision in $precisions; do
		# A GPU wants larger batches to be busy.
		compare "$precision" 'ResNet-18, 32 px' 'resnet18 stem=cifar' resnet18 32 $([ "$device" = cuda ] && echo 512 || echo 64)
		compare "$precision" 'ViT-Ti/16, 224 px' vit-ti vit-ti 224 $([ "$device" = cuda ] && echo 128 || echo 8)
		compare "$precision" 'speednet 48-160-160' 'speednet width1=48 width2=160 width3=160' speednet-48-160-160 \
			32 $([ "$device" = cuda ] && echo 1024 || echo 512)
	done
}

exec 3>&1
table > >(tee "$out" >&3)
wait $!
[ -z "$failed" ] || exit 1
[ -z "$late" ] || exit 3

#!/bin/bash
# sanitize.sh: compute-sanitizer over the parity cases and over a small training run.
set -u
. gpu/checks/lib.sh
[ -z "${REHEARSE:-}" ] || skip 'needs a GPU'
command -v compute-sanitizer >/dev/null || skip 'compute-sanitizer is not installed'
begun=$SECONDS
failed= unfinished= done=

pictures=build/gpu-check/small
rm -rf $pictures
build/bin/deephash-train synth --classes 4 --per-class 16 --size 32 $pictures >/dev/null || exit 1

# check NAME TOOL SHARE COMMAND...: within that share of the time that is left.
check() {
	local name=$1 tool=$2 share=$3 log status seconds
	shift 3
	log=build/gpu-check/$tool-$name.log
	seconds=$(((STAGE_SECONDS - (SECONDS - begun)) * share / 100))
	if [ $seconds -lt 5 ]; then
		echo "$tool, $name: not run: no time was left"
		unfinished=1
		return
	fi
	# Errors that the API returns are what some cases of parity are about; it judges them.
	timeout -k 5 $seconds compute-sanitizer --tool "$tool" --report-api-errors no --error-exitcode 99 "$@" >"$log" 2>&1
	status=$?
	case $status in
	0) done="$done $tool($name)" && echo "$tool, $name: $(grep -h SUMMARY "$log" | tail -n 1)" ;;
	124 | 137) unfinished=1 && echo "$tool, $name: not finished in $seconds s; errors so far: $(grep -c 'Error\|Race reported' "$log")" ;;
	*) failed=1 && echo "$tool, $name: FAILED ($status): $(grep -h SUMMARY "$log" | tail -n 1)" && grep -m 5 -A 4 'Invalid\|Error\|Uninitialized\|Race\|hazard\|FAIL\|deephash-train:' "$log" ;;
	esac
}

train() {
	check training "$1" "$2" build/bin/deephash-train train --data folder:$pictures --protocol none --arch "$3" --size 32 \
		--epochs 1 --batch 32 --set train.device=cuda --set train.precision="$4" --out build/gpu-check/sanitized.safetensors
}

train memcheck 25 'resnet18 stem=cifar' bf16
check parity memcheck 40 build/gpu-parity cuda build/lib --few
train racecheck 30 speednet float32
check parity racecheck 40 build/gpu-parity cuda build/lib --few
train initcheck 40 speednet bf16
check parity initcheck 60 build/gpu-parity cuda build/lib --few
check parity synccheck 100 build/gpu-parity cuda build/lib --few
echo "summary: without errors:${done:- none}"
[ -z "$failed" ] || exit 1
[ -z "$unfinished" ] || exit 3

#!/bin/bash
# train.sh: deephash-train on the device: its rate, its quality, and whether a run that is stopped and
# resumed ends in the same weights, bit for bit.
set -u
. gpu/checks/lib.sh
work=build/gpu-check/train
rm -rf $work
mkdir -p $work
failed=
if [ -z "${REHEARSE:-}" ]; then
	precisions='bf16 float32' network='ResNet-18'
	recipe=(--recipe gpu-cifar-resnet18) small_network=(--arch 'resnet18 stem=cifar')
else
	precisions='bf16 float32' network=speednet
	recipe=(--width 4,8,8 --batch 32) small_network=(--width 4,8,8)
fi
if [ -z "${REHEARSE:-}" ] && [ -r "$data/cifar10.med.xz" ]; then
	from=cifar10:$data pictures=CIFAR-10 epochs=4
else
	build/bin/deephash-train synth --classes 10 --per-class $([ -n "${REHEARSE:-}" ] && echo 20 || echo 500) --size 32 $work/pictures >/dev/null || exit 1
	from=folder:$work/pictures pictures='made-up scenes' epochs=3
fi

# train OUT OPTION...
train() {
	local out=$1
	shift
	$programs/deephash-train train "$@" --out "$out"
}
# The tensors of a model file; its metadata tell the time of day.
weights() {
	tail -c +$((9 + $(od -An -tu8 -N8 "$1"))) "$1" | sha256sum
}

precision=${precisions%% *}
echo "$network, $precision, $pictures, $epochs epochs:"
train $work/model "${recipe[@]}" --data "$from" --size 32 --epochs $epochs --set train.device=cuda --set train.precision="$precision" 2>&1 |
	tr '\r' '\n' | tee $work/log
[ -s $work/model ] || { echo 'summary: training ended without a model'; exit 1; }
rate=$(grep -o '[0-9]* pictures/s' $work/log | tail -n 1)
waiting=$(sed -n 's/^\([0-9.]*%\) of the time was spent waiting.*/\1/p' $work/log)

small=$work/small
build/bin/deephash-train synth --classes 4 --per-class 40 --size 32 $small >/dev/null
options=(--data folder:$small --protocol none "${small_network[@]}" --size 32 --epochs 2 --batch 32 --seed 3
	--set train.device=cuda)
# Where a device computes the same bits in each run only when asked to, ask.
! build/bin/deephash-train recipes --keys | grep -q deterministic || options+=(--set train.deterministic=yes)
for p in $precisions; do
	o=("${options[@]}" --set train.precision="$p")
	rm -f $work/whole $work/stopped $work/again $work/*.checkpoint
	{
		train $work/whole "${o[@]}"
		train $work/again "${o[@]}"
		train $work/stopped "${o[@]}" --stop-after 4
		train $work/stopped --resume $work/stopped.checkpoint
	} >$work/resume.log 2>&1
	if ! [ -s $work/whole ] || ! [ -s $work/again ] || ! [ -s $work/stopped ]; then
		failed=1
		echo "$p: a run failed: $(grep '^deephash-train:' $work/resume.log | tail -n 1)"
		continue
	fi
	[ "$(weights $work/whole)" = "$(weights $work/again)" ] && echo "$p: a second run gives the same weights" ||
		{ failed=1 && echo "$p: FAIL a second run gives other weights"; }
	[ "$(weights $work/whole)" = "$(weights $work/stopped)" ] && echo "$p: a run resumed after 4 steps gives the same weights" ||
		{ failed=1 && echo "$p: FAIL a run resumed after 4 steps gives other weights"; }
done
rm -rf $work
echo "summary: $network in $precision: ${rate:-no rate}, ${waiting:-unknown share} of the time waiting for pictures; $([ -z "$failed" ] && echo 'repeated and resumed bit for bit' || echo 'repeating or resuming FAILED')"
[ -z "$failed" ]

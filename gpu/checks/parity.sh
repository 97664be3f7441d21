#!/bin/bash
# parity.sh: every op, network and architecture on the device and on the CPU; training, too.
set -u
. gpu/checks/lib.sh
[ -x build/gpu-parity ] || { echo 'summary: build/gpu-parity is missing'; exit 1; }
timeout -k 5 $((STAGE_SECONDS - 5)) build/gpu-parity cuda $plugin --seed 1 ${REHEARSE:+--few}
status=$?
summary=$(sed -n 's/^\([0-9]* cases, [0-9]* failed; .*\)$/\1/p' "$STAGE_LOG")
if [ -z "$summary" ]; then
	summary="the program ended with $status after $(grep -c ' ok    ' "$STAGE_LOG") cases that agree and $(grep -c ' FAIL  ' "$STAGE_LOG") that do not"
	grep -q ' FAIL  ' "$STAGE_LOG" && status=1
fi
echo "summary: $summary"
exit $status

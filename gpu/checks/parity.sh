#!/bin/bash
# parity.sh: every op, network and architecture on the device and on the CPU; training, too.
set -u
. gpu/checks/lib.sh
[ -x build/gpu-parity ] || { echo 'summary: build/gpu-parity is missing'; exit 1; }
build/gpu-parity cuda $plugin --seed 1 ${REHEARSE:+--few}
status=$?
summary=$(sed -n 's/^\([0-9]* cases, [0-9]* failed; .*\)$/\1/p' build/gpu-check/parity.log)
echo "summary: ${summary:-the program ended with $status}"
exit $status

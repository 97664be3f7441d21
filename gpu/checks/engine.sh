#!/bin/bash
# engine.sh: training and inference beside PyTorch, and the GPU's peak (bench/engine.sh).
set -u
. gpu/checks/lib.sh
export TIME_LIMIT=$((STAGE_SECONDS - 30)) RESULT=build/gpu-check/engine.txt PEERS=${PEERS-eager} DEVICE=cuda
[ -z "${REHEARSE:-}" ] || export DEVICE=cpu SECONDS_EACH=0.5 ROUNDS=1
bench/engine.sh
status=$?
echo "summary: $(grep -cE '(deephash|eager|compile) +[0-9]' $RESULT) of $(grep -cE ' (deephash|eager|compile) ' $RESULT) measurements$(grep -q '^no PyTorch' $RESULT && echo '; no PyTorch here')"
exit $status

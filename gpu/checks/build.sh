#!/bin/bash
# build.sh: the plug-in and the programs, from source; a pack has them.
set -u
. gpu/checks/lib.sh
[ ! -f PACKED ] || skip "built elsewhere, $(sed -n 's/^packed from //p' PACKED)"
command -v nvcc >/dev/null || [ -n "${REHEARSE:-}" ] || { echo 'summary: no CUDA compiler here: gpu/check --pack on another machine'; exit 1; }
targets='programs build/host-engine/deephash-encoder build/host-engine/deephash-train build/host-engine/deephash-cuda.so build/gpu-parity build/bench/engine build/bench/encode'
command -v nvcc >/dev/null && targets="$targets build/bench/peak"
make -s -j"$(nproc)" $targets tree || { echo 'summary: the build failed: gpu/check --pack on a machine with what deps.txt lists'; exit 1; }
# The compiler's warnings are the only output of a silent make.
echo "summary: built with $(nvcc --version 2>/dev/null | grep -o 'V[0-9.]*$' || echo 'no CUDA compiler')"

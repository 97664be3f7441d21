#!/bin/bash
# compile.sh: the same beside torch.compile, which takes most of its time to compile.
set -u
. gpu/checks/lib.sh
python=$(python_with_torch) || skip 'no PyTorch here'
"$python" -c 'import torch; torch.compile' 2>/dev/null || skip 'this PyTorch has no torch.compile'
PEERS=compile exec bash gpu/checks/engine.sh

#!/bin/sh
# Tests the GPU's kernels against PyTorch and times them, in less than eight minutes: a slab, a training step and a whole
# scan of LV-Net, and of the networks beside it.  It needs a Python with torch, triton, numpy, scipy and SimpleITK, no
# installation and no network:
#
#   sh Testing/benchmarks/gpu.sh                 # prints a Markdown table; gpu.json has every number
#   sh Testing/benchmarks/gpu.sh --rehearse      # tiny, on a CPU: shows that it runs, not how fast
#
# PYTHON names another interpreter than python3.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$here/../../LVNetSegmentation${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
exec "${PYTHON:-python3}" "$here/gpu.py" --json gpu.json "$@"

#!/usr/bin/env bash
# Create .venv with all dependencies, then run the demo on `shapes`. Needs Python >= 3.10 with the module venv.
set -euo pipefail
cd "$(dirname "$0")/.."
${PYTHON:-python3} -m venv .venv
.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"
ltrp-bench doctor
time bash tools/demo.sh runs/demo

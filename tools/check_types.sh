#!/usr/bin/env bash
# mypy on the installed package: an editable install of namespace packages is invisible to it, so a copy is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
rm -rf build
"$python" -m pip install --quiet --no-deps --no-build-isolation --upgrade --target build/types . 2> >(grep -v WARNING >&2 || true)
# What the build leaves here would hide later entry points from whatever is started in this folder.
rm -rf ltrp_bench.egg-info
MYPYPATH=build/types "$python" -m mypy "$@"

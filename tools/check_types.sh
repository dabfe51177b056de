#!/usr/bin/env bash
# Run mypy on an installed copy, because it does not find namespace packages that are installed as editable.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
rm -rf build
"$python" -m pip install --quiet --no-deps --no-build-isolation --upgrade --target build/types . 2> >(grep -v WARNING >&2 || true)
# The build leaves this folder; programs started here would read their entry points from it, even when it is outdated.
rm -rf ltrp_bench.egg-info
MYPYPATH=build/types "$python" -m mypy "$@"

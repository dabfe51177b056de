#!/usr/bin/env bash
# mypy on the installed package: an editable install of namespace packages is invisible to it, so a copy is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
rm -rf build
"$python" -m pip install --quiet --no-deps --no-build-isolation --upgrade --target build/types . 2> >(grep -v WARNING >&2 || true)
MYPYPATH=build/types "$python" -m mypy "$@"

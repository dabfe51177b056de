#!/usr/bin/env bash
# Run a small sweep on shapes and compare it with the committed table; the exit code is 1 if there is a regression.
# To update the table after an intended change (docs/results.md):
#   tools/regression.sh DIR; cp DIR/current.csv tests/regression/shapes.csv
set -euo pipefail
out=${1:-runs/regression}
# Fingerprints do not depend on the code, so cells of an older version would be reused.
rm -rf "$out"
ltrp-bench run --out "$out" --selector ltrp --selector random --selector center --selector variance \
    --selector oracle --task shapes-coverage --task shapes-det --limit 60 --keep-ratio 0.25 --keep-ratio 0.5
ltrp-bench leaderboard "$out" --csv "$out/current.csv"
ltrp-bench compare tests/regression/shapes.csv "$out/current.csv" --tolerance 0.01 \
    --out "$out/regression.md" --junit "$out/junit.xml"

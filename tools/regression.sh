#!/usr/bin/env bash
# A small sweep on shapes, compared with the committed table; exit code 1 on a regression.
# Renew the table after an intended change (docs/results.md): tools/regression.sh DIR; cp DIR/current.csv tests/regression/shapes.csv
set -euo pipefail
out=${1:-runs/regression}
# Fingerprints know nothing of the code: what an older one measured must not be found here.
rm -rf "$out"
ltrp-bench run --out "$out" --selector ltrp --selector random --selector center --selector variance \
    --selector oracle --task shapes-coverage --task shapes-det --limit 60 --keep-ratio 0.25 --keep-ratio 0.5
ltrp-bench leaderboard "$out" --csv "$out/current.csv"
ltrp-bench compare tests/regression/shapes.csv "$out/current.csv" --tolerance 0.01 \
    --out "$out/regression.md" --junit "$out/junit.xml"

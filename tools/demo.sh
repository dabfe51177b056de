#!/usr/bin/env bash
# Demo on `shapes`: evaluate LTRP and the controls by coverage and detection, on seen and unseen categories.
set -euo pipefail
out=${1:-runs/demo}
ltrp-bench run --out "$out" --task shapes-coverage --limit 300 \
    --selector ltrp --selector variance --selector center --selector random --selector oracle \
    --keep-ratio 0.1 --keep-ratio 0.25 --keep-ratio 0.5
ltrp-bench run --out "$out" --task shapes-det --limit 150 \
    --selector ltrp --selector variance --selector center --selector random --selector downsample \
    --selector oracle --selector full --keep-ratio 0.25 --keep-ratio 0.5
ltrp-bench leaderboard "$out" --csv "$out/leaderboard.csv"
ltrp-bench report "$out" --out "$out/report.html"

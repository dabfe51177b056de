#!/usr/bin/env bash
# Demo on `shapes`: coverage and detection with LTRP, two selectors trained with labels, and controls, on seen and unseen categories.
set -euo pipefail
out=${1:-runs/demo}
ltrp-bench run --out "$out" --task shapes-coverage --limit 300 --keep-ratio 0.1,0.25,0.5 \
    --selector ltrp,attention-rollout,evit,variance,center,random,oracle
ltrp-bench run --out "$out" --task shapes-det --limit 150 --keep-ratio 0.25,0.5 \
    --selector ltrp,evit,variance,center,random,oracle,full
ltrp-bench leaderboard "$out" --csv "$out/leaderboard.csv"
ltrp-bench report "$out" --out "$out/report.html"

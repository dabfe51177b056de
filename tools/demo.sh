#!/usr/bin/env bash
# The main job on the built-in world: LTRP and the controls, judged by coverage and by detection, seen and unseen.
set -euo pipefail
out=${1:-runs/demo}
ltrp-bench run --out "$out" --selector ltrp --selector ltrp-teacher --selector random --selector center \
    --selector variance --selector oracle --task shapes-coverage --limit 200 \
    --keep-ratio 0.1 --keep-ratio 0.25 --keep-ratio 0.5
ltrp-bench run --out "$out" --selector ltrp --selector random --selector center --selector variance \
    --selector oracle --selector downsample --selector full --task shapes-det --limit 200 \
    --keep-ratio 0.25 --keep-ratio 0.5
ltrp-bench leaderboard "$out" --csv "$out/leaderboard.csv"

#!/usr/bin/env bash
# MAE and CrossMAE as LTRP's teachers on `shapes` (docs/selectors/ltrp.md, "Does it teach as well?"): tools/compare_teachers.sh DIR
# Run it again to resume. Takes three to four hours on one core: for each of three seeds three teachers and four rankers.
set -euo pipefail
dir=$1
train() { # KIND NAME OPTIONS...; skips files that exist
    local kind=$1 name=$2
    shift 2
    [ -e "$dir/$name.safetensors" ] || ltrp-bench train "$kind" --pictures 20000 --threads 1 --workers 0 --seed "$seed" \
        --save-every 200 --out "$dir/work/$name" --export "$dir/$name.safetensors" "$@"
}
mae() { train mae "$1$seed" --no-norm-pix --lr 1.5e-3 "${@:2}"; }
ranker() { # NAME TEACHER OPTIONS...
    train ltrp "ltrp.$1$seed" --mae "$dir/$2$seed.safetensors" --ranker mae --mask-ratio 0.7 --no-asymmetric --batch-size 32 \
        --lr 6e-4 "${@:3}"
}
measure() { # SELECTOR FILE OPTIONS...
    for fold in 0 1; do
        ltrp-bench run --out "$dir/runs" --task shapes-coverage --task-option fold=$fold --limit 200 --keep-ratio .1,.25,.5 \
            --selector "$1" --weights "$1=$dir/$2.safetensors" "${@:3}"
    done
}
density() { # NAME DISTANCE; the scores of a teacher themselves, one visit a patch
    measure ltrp-teacher "$1$seed" --selector-option ltrp-teacher.visits=1 --selector-option ltrp-teacher.mask_ratio=0.7 \
        --selector-option "ltrp-teacher.distance=$2"
}
sampled=(--distance l2 --positions 26 --samples 4)
for seed in 0 1 2; do
    mae mae --mask-ratio 0.8 --iterations 800
    mae cross --decoder cross --mask-ratio 0.75 --iterations 1200             # CPU time of mae
    mae cross-images --decoder cross --mask-ratio 0.75 --iterations 800       # images of mae
    density mae l1
    density cross l2
    density cross-images l2
    ranker mae-l1- mae --distance l1 --iterations 40
    ranker mae-l2- mae --distance l2 --iterations 40
    ranker cross- cross "${sampled[@]}" --iterations 147                      # CPU time of mae-l1
    ranker cross-images- cross "${sampled[@]}" --iterations 40                # images of mae-l1
    for name in mae-l1- mae-l2- cross- cross-images-; do measure ltrp "ltrp.$name$seed"; done
done
ltrp-bench leaderboard "$dir/runs" --csv "$dir/leaderboard.csv"

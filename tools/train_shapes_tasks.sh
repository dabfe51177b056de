#!/usr/bin/env bash
# Reproduce the task models of `shapes`: tools/train_shapes_tasks.sh DIR [NAME...]. Run it again to resume.
# For the files that ship, then: python tools/half_precision.py DIR/*.safetensors
# All start from the segmentor's encoder: a small ViT learns faster from dense labels than from labels of whole images.
# Each task has a model for whole images, and one for random patches at random ratios, which favors no selector.
set -euo pipefail
dir=$1
shift
names=" $* "
common=(--pictures 40000 --batch-size 32 --amp bfloat16 --threads 1 --save-every 200)
train() { # KIND NAME OPTIONS...; skips files that exist
    local kind=$1 name=$2
    shift 2
    [ "$names" = "  " ] || [[ $names == *" $name "* ]] || return 0
    [ -e "$dir/$name.safetensors" ] ||
        ltrp-bench train "$kind" --out "$dir/work/$name" --export "$dir/$name.safetensors" "$@" "${common[@]}"
}
encoder=$dir/segmentor.shapes.safetensors
train segmentor segmentor.shapes --iterations 4500 --lr 1e-3
train segmentor segmentor.shapes-drop --init "$encoder" --keep-ratio random --iterations 1500 --lr 5e-4
train classifier classifier.shapes --init "$encoder" --iterations 600 --lr 5e-4
train classifier classifier.shapes-drop --init "$dir/classifier.shapes.safetensors" --keep-ratio random \
    --iterations 800 --lr 5e-4
train multilabel multilabel.shapes --init "$encoder" --iterations 700 --lr 5e-4
train multilabel multilabel.shapes-drop --init "$dir/multilabel.shapes.safetensors" --keep-ratio random \
    --iterations 800 --lr 5e-4
common=(--batch-size 32 --amp bfloat16 --threads 1 --save-every 100)
train detector detector.shapes-vit --architecture vit --init "$encoder" --iterations 2500
train detector detector.shapes-drop --architecture vit --init "$dir/detector.shapes-vit.safetensors" --keep-ratio random \
    --iterations 2500 --lr 1e-3

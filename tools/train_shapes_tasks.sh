#!/usr/bin/env bash
# The task models of `shapes` made anew: tools/train_shapes_tasks.sh DIR [NAME...]. Once more goes on after a kill.
# All start from the segmentor's encoder, which dense labels taught what whole-picture labels teach a small ViT slowly.
# Each task has a model of whole images and one of random patches at random ratios, which favours no selector.
set -euo pipefail
dir=$1
shift
names=" $* "
common=(--pictures 40000 --batch-size 32 --amp bfloat16 --threads 1 --save-every 200)
train() { # KIND NAME OPTIONS...: not again what is there
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

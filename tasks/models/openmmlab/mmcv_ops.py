"""Stand-ins, made of torchvision's operators, for the compiled operators of `mmcv._ext`.

Each function has the name, the positional arguments and the output buffers of mmcv's own binding
(mmcv/ops/csrc/pytorch/pybind.cpp), because mmcv's autograd functions call it by position and read the buffers.
Operators that only rotated, 3-D or text models use have no stand-in; using one raises an error with its name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices [K] of the boxes [N,4] (x1,y1,x2,y2) kept by greedy suppression, best score first."""
    if offset:  # a box of pixel indices is `offset` longer on each axis: the same as moving its far corner
        boxes = boxes + boxes.new_tensor([0.0, 0.0, offset, offset])
    return torchvision.ops.nms(boxes.float(), scores.float(), float(iou_threshold))


def _overlaps(box: np.ndarray, others: np.ndarray, offset: int) -> np.ndarray:
    near, far = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    inter = np.clip(far - near + offset, 0, None).prod(axis=1)
    area = (box[2:] - box[:2] + offset).prod()
    return inter / (area + (others[:, 2:] - others[:, :2] + offset).prod(axis=1) - inter)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (Bodla et al. 2017): fills dets [N,5], returns the indices kept.

    method: 0 hard, 1 linear, 2 gaussian.
    """
    box, score = boxes.detach().cpu().float().numpy(), scores.detach().cpu().float().numpy().copy()
    left = np.arange(len(box))
    kept: list[int] = []
    with np.errstate(divide="ignore", invalid="ignore"):
        while len(left):
            best = int(left[score[left].argmax()])
            dets[len(kept)] = torch.tensor([*box[best], score[best]])
            kept.append(best)
            left = left[left != best]
            overlap = _overlaps(box[best], box[left], offset)
            if method == 2:
                weight = np.exp(-(overlap**2) / sigma)
            else:
                weight = np.where(overlap >= iou_threshold, 0.0 if method == 0 else 1 - overlap, 1.0)
            score[left] *= weight.astype(np.float32)
            left = left[~(score[left] < min_score)]
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups of detections [N,5]: each kept one followed by those it suppresses, in order of score."""
    array = dets.detach().cpu().float().numpy()
    order = torch.from_numpy(array[:, 4].copy()).sort(descending=True, stable=True).indices.numpy()
    groups: list[list[int]] = []
    while len(order):
        first, rest = order[0], order[1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            close = _overlaps(array[first, :4], array[rest, :4], 0) >= iou_threshold
        groups.append([int(first), *(int(i) for i in rest[close])])
        order = rest[~close]
    return groups


def roi_align_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign by averages of rois [K,5] (batch index, x1,y1,x2,y2), written to output [K,C,h,w]."""
    _average_only(pool_mode)
    size = (aligned_height, aligned_width)
    pooled = torchvision.ops.roi_align(features, rois.to(features.dtype), size, spatial_scale, sampling_ratio, aligned)
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of `roi_align_forward` with respect to the features, written to grad_input."""
    _average_only(pool_mode)
    with torch.enable_grad():  # RoIAlign is linear in the features, so its gradient is the same at zeros
        features = torch.zeros_like(grad_input, requires_grad=True)
        size = (aligned_height, aligned_width)
        pooled = torchvision.ops.roi_align(
            features, rois.to(features.dtype), size, spatial_scale, sampling_ratio, aligned
        )
        grad_input.copy_(torch.autograd.grad(pooled, features, grad_output)[0])


def _average_only(pool_mode: int) -> None:
    if pool_mode != 1:
        raise NotImplementedError(missing_message("roi_align with pool_mode='max'"))


def _deform(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None, sizes: dict[str, Any]
) -> Tensor:
    """Deformable convolution, v1 (mask None) or v2; the shapes determine the groups."""
    if "dH" in sizes:
        stride, padding = (sizes["dH"], sizes["dW"]), (sizes["padH"], sizes["padW"])
        dilation = (sizes["dilationH"], sizes["dilationW"])
    else:
        stride, padding = (sizes["stride_h"], sizes["stride_w"]), (sizes["pad_h"], sizes["pad_w"])
        dilation = (sizes["dilation_h"], sizes["dilation_w"])
    return torchvision.ops.deform_conv2d(x, offset, weight, bias, stride, padding, dilation, mask)


def _gradients(function: Callable[..., Tensor], inputs: list[Tensor], grad: Tensor) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        leaves = [value.detach().requires_grad_() for value in inputs]
        return torch.autograd.grad(function(*leaves), leaves, grad)


def deform_conv_forward(
    x: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **sizes: Any
) -> None:
    """Deformable convolution (Dai et al. 2017), written to output."""
    output.copy_(_deform(x, offset, weight, None, None, sizes))


def deform_conv_backward_input(
    x: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **sizes: Any,
) -> None:
    """Gradients of `deform_conv_forward` with respect to its input and offsets."""
    grads = _gradients(lambda a, b: _deform(a, b, weight, None, None, sizes), [x, offset], grad_output)
    grad_input.copy_(grads[0])
    grad_offset.copy_(grads[1])


def deform_conv_backward_parameters(
    x: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    **sizes: Any,
) -> None:
    """Gradient of `deform_conv_forward` with respect to its weight [O, C/groups, kH, kW]."""
    (grad,) = _gradients(lambda w: _deform(x, offset, w, None, None, sizes), [grad_weight], grad_output)
    grad_weight.add_(grad, alpha=sizes.get("scale", 1))


def modulated_deform_conv_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    **sizes: Any,
) -> None:
    """Modulated deformable convolution (Zhu et al. 2019), written to output."""
    output.copy_(_deform(x, offset, weight, bias if sizes["with_bias"] else None, mask, sizes))


def modulated_deform_conv_backward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    **sizes: Any,
) -> None:
    """Gradients of `modulated_deform_conv_forward` with respect to all of its tensors."""
    grads = _gradients(lambda a, w, o, m: _deform(a, o, w, None, m, sizes), [x, weight, offset, mask], grad_output)
    for target, grad in zip((grad_input, grad_weight, grad_offset, grad_mask), grads, strict=True):
        target.copy_(grad)
    if sizes["with_bias"]:
        grad_bias.copy_(grad_output.sum(dim=(0, 2, 3)))


def _focal(x: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    positive = target[:, None] == torch.arange(x.shape[1], device=x.device)  # the background's label is C
    p = x.sigmoid()
    hit = alpha * (1 - p) ** gamma * torch.nn.functional.logsigmoid(x)
    miss = (1 - alpha) * p**gamma * torch.nn.functional.logsigmoid(-x)
    loss = -torch.where(positive, hit, miss)
    if weight.numel():
        padded = torch.cat([weight, weight.new_ones(1)])  # mmcv reads past the end for background
        loss = loss * padded[target][:, None]
    return loss


def sigmoid_focal_loss_forward(
    x: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss (Lin et al. 2017) of logits [N,C] and labels [N] in 0..C (C: background) -> output."""
    output.copy_(_focal(x, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    x: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Gradient of the sum of `sigmoid_focal_loss_forward`, written to grad_input."""
    (grad,) = _gradients(lambda a: _focal(a, target, weight, gamma, alpha).sum(), [x], x.new_ones(()))
    grad_input.copy_(grad)


def ms_deform_attn_forward(
    value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor, im2col_step: int
) -> Tensor:
    """Multi-scale deformable attention by mmcv's own PyTorch version -> [B, queries, C]."""
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    return multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)


def ms_deform_attn_backward(
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    locations: Tensor,
    weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_locations: Tensor,
    grad_weights: Tensor,
    im2col_step: int,
) -> None:
    """Gradients of `ms_deform_attn_forward`, written to the three last tensors."""
    grads = _gradients(
        lambda v, p, w: ms_deform_attn_forward(v, shapes, starts, p, w, im2col_step),
        [value, locations, weights],
        grad_output,
    )
    for target, grad in zip((grad_value, grad_locations, grad_weights), grads, strict=True):
        target.copy_(grad)


def get_compiler_version() -> str:
    """Text that mmengine prints as the compiler of mmcv's operators."""
    return "not compiled (ltrp-bench stand-in)"


get_compiling_cuda_version = get_compiler_version


def missing_message(name: str) -> str:
    """Error message for a model that needs the operator `name`, which has no stand-in."""
    return (
        f"mmcv's operator '{name}' is not compiled here and ltrp-bench has no stand-in for it: "
        "use another detector, or install an mmcv that was compiled for this torch"
    )


STAND_INS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        nms,
        softnms,
        nms_match,
        roi_align_forward,
        roi_align_backward,
        deform_conv_forward,
        deform_conv_backward_input,
        deform_conv_backward_parameters,
        modulated_deform_conv_forward,
        modulated_deform_conv_backward,
        sigmoid_focal_loss_forward,
        sigmoid_focal_loss_backward,
        ms_deform_attn_forward,
        ms_deform_attn_backward,
    )
}

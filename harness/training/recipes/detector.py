"""`ltrp-bench train detector`: the small detector of `shapes-det`, on the built-in world.

Half of the training images have patches filled with the mean, at a keep ratio drawn from [0.1, 1] and in the order
of a random field between white noise and smooth blobs: so the detector knows reduced images, and favours no
selector's way of choosing. Objects of which less than a tenth is left are taken out of those images' labels.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ltrp_bench.harness.training.loop import AtomicCheckpoint, last_checkpoint, same_training, use_device, warmup_cosine
from ltrp_bench.selectors.checkpoints import load_into, load_state, save_safetensors
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.shapes.drawing import power_noise
from ltrp_bench.tasks.data.shapes.world import MEAN, PATCH, SIZE, ShapesImage, ShapesWorld
from ltrp_bench.tasks.models.detectors.loading import SHAPES_CONFIG
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab

CONFIG = "shapes_rtmdet"
LEAST_LEFT = 0.1
WORLD_SEED_OFFSET = 1_000_003  # the task judges on WORLD_SEEDS["test"]: these images are never among them


@dataclass(frozen=True)
class DetectorTraining:
    """Options of `train_detector` that make its result, and nothing else.

    Attributes:
        iterations, batch_size, lr, warmup, seed: of AdamW (weight decay 0.05) with a cosine decay to zero.
        pool: different images; each is seen flipped and turned in eight ways and filled anew each time.
        amp: "none" or "bfloat16".
    """

    iterations: int = 4000
    batch_size: int = 32
    lr: float = 2e-3
    warmup: int = 200
    pool: int = 16384
    amp: str = "none"
    seed: int = 0


class ShapesDetection(Dataset):
    """Training samples by position; a sample depends on (seed, position) alone.

    Args:
        options: of the training.
        start: position of the first sample, where a resumed training goes on.
    """

    def __init__(self, options: DetectorTraining, start: int = 0) -> None:
        self.options, self.start = options, start
        self.world = ShapesWorld(options.seed + WORLD_SEED_OFFSET)
        self._cache: OrderedDict[int, ShapesImage] = OrderedDict()

    def __len__(self) -> int:
        return self.options.iterations * self.options.batch_size - self.start

    def __getitem__(self, index: int) -> dict[str, Any]:
        """{"inputs": [3, 96, 96] float pixels, "data_samples": DetDataSample with boxes and labels}."""
        rng = np.random.default_rng([self.options.seed, self.start + index])
        scene = self._scene(int(rng.integers(self.options.pool)))
        image, masks = turned_scene(scene.image, scene.masks, int(rng.integers(8)))
        pixels, labels = image.astype(np.float32), scene.labels
        if rng.random() < 0.5:
            kept = np.kron(random_keep(rng), np.ones((PATCH, PATCH), bool))
            pixels[~kept] = np.float32(255) * np.asarray(MEAN, np.float32)
            left = (masks & kept).sum((1, 2)) >= LEAST_LEFT * masks.sum((1, 2))
            masks, labels = masks[left], labels[left]
        return pack(pixels, tight_boxes(masks), labels)

    def _scene(self, number: int) -> ShapesImage:
        if number not in self._cache:
            self._cache[number] = self.world.image(number)
        return self._cache[number]


def random_keep(rng: np.random.Generator) -> np.ndarray:
    """[12, 12] bool: patches kept at a random ratio, by a random field between white noise and smooth blobs."""
    cells = SIZE // PATCH
    field = power_noise(rng, cells, float(rng.uniform(0, 2)), 1)[0].ravel()
    keep = np.zeros(cells * cells, bool)
    keep[np.argsort(-field)[: max(1, round(float(rng.uniform(0.1, 1)) * field.size))]] = True
    return keep.reshape(cells, cells)


def turned_scene(image: np.ndarray, masks: np.ndarray, way: int) -> tuple[np.ndarray, np.ndarray]:
    """One of the eight flips and turns of the square; the world has no up or left."""
    image, masks = np.rot90(image, way % 4, (0, 1)), np.rot90(masks, way % 4, (1, 2))
    return (image[:, ::-1], masks[:, :, ::-1]) if way >= 4 else (image, masks)


def tight_boxes(masks: np.ndarray) -> np.ndarray:
    """[n, 4] float32 (x1, y1, x2, y2) around [n, H, W] masks, none of them empty."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for i, mask in enumerate(masks):
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes[i] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
    return boxes


def pack(pixels: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """One sample in the form that mmdet's models are trained with."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    size = pixels.shape[:2]
    sample = DetDataSample(metainfo={"img_shape": size, "ori_shape": size, "scale_factor": (1.0, 1.0)})
    sample.gt_instances = InstanceData(
        bboxes=torch.from_numpy(boxes), labels=torch.from_numpy(np.ascontiguousarray(labels))
    )
    return {
        # BGR, as mmdet reads files: the config turns it round.
        "inputs": torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1))),
        "data_samples": sample,
    }


def train_detector(
    out: Path,
    options: DetectorTraining = DetectorTraining(),
    device: str = "auto",
    resume: bool = True,
    save_every: int = 250,
    log_every: int = 50,
) -> dict[str, Tensor]:
    """Train through mmengine's Runner; goes on from the last checkpoint in `out`, and returns the averaged weights.

    Raises UsageError if `out` holds checkpoints and `resume` is false.
    """
    return fit(
        out,
        {"what": "detector", **asdict(options)},
        lambda: detector_config(CONFIG).model,  # built by the Runner, which sets the seed
        lambda start: ShapesDetection(options, start),
        _collate,
        options,
        device,
        resume,
        save_every,
        log_every,
    )


def fit(
    out: Path,
    recipe: dict[str, Any],
    model: Callable[[], Any],
    samples: Callable[[int], Dataset],
    collate: Callable[[list[dict[str, Any]]], dict[str, list[Any]]],
    options: DetectorTraining,
    device: str = "auto",
    resume: bool = True,
    save_every: int = 250,
    log_every: int = 50,
) -> dict[str, Tensor]:
    """The loop of `train_detector`, for any model of mmdet.

    Args:
        out: folder of checkpoints; a training goes on from the last one.
        recipe: what the training is of; a folder of another one is refused.
        model: gives its config, or the model itself.
        samples: position -> data set whose first sample is that of this position.
        collate: of samples.
        options: length, batch size, learning rate, seed.
        device, resume, save_every, log_every: as in `train_detector`.
    """
    openmmlab.setup("mmdet", training=True)
    from mmengine.dataset import DefaultSampler
    from mmengine.runner import Runner
    from torch.utils.data import DataLoader

    out.mkdir(parents=True, exist_ok=True)
    last = last_checkpoint(out)
    if last is not None and not resume:
        raise UsageError(f"{out} holds checkpoints of a training already; resume it or use another --out")
    done = int(last.stem.split("_")[1]) if last is not None else 0
    same_training(out / "training.json", recipe)
    use_device(device)
    if done < options.iterations:
        dataset = samples(done * options.batch_size)
        loader = DataLoader(
            dataset, options.batch_size, sampler=DefaultSampler(dataset, shuffle=False), collate_fn=collate
        )
        runner = Runner(
            model=model(),
            work_dir=str(out),
            train_dataloader=loader,
            train_cfg={
                "type": "IterBasedTrainLoop",
                "max_iters": options.iterations,
                "val_interval": 10**9,
                "fast_forward_on_resume": True,  # the data set itself starts where the training stopped
            },
            optim_wrapper=_optim_wrapper(options),
            param_scheduler=warmup_cosine(options.warmup, options.iterations),
            default_hooks={
                "checkpoint": AtomicCheckpoint(save_every),
                "logger": {"type": "LoggerHook", "interval": log_every},
            },
            custom_hooks=[
                {"type": "EMAHook", "ema_type": "ExpMomentumEMA", "momentum": 0.002, "gamma": 500, "priority": 49}
            ],
            log_processor={"by_epoch": False, "window_size": log_every},
            visualizer={
                "type": "Visualizer",
                "vis_backends": [{"type": "TensorboardVisBackend"}, {"type": "LocalVisBackend"}],
            },
            randomness={"seed": options.seed},
            default_scope="mmdet",
            experiment_name=out.name,
        )
        runner.model.to(memory_format=torch.channels_last)
        if last is not None:
            runner._load_from, runner._resume = str(last), True
        with _quiet_initialisation():
            runner.train()
    final = last_checkpoint(out)
    assert final is not None
    return {k: v for k, v in _checkpoint_state(final).items() if not k.startswith("data_preprocessor.")}


def export_detector(
    state: dict[str, Tensor], path: Path, options: DetectorTraining, config: str = CONFIG, **more: Any
) -> None:
    """Write trained weights as safetensors, after a check that they fit the config."""
    load_into(build_model(config), state, "the detector of shapes")
    save_safetensors(path, state, {"config": config, "training": {**asdict(options), **more}})


def build_model(name: str) -> torch.nn.Module:
    """An untrained detector of one of the configs of `shapes`."""
    openmmlab.setup()
    from mmdet.registry import MODELS

    from ltrp_bench.tasks.models.detectors import kept_channel  # noqa: F401, registers the parts of plain ViTs for configs

    with openmmlab.scope():
        model: torch.nn.Module = MODELS.build(detector_config(name).model)
    return model


def detector_config(name: str) -> Any:
    """The mmengine config of a detector of `shapes`."""
    return openmmlab.load_config(SHAPES_CONFIG.with_name(f"{name}.py"))


def _checkpoint_state(path: Path) -> dict[str, Tensor]:
    with openmmlab.plain_checkpoints():
        return load_state(path)


def _collate(samples: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {key: [sample[key] for sample in samples] for key in samples[0]}


def _optim_wrapper(options: DetectorTraining) -> dict[str, Any]:
    if options.amp not in ("none", "bfloat16"):
        raise UsageError(f"amp must be 'none' or 'bfloat16', got {options.amp!r}")
    _register_bfloat16()
    return {
        "type": "OptimWrapper" if options.amp == "none" else "BFloat16OptimWrapper",
        "optimizer": {"type": "AdamW", "lr": options.lr, "weight_decay": 0.05},
        "paramwise_cfg": {"norm_decay_mult": 0.0, "bias_decay_mult": 0.0, "bypass_duplicate": True},
        "clip_grad": {"max_norm": 35},
    }


def _register_bfloat16() -> None:
    """mmengine's own mixed precision asserts a GPU; bfloat16 needs no loss scale, so this is all of it."""
    from mmengine.optim import OptimWrapper
    from mmengine.registry import OPTIM_WRAPPERS

    if "BFloat16OptimWrapper" in OPTIM_WRAPPERS:
        return

    class BFloat16OptimWrapper(OptimWrapper):
        @contextmanager
        def optim_context(self, model: torch.nn.Module) -> Any:
            kind = next(model.parameters()).device.type
            with super().optim_context(model), torch.autocast(kind, torch.bfloat16):
                yield

    OPTIM_WRAPPERS.register_module(module=BFloat16OptimWrapper)


@contextmanager
def _quiet_initialisation() -> Any:
    """init_weights() logs a line a parameter: only warnings pass until the first iteration's line."""
    logger = logging.getLogger("mmengine")
    logger.addFilter(lambda record: "The value is the same before and after calling" not in record.getMessage())
    started = time.time()
    yield
    logging.getLogger(__name__).info("trained in %.0f s", time.time() - started)

"""Overhead of the harness: a whole run compared with a bare loop of selector and model on the same images.

    python benchmarks/run_overhead.py [--task shapes-cls] [--selector ltrp] [--images 128] [--repeats 7]
        [--model TIMM_NAME] [--model-weights FILE] [--data DIR] [--device cpu] [--threads 1] [--clock cpu]

The variants are timed in turns; ratios are medians over turns:

* "run, 1 ratio": `run_sweep` with one keep ratio into an empty folder: loads images, scores, ranks, runs the model,
  writes rows, computes metrics, writes the record. Imports, weights and other set-up are not included.
* "bare, 1 ratio": loads, scores, selects and runs the model image by image; outputs stay in a list. No rows, files or
  metrics.
* "run, 5 ratios" and "bare, 5 ratios": with five keep ratios; each image is loaded and scored once.
* "in memory": the bare loop on images that were loaded before, which shows the share of loading.

The targets are run <= 1.1 x bare at one ratio and <= 1.05 x bare at five. The loop uses the run's batch size (1 on a
CPU). Run and loop must find the same outputs, else the benchmark stops.

On a busy machine use processor time (--threads 1 --clock cpu) instead of wall time. It also counts the run's loading
threads, which by wall time may hide behind the model.

Measured with ltrp, one thread of a busy CPU server, processor time, batch size 1; run / bare loop:

    task                                  images, turns   1 ratio   5 ratios
    shapes-cls, random weights         128, 7              0.997      1.035
    shapes-cls, own model, evidence    128, 3              1.020      1.001
    shapes-multilabel, random weights  128, 7              1.004      1.026
    imagenet-cls, ViT-Tiny 224/16       48, 5              1.032      1.013
    shapes-det, shipped detector        64, 5              1.211      1.230
    shapes-det, with evidence           64, 5              1.151      1.272
    coco-det, RTMDet-tiny (random)      24, 3              1.014      0.985

shapes-det misses both targets: its detector takes 14 ms per image and ratio, and beside it COCO's metrics of boxes and
masks take 1.8 ms, checksums of up to 100 rows 1 ms, run-length encoding of masks 0.5 ms, Parquet and the check of the
rows' types the rest.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import Clock, processor, time_in_turns
from torch import Tensor

from ltrp_bench.harness.evaluation.environment import provenance
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import plan, selector_entry, task_entry
from ltrp_bench.harness.evaluation.sweep import run_sweep
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.normalization import normalize
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.selectors.topk import count_kept, resample_scores
from ltrp_bench.tasks.base import Keep, Sample
from ltrp_bench.tasks.detection import DetectionTask
from ltrp_bench.tasks.metrics.multilabel import unpack
from ltrp_bench.tasks.models.vit.loading import PlainViT
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept
from ltrp_bench.tasks.multilabel import MultiLabelTask
from ltrp_bench.tasks.registry import create_task, option_names
from ltrp_bench.tasks.timm_task import TimmTask

ONE, FIVE = (0.5,), (0.1, 0.25, 0.5, 0.75, 1.0)
TARGETS = {"1 ratio": 1.1, "5 ratios": 1.05}


class Quiet:
    """A `Progress` that shows nothing."""

    def start(self, images: Mapping[str, int]) -> None: ...

    def current(self, label: str) -> None: ...

    def advance(self, key: str, images: int, seconds: float | None) -> None: ...

    def notice(self, line: str) -> None:
        raise RuntimeError(line)


class Bare:
    """The loop that one would write for one selector and one model.

    Args:
        task: task with the images and the model.
        selector: selector, already on its device.
        device: device of selector and model.
        batch: images per batch; all have one grid.
    """

    def __init__(self, task: TimmTask | DetectionTask, selector: Selector, device: str, batch: int) -> None:
        self.task, self.selector, self.device, self.batch = task, selector, device, batch
        self.memory: list[Sample] | None = None

    @torch.inference_mode()
    def __call__(self, ratios: Sequence[float], in_memory: bool = False) -> list[list[Any]]:
        """Outputs of each image at each keep ratio."""
        if in_memory and self.memory is None:
            self.memory = [self.task.load(i) for i in range(len(self.task))]
        out: list[list[Any]] = [[] for _ in ratios]
        for first in range(0, len(self.task), self.batch):
            places = range(first, min(first + self.batch, len(self.task)))
            samples = [self.memory[i] if in_memory and self.memory else self.task.load(i) for i in places]
            grid = self.task.grid(samples[0])
            scores = resample_scores(self.scores(samples, grid), grid).flatten(1)
            for outputs, ratio in zip(out, ratios, strict=True):
                indices = scores.topk(count_kept(ratio, scores.shape[1])).indices.sort(1).values
                outputs += self.model(samples, indices, grid)
        return out

    def scores(self, samples: Sequence[Sample], grid: tuple[int, int]) -> Tensor:
        """[B, h, w] scores on the selector's grid."""
        side = self.selector.patch_size
        size = self.selector.input_size or (grid[0] * side, grid[1] * side)
        pixels = torch.from_numpy(np.stack([s.image for s in samples])).to(self.device).permute(0, 3, 1, 2) / 255
        if tuple(pixels.shape[2:]) != tuple(size):
            pixels = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", antialias=True).clamp(0, 1)
        context = BatchContext(tuple(s.image_id for s in samples), 0, None, grid)
        return self.selector.scores(normalize(pixels, self.selector.mean, self.selector.std), context=context)

    def model(self, samples: Sequence[Sample], indices: Tensor, grid: tuple[int, int]) -> list[Any]:
        """Logits or detections of each image."""
        if isinstance(self.task, DetectionTask):
            masks = np.zeros((len(samples), grid[0] * grid[1]), bool)
            np.put_along_axis(masks, indices.cpu().numpy(), True, 1)
            runner = self.task.runner
            inputs = [
                runner.reduce(s.annotations.prepared, Keep(mask.reshape(grid)))
                for s, mask in zip(samples, masks, strict=True)
            ]
            model: Any = runner.detector.model
            return list(model.test_step({key: [item[key] for item in inputs] for key in inputs[0]}))
        vit = self.task.model
        assert isinstance(vit, PlainViT), "a plain ViT that drops patches is needed"
        return list(forward_kept(vit.vit, vit.inputs.normalize([s.image for s in samples], self.device), indices))


def same_outputs(task: Any, rows: Sequence[dict[str, Any]], bare: Any) -> bool:
    """True if the run's rows of an image agree with the loop's output."""
    if isinstance(task, DetectionTask):
        best = bare.pred_instances.scores.float().cpu().numpy()
        return not rows or abs(rows[0]["score"] - float(best.max())) < 1e-4
    if isinstance(task, MultiLabelTask):
        return bool(np.allclose(unpack(rows[0])[0], bare.sigmoid().float().cpu().numpy(), atol=1e-4))
    return bool(rows[0]["predicted"] == int(bare.argmax()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", default="shapes-cls", help="a classification, multi-label or detection task")
    parser.add_argument("--selector", default="ltrp")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=7, help="number of turns")
    parser.add_argument("--model", help="timm name or config of a detector; by default the task's own model")
    parser.add_argument("--model-weights", type=Path, help="checkpoint of the model; by default random weights")
    parser.add_argument("--data", type=Path, help="folder of the data set, for tasks that read files")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=16, help="images per batch on a GPU; 1 on a CPU")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 for torch's default")
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="wall or processor time")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    if options.clock == "cpu" and device.type != "cpu":
        parser.error("--clock cpu does not measure a GPU: use --clock wall")

    known = option_names(options.task)
    given = {"model": options.model, "model_weights": options.model_weights, "data": options.data}
    given |= {"device": options.device, "limit": options.images}
    given["random_weights"] = None if options.model_weights else 0
    task = create_task(options.task, **{key: x for key, x in given.items() if x is not None and key in known})
    assert isinstance(task, TimmTask | DetectionTask)
    selector = create_selector(options.selector, domain=task.domain)
    selector.to(device)
    settings = SweepOptions(batch_size=options.batch, device=options.device)
    loop = Bare(task, selector, options.device, settings.effective_batch_size)
    pair = [(selector_entry(selector, options.selector, {"name": options.selector}), task_entry(task))]
    folder = Path(tempfile.mkdtemp())

    def run(ratios: Sequence[float]) -> list[Any]:
        shutil.rmtree(folder)
        groups = plan(pair, ratios, [0], Quiet().notice)
        return run_sweep(groups, RunStore(folder), settings, Quiet(), provenance(options.device))

    variants: dict[str, Callable[[], Any]] = {}
    for name, ratios in (("1 ratio", ONE), ("5 ratios", FIVE)):
        variants[f"run, {name}"] = lambda ratios=ratios: run(ratios)
        variants[f"bare, {name}"] = lambda ratios=ratios: loop(ratios)
        variants[f"in memory, {name}"] = lambda ratios=ratios: loop(ratios, in_memory=True)
        records, outputs = run(ratios), loop(ratios)
        for record, bare in zip(records, outputs, strict=True):
            rows = RunStore(folder).read_images(record.fingerprint).values()
            agree = [same_outputs(task, *pair) for pair in zip(rows, bare, strict=True)]
            assert all(agree), f"run and loop differ at keep ratio {record.keep_ratio}"
    seconds = time_in_turns(variants, options.repeats, Clock(options.clock, device))
    shutil.rmtree(folder)

    print(
        f"{options.selector} on {options.task} ({options.model or 'its own model'}), {len(task)} images, "
        f"batch size {settings.effective_batch_size}, {processor(device)}, "
        f"{torch.get_num_threads()} threads, {options.clock} time, {options.repeats} turns, torch {torch.__version__}"
    )
    print(f"{'':22}{'ms per image':>13}{'x bare':>9}{'target':>8}{'x in memory':>13}")
    for name, own in seconds.items():
        kind, _, ratio = name.partition(", ")
        cost = f"{name:22}{1000 * statistics.median(own) / len(task):>13.2f}"
        if kind == "run":
            bare, memory = (median_ratio(own, seconds[f"{base}, {ratio}"]) for base in ("bare", "in memory"))
            cost += f"{bare:>9.3f}{TARGETS[ratio]:>8.2f}{memory:>13.3f}"
        print(cost)


def median_ratio(seconds: Sequence[float], baseline: Sequence[float]) -> float:
    """Median over turns of a variant's time divided by the baseline's of the same turn."""
    return statistics.median(one / other for one, other in zip(seconds, baseline, strict=True))


if __name__ == "__main__":
    main()

"""Cost of a paired bootstrap of box AP at the size of val2017, compared with running the evaluator for each resample.

    python benchmarks/bootstrap_ap.py [--images 5000] [--resamples 1000] [--evaluator-resamples 2]

The data set is synthetic: 80 categories as imbalanced as COCO's, about 36,000 objects and 140,000 detections on 5,000
images. No two objects overlap, so the IoU of each detection with each object is known without an evaluator; `World`
makes both the evaluator's input and the resampling summary.

The benchmark checks that the summary with unit weights gives the evaluator's AP, times the resamples of AP of all, seen
and unseen categories, and times the evaluator on a few resamples (each image repeated as often as it was drawn), from
which the evaluator's time for all resamples is extrapolated. The targets are <= 60 s on two cores and <= 2 GB.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import dataclass, replace
from operator import truediv
from typing import Any

import numpy as np

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.statistics.bootstrap import Draws, ratio
from ltrp_bench.results.statistics.replicates import estimates
from ltrp_bench.results.summaries.registry import parse_summary
from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation
from ltrp_bench.tasks.metrics.coco import CocoEvaluation, evaluate
from ltrp_bench.tasks.metrics.detection_matches import AREAS, THRESHOLDS
from ltrp_bench.tasks.metrics.detection_matches import CURVES as METRIC_CURVES

CURVES = {f"bbox_{metric}": curve for metric, curve in METRIC_CURVES.items()}
PLACE_W, PLACE_H, ACROSS, DOWN = 160, 120, 4, 4


@dataclass(frozen=True)
class World:
    """Objects [G] and detections [D] of a synthetic data set; boxes [_, 4] are x, y, w, h."""

    images: int
    categories: int
    object_image: np.ndarray
    object_category: np.ndarray
    object_box: np.ndarray
    image: np.ndarray
    category: np.ndarray
    box: np.ndarray
    score: np.ndarray
    of: np.ndarray
    """Index of the object that a detection overlaps; -1 if there is none of its category."""

    def names(self) -> list[str]:
        return [f"c{k:03d}" for k in range(self.categories)]

    def groups(self) -> dict[str, list[str]]:
        names = self.names()
        return {"all": names, "seen": names[::2], "unseen": names[1::2]}

    def summary(self, metrics: tuple[str, ...] = tuple(CURVES)) -> dict[str, Any]:
        """Resampling summary in its stored form, made without an evaluator."""
        areas = list(dict.fromkeys(CURVES[m][0] for m in metrics))
        meta = {
            "kind": "detections",
            "images": image_ids(self.images),
            "categories": self.names(),
            "groups": self.groups(),
            "metrics": list(metrics),
            "tables": [{"name": f"bbox_{a}", "ranks": f"bbox_{a}", "rule": "coco", "thresholds": 10} for a in areas],
            "curves": {m: [f"bbox_{CURVES[m][0]}", CURVES[m][1]] for m in metrics},
        }
        arrays: dict[str, Any] = {"meta": meta}
        for area in areas:
            arrays |= {f"bbox_{area}/{name}": array for name, array in self._table(*AREAS[area]).items()}
        return arrays

    def _table(self, least: float, most: float) -> dict[str, np.ndarray]:
        order = np.lexsort((-self.score, self.category))
        of, box = self.of[order], self.box[order]
        overlap = np.where(of >= 0, _overlap(box, self.object_box[of]), 0.0)
        area = self.object_box[:, 2] * self.object_box[:, 3]
        outside = (area < least) | (area > most)
        own = box[:, 2] * box[:, 3]
        beyond = (own < least) | (own > most)
        matched, ignored = (np.zeros(len(of), np.uint16) for _ in range(2))
        for t, threshold in enumerate(THRESHOLDS):
            near = np.flatnonzero(overlap >= threshold)
            _, first = np.unique(of[near], return_index=True)  # best first within a category, and so of an object
            found = np.zeros(len(of), bool)
            found[near[first]] = True
            away = found & outside[of]
            matched |= (found & ~away).astype(np.uint16) << t
            ignored |= (away | (~found & beyond)).astype(np.uint16) << t
        key = self.object_image[~outside] * self.categories + self.object_category[~outside]
        pairs, count = np.unique(key, return_counts=True)
        return {
            "image": self.image[order].astype(np.int32),
            "category": self.category[order].astype(np.int32),
            "matched": matched,
            "ignored": ignored,
            "truth_image": (pairs // self.categories).astype(np.int32),
            "truth_category": (pairs % self.categories).astype(np.int32),
            "truth_count": count.astype(np.int32),
        }

    def evaluator_input(self) -> tuple[list[ImageAnnotations], dict[str, list[dict[str, Any]]]]:
        names, ids = self.names(), image_ids(self.images)
        objects: list[list[ObjectAnnotation]] = [[] for _ in ids]
        found: dict[str, list[dict[str, Any]]] = {i: [] for i in ids}
        for i, c, (x, y, w, h) in zip(self.object_image, self.object_category, self.object_box.tolist(), strict=True):
            objects[i].append(ObjectAnnotation(names[c], (x, y, w, h), w * h))
        rows = zip(self.image, self.category, self.score.tolist(), self.box.tolist(), strict=True)
        for i, c, score, (x, y, w, h) in rows:
            found[ids[i]].append({"category": names[c], "score": score, "x": x, "y": y, "w": w, "h": h})
        size = DOWN * PLACE_H, ACROSS * PLACE_W
        return [ImageAnnotations(i, *size, o) for i, o in zip(ids, objects, strict=True)], found


def image_ids(count: int) -> list[str]:
    return [f"{i:012d}" for i in range(count)]


def world(
    rng: np.random.Generator, images: int, categories: int = 80, objects: float = 7.2, wrong: float = 20.4
) -> World:
    """A random data set.

    The detector's skill varies between images, and objects of an image tend to share a category: images are independent
    of each other, objects are not.

    Args:
        rng: source of randomness.
        images: number of images.
        categories: number of categories.
        objects: mean number of objects per image.
        wrong: mean number of false detections per image.
    """
    frequency = 1 / (np.arange(categories) + 1.5) ** 0.9
    frequency = rng.permutation(frequency / frequency.sum()) if categories > 1 else np.ones(1)
    return sample(rng, images, frequency, objects, wrong)


def sample(rng: np.random.Generator, images: int, frequency: np.ndarray, objects: float, wrong: float) -> World:
    """Sample images with categories of given frequencies; other arguments as in `world`."""
    places, categories = ACROSS * DOWN, len(frequency)
    object_image, place = np.nonzero(rng.random((images, places)) < objects / places)
    main = rng.choice(categories, images, p=frequency)
    category = np.where(
        rng.random(len(place)) < 0.4, main[object_image], rng.choice(categories, len(place), p=frequency)
    )
    side = np.exp(rng.uniform(np.log(12), np.log(112), (len(place), 2))) * [1.25, 1.0]
    corner = np.stack([place % ACROSS * PLACE_W, place // ACROSS * PLACE_H], 1) + 2.0
    truth = np.concatenate([corner, side], 1)

    ease = rng.normal(0, 0.7, images)
    tries = rng.random((2, len(place))) < [[0.85], [0.25]]
    of = np.concatenate([np.flatnonzero(t) for t in tries])
    skill = ease[object_image[of]] + rng.normal(0, 1, len(of))
    shift = side[of] * rng.uniform(0, 0.45, (len(of), 2)) / (1 + np.exp(1.2 * skill))[:, None]
    right_box = np.concatenate([corner[of] + shift, side[of]], 1)
    count = rng.poisson(wrong, images)
    wrong_image = np.repeat(np.arange(images), count)
    wrong_place = rng.integers(0, places, len(wrong_image))
    wrong_category = rng.choice(categories, len(wrong_image), p=frequency)
    taken = np.full((images, places), -1)
    taken[object_image, place] = category
    keep = taken[wrong_image, wrong_place] != wrong_category
    wrong_image, wrong_place, wrong_category = wrong_image[keep], wrong_place[keep], wrong_category[keep]
    wrong_side = np.exp(rng.uniform(np.log(12), np.log(112), (len(wrong_image), 2))) * [1.25, 1.0]
    wrong_corner = np.stack([wrong_place % ACROSS * PLACE_W, wrong_place // ACROSS * PLACE_H], 1) + 2.0
    score = np.concatenate([skill + 0.8, rng.normal(-1.2, 1.0, len(wrong_image))])
    return World(
        images=images,
        categories=categories,
        object_image=object_image,
        object_category=category,
        object_box=truth,
        image=np.concatenate([object_image[of], wrong_image]),
        category=np.concatenate([category[of], wrong_category]),
        box=np.concatenate([right_box, np.concatenate([wrong_corner, wrong_side], 1)]),
        score=1 / (1 + np.exp(-score)),
        of=np.concatenate([of, np.full(len(wrong_image), -1)]),
    )


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    far = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    both = np.maximum(far, 0).prod(1)
    return both / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - both)


def drawn_again(
    images: list[ImageAnnotations], found: dict[str, list[dict[str, Any]]], weights: np.ndarray
) -> tuple[list[ImageAnnotations], dict[str, list[dict[str, Any]]]]:
    """The evaluator's input for a resample: each image as often as it was drawn, with a unique name per copy."""
    again, rows = [], {}
    for image, weight in zip(images, weights.tolist(), strict=True):
        for copy in range(weight):
            name = f"{image.image_id}/{copy}"
            again.append(ImageAnnotations(name, image.height, image.width, image.objects))
            rows[name] = found[image.image_id]
    return again, rows


def evaluator_value(run: CocoEvaluation, metric: str, group: list[str]) -> float:
    return run.metric(metric.removeprefix("bbox_"), group)


def measure(images: int, resamples: int, evaluator_resamples: int) -> None:
    made = world(np.random.default_rng(0), images)
    sizes = f"{len(made.of):,} detections, {len(made.object_box):,} objects"
    print(f"{images:,} images, {made.categories} categories, {sizes}")
    weights = np.random.default_rng(1).multinomial(images, np.full(images, 1 / images), resamples).astype(np.uint8)
    pairs = [("bbox_AP", group) for group in GROUPS]
    started = time.perf_counter()
    summary = parse_summary(made.summary(("bbox_AP",)), "the benchmark's summary")
    ready = time.perf_counter()
    values = summary.all_values(pairs, weights)
    seconds = time.perf_counter() - ready
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"summary made and parsed in {ready - started:.1f} s; {resamples:,} resamples of bbox_AP in {seconds:.1f} s")
    print(f"peak memory {peak:.2f} GB")
    for group in GROUPS:
        low, high = np.percentile(values["bbox_AP", group], [2.5, 97.5])
        print(f"  {group:7s} {summary.measured('bbox_AP', group):.4f}  [{low:.4f}, {high:.4f}]")

    truth, found = made.evaluator_input()
    run = evaluate(truth, found, made.names())
    off = max(abs(summary.measured("bbox_AP", g) - evaluator_value(run, "bbox_AP", made.groups()[g])) for g in GROUPS)
    print(f"largest difference from the evaluator with unit weights {off:.1e}")
    spent, off = 0.0, 0.0
    for b in range(evaluator_resamples):
        given = drawn_again(truth, found, weights[b])
        begun = time.perf_counter()
        run = evaluate(*given, made.names())
        spent += time.perf_counter() - begun
        off = max(
            off, *(abs(values["bbox_AP", g][b] - evaluator_value(run, "bbox_AP", made.groups()[g])) for g in GROUPS)
        )
    each = spent / evaluator_resamples
    print(f"evaluator: {each:.2f} s per resample (mean of {evaluator_resamples}), difference on these {off:.1e}")
    times = each * resamples / seconds
    print(f"  {resamples:,} resamples would take {each * resamples / 60:.0f} min: {times:.0f} times as long")


def coverage(worlds: int, images: int, resamples: int) -> None:
    """Print how often the 95 % intervals of box AP and of what is computed from it cover the true value.

    The true value is that of a very large data set from the same distribution. The difference is between two selectors,
    of which the second misses a fifth of the objects that the first one finds. Retention and the gap from the whole
    image are those of the second, with the first in the place of the whole image.

    Args:
        worlds: number of data sets.
        images: images per data set.
        resamples: resamples per interval.
    """
    frequency = np.full(4, 0.25)
    large = sample(np.random.default_rng(99), 40_000, frequency, 4.0, 6.0)
    truth = _estimates_of(large, None)
    inside: dict[str, int] = dict.fromkeys(truth, 0)
    print(f"true values, from {large.images:,} images: " + ", ".join(f"{k} {v:.4f}" for k, v in truth.items()))
    draws = Draws.of(image_ids(images), "coverage", resamples)
    for number in range(worlds):
        found = _estimates_of(sample(np.random.default_rng([7, number]), images, frequency, 4.0, 6.0), draws)
        for name, estimate in found.items():
            low, high = estimate.interval()
            inside[name] += low <= truth[name] <= high
    for name, count in inside.items():
        print(f"  95 % intervals of {name:16s} cover the true value in {count / worlds:.3f} of {worlds} data sets")


def _estimates_of(made: World, draws: Draws | None) -> dict[str, Any]:
    """AP, its gap, and another selector's difference from it and retention: numbers without draws, else estimates."""
    both = [parse_summary(one.summary(("bbox_AP",)), "made") for one in (made, _fewer(made))]
    if draws is None:
        values = [{g: one.measured("bbox_AP", g) for g in GROUPS} for one in both]
    else:
        values = [estimates(one, ["bbox_AP"], draws)["bbox_AP"] for one in both]
    first, second = values
    quotient: Any = truediv if draws is None else ratio
    gap, gap_of_second = (one["seen"] - one["unseen"] for one in values)
    return {
        "AP": first["all"],
        "gap": gap,
        "difference": first["all"] - second["all"],
        "retention": quotient(second["all"], first["all"]),
        "unseen retention": quotient(second["unseen"], first["unseen"]),
        "gap from whole": gap_of_second - gap,
    }


def _fewer(made: World) -> World:
    """The same images with a selector that misses a fifth of the objects."""
    lost = (np.arange(len(made.object_image)) * 7919 + made.object_image) % 5 == 0
    keep = ~((made.of >= 0) & lost[made.of])
    return replace(made, **{n: getattr(made, n)[keep] for n in ("image", "category", "box", "score", "of")})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--evaluator-resamples", type=int, default=2)
    parser.add_argument(
        "--coverage", type=int, default=0, metavar="N", help="check the coverage of intervals on N data sets instead"
    )
    given = parser.parse_args()
    if given.coverage:
        coverage(given.coverage, 300, given.resamples)
        return
    measure(given.images, given.resamples, given.evaluator_resamples)


if __name__ == "__main__":
    main()

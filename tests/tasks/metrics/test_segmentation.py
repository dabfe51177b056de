"""mIoU, mAcc and aAcc: by hand, against mmseg's own metric and scikit-learn's, and of groups by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score

from ltrp_bench.tasks.data.annotations import IGNORE_INDEX
from ltrp_bench.tasks.metrics.segmentation import Confusion, confusion_rows
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab

CLASSES = ("sky", "road", "dog", "cow", "lamp")


def pair(seed: int, shape: tuple[int, int] = (20, 30)) -> tuple[np.ndarray, np.ndarray]:
    """A truth without lamps and with ignored pixels, and a prediction that is right at about half of them."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(IGNORE_INDEX, 4, shape)
    return truth, np.where(rng.random(shape) < 0.5, np.maximum(truth, 0), rng.integers(0, 4, shape))


def added(count: int = 3) -> tuple[Confusion, np.ndarray, np.ndarray]:
    pairs = [pair(seed) for seed in range(count)]
    confusion = Confusion.of([confusion_rows(t, p, CLASSES) for t, p in pairs], CLASSES)
    return confusion, np.concatenate([t.ravel() for t, _ in pairs]), np.concatenate([p.ravel() for _, p in pairs])


def test_four_pixels_by_hand() -> None:
    truth, predicted = np.array([[0, 0], [1, IGNORE_INDEX]]), np.array([[0, 1], [1, 0]])
    rows = confusion_rows(truth, predicted, ("a", "b"))
    assert rows == [
        {"true": "a", "predicted": "a", "pixels": 1},
        {"true": "a", "predicted": "b", "pixels": 1},
        {"true": "b", "predicted": "b", "pixels": 1},
    ]
    confusion = Confusion.of([rows], ("a", "b"))
    assert confusion.matrix.dtype == np.int64
    assert confusion.iou.tolist() == [1 / 2, 1 / 2] and confusion.accuracy.tolist() == [1 / 2, 1]
    assert confusion.mean_iou(("a", "b")) == 1 / 2 and confusion.mean_accuracy(("a", "b")) == 3 / 4
    assert confusion.pixel_accuracy(("a", "b")) == 2 / 3
    assert confusion.share_called(("a",), ("b",)) == 1 / 2 and confusion.pixels(("a",)) == 2


def test_equals_scikit_learn() -> None:
    confusion, truth, predicted = added()
    counted = truth != IGNORE_INDEX
    expected = confusion_matrix(truth[counted], predicted[counted], labels=range(5))
    np.testing.assert_array_equal(confusion.matrix, expected)
    iou = jaccard_score(truth[counted], predicted[counted], labels=range(4), average=None)
    np.testing.assert_allclose(confusion.iou[:4], iou, rtol=1e-12)
    assert math.isnan(confusion.iou[4]) and math.isnan(confusion.accuracy[4])


def test_equals_mmseg_over_all_classes() -> None:
    openmmlab.setup("mmseg")
    from mmseg.evaluation.metrics import IoUMetric

    metric = IoUMetric(iou_metrics=["mIoU"])
    metric.dataset_meta = {"classes": CLASSES}
    for seed in range(3):
        truth, predicted = (torch.from_numpy(part) for part in pair(seed))
        truth = torch.where(truth == IGNORE_INDEX, 255, truth)
        sample = {"pred_sem_seg": {"data": predicted[None]}, "gt_sem_seg": {"data": truth[None]}}
        metric.process({}, [sample])
    theirs = metric.compute_metrics(metric.results)
    ours = added()[0]
    assert theirs["mIoU"] == pytest.approx(100 * ours.mean_iou(CLASSES), abs=0.006)  # they round to two digits
    assert theirs["mAcc"] == pytest.approx(100 * ours.mean_accuracy(CLASSES), abs=0.006)
    assert theirs["aAcc"] == pytest.approx(100 * ours.pixel_accuracy(CLASSES), abs=0.006)


def test_groups_equal_a_count_of_pixels() -> None:
    confusion, truth, predicted = added()
    seen, unseen = ("sky", "dog"), ("road", "cow", "lamp")
    for group in (seen, unseen):
        ious, right = [], 0
        for k in (CLASSES.index(name) for name in group):
            here, called = truth == k, (predicted == k) & (truth != IGNORE_INDEX)
            right += int((here & called).sum())
            if (here | called).any():
                ious.append((here & called).sum() / (here | called).sum())
        among = np.isin(truth, [CLASSES.index(name) for name in group])
        assert confusion.mean_iou(group) == pytest.approx(np.mean(ious), rel=1e-12)
        assert confusion.pixel_accuracy(group) == pytest.approx(right / among.sum(), rel=1e-12)
    among = np.isin(truth, [1, 3, 4])
    assert confusion.share_called(unseen, seen) == pytest.approx(np.isin(predicted[among], [0, 2]).mean(), rel=1e-12)


def test_pixels_given_to_the_other_group_lower_a_groups_iou() -> None:
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    confusion = Confusion.of([confusion_rows(truth, predicted, ("a", "b"))], ("a", "b"))
    assert confusion.mean_iou(("b",)) == pytest.approx(2 / 3)  # ignoring class a's pixels would say 1


def test_absent_classes_are_undefined() -> None:
    empty = Confusion.of([], CLASSES)
    assert math.isnan(empty.mean_iou(CLASSES)) and math.isnan(empty.pixel_accuracy(CLASSES))
    assert math.isnan(empty.share_called(("sky",), ("dog",))) and empty.pixels(CLASSES) == 0


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [([0, 1], [0], "class map"), ([5], [0], "beyond"), ([0], [5], "beyond"), ([0], [-1], "beyond")],
)
def test_malformed_class_maps_are_refused(truth: list[int], predicted: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_rows(np.array(truth), np.array(predicted), CLASSES)

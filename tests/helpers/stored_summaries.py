"""Small resampling summaries of every kind, in their stored form."""

from __future__ import annotations

from typing import Any

import numpy as np

GROUPS = {"all": ["a", "b"], "seen": ["a"], "unseen": ["b"]}


def means() -> dict[str, Any]:
    meta = {"kind": "means", "images": ["1", "2"], "categories": ["a", "b"], "groups": GROUPS, "metrics": ["m", "n"]}
    return {
        "meta": meta,
        "image": np.array([0, 0, 1, 1], np.int32),
        "category": np.array([0, 1, 0, -1], np.int32),
        "values": np.array([[1.0, 0.0, 0.25, 9.0], [np.nan, 0.5, np.nan, 9.0]]),
    }


def ranking() -> dict[str, Any]:
    meta = {
        "kind": "ranking",
        "images": ["1", "2", "3"],
        "categories": ["a", "b"],
        "groups": GROUPS,
        "metrics": ["mAP"],
    }
    return {
        "meta": meta,
        "scores": np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]),
        "labels": np.array([[1, 0], [0, -1], [1, 0]], np.int8),
        "sizes": np.zeros((3, 2), np.uint8),
    }


def confusion() -> dict[str, Any]:
    metrics = ["mIoU", "mAcc", "aAcc", "unseen_called_seen"]
    meta = {"kind": "confusion", "images": ["1", "2"], "categories": ["a", "b"], "groups": GROUPS, "metrics": metrics}
    return {
        "meta": meta,
        "image": np.array([0, 0, 1], np.int32),
        "true": np.array([0, 1, 1], np.int32),
        "predicted": np.array([0, 0, 1], np.int32),
        "pixels": np.array([6, 2, 3], np.int64),
    }


def detections(**changed: Any) -> dict[str, Any]:
    table = {"name": "t", "ranks": "t", "rule": "coco", "thresholds": 2, **changed}
    meta = {
        "kind": "detections",
        "images": ["1", "2"],
        "categories": ["a", "b"],
        "groups": GROUPS,
        "metrics": ["AP"],
        "tables": [table],
        "curves": {"AP": ["t", None]},
    }
    return {
        "meta": meta,
        "t/image": np.array([0, 1, 0], np.int32),
        "t/category": np.array([0, 0, 1], np.int32),
        "t/matched": np.array([3, 0, 1], np.uint16),
        "t/ignored": np.array([0, 0, 2], np.uint16),
        "t/truth_image": np.array([0, 0], np.int32),
        "t/truth_category": np.array([0, 1], np.int32),
        "t/truth_count": np.array([1, 1], np.int32),
    }

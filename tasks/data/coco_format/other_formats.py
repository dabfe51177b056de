"""Names of JSON formats that are often taken for COCO's annotations of objects, for error messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LISTS = ("images", "annotations", "categories")


def what_is_wrong(content: Any) -> str | None:
    """Why a JSON file holds no objects in COCO's format, and what to do about it; None if it may."""
    if isinstance(content, list):
        return _of_list(next((entry for entry in content if isinstance(entry, Mapping)), {}))
    if not isinstance(content, Mapping):
        return "it holds a single value"
    annotations = content.get("annotations")
    first = annotations[0] if isinstance(annotations, list) and annotations else {}
    if isinstance(first, Mapping) and "bbox" not in first and "segmentation" not in first:
        if "caption" in first:
            return "it holds captions"
        if "segments_info" in first:
            return "it holds panoptic segments: convert them, or use masks with a class list (stuff-coverage)"
    wrong = next((key for key in _LISTS if not isinstance(content.get(key), list)), None)
    if wrong is None:
        return None
    if "shapes" in content and "imagePath" in content:
        return "it is labelme's file of one image: convert its folder with labelme2coco"
    if "_via_img_metadata" in content or any(
        isinstance(entry, Mapping) and "regions" in entry for entry in content.values()
    ):
        return "it is of VGG's Image Annotator: export COCO's format there"
    return f"{wrong!r} is no list" if wrong in content else f"no list {wrong!r}"


def _of_list(entry: Mapping[str, Any]) -> str:
    if "image_id" in entry and "score" in entry:
        return "it holds a model's detections, not annotations"
    if "annotations" in entry and "data" in entry:
        return "it is Label Studio's own JSON: export COCO's format there"
    if "image" in entry and "annotations" in entry:
        return "it is of CreateML's format: convert it to COCO's"
    return "it is a list; COCO's is an object with the lists 'images', 'annotations' and 'categories'"

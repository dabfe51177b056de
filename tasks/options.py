"""Options of the built-in tasks: where the images come from, and what each family of tasks can be given.

The field names are the names of the options on the command line; `catalog` sets defaults that differ between tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.base import ReductionMode
from ltrp_bench.tasks.data.base import Limit, RandomLimit
from ltrp_bench.tasks.data.files.orientation import Exif
from ltrp_bench.tasks.data.shapes.world import WORLD_SEEDS
from ltrp_bench.tasks.metrics.voc import Rule
from ltrp_bench.tasks.splits.split import NarrowAs


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which images of a data set to use."""

    limit: int | None = None
    """Use at most this many images, the first ones."""
    limit_seed: int | None = None
    """Draw the images of the limit at random with this seed: the same ones for all tasks on the data."""

    @property
    def images_in_use(self) -> Limit:
        """Limit of the images. Raises UsageError for a seed without a limit."""
        if self.limit_seed is None:
            return self.limit
        if self.limit is None:
            raise UsageError("limit_seed draws some of the images: give limit as well, their number")
        return RandomLimit(self.limit, self.limit_seed)


@dataclass(frozen=True, kw_only=True)
class ShapesData(DataOptions):
    """Images of `shapes`."""

    images: int = 1000
    """Number of images."""
    seed: int = WORLD_SEEDS["test"]
    """Seed of the images; training uses other seeds."""
    fold: Literal[0, 1] = 0
    """Which half of the categories is seen."""


@dataclass(frozen=True, kw_only=True)
class FolderData(DataOptions):
    """Images of a data set on disk."""

    data: str | Path | None = None
    """Folder of the data set."""
    subset: str
    """Which subset of the data set to use."""
    exif: Exif = "auto"
    """Whether to apply an EXIF orientation that annotated sizes do not decide; auto: as other images show, or not."""
    strict: bool = False
    """Refuse files that would be left out or changed, instead of counting them."""


@dataclass(frozen=True, kw_only=True)
class AnnotatedData(FolderData):
    """Images of a data set with objects in COCO's format or VOC's."""

    annotations: str | Path | None = None
    """JSON file of the annotations, or folder of VOC's XML files, where they are not found by their names."""
    images: str | Path | None = None
    """Folder of the images, where it is not found by its name."""


@dataclass(frozen=True, kw_only=True)
class VocData(AnnotatedData):
    """Images of a data set with objects in VOC's format."""

    zero_based: bool = False
    """Corners of boxes are edges of pixels counted from 0, as some exporters write them, not pixels from 1."""


@dataclass(frozen=True, kw_only=True)
class MaskData(FolderData):
    """Images of a data set with class masks."""

    images: str | Path | None = None
    """Folder of the images, where it is not found by its name."""
    masks: str | Path | None = None
    """Folder of the masks, where it is not found by its name."""


@dataclass(frozen=True, kw_only=True)
class NumberedData(MaskData):
    """Images with masks whose classes are usually numbered from 1, but in some copies from 0."""

    zero_based: bool | None = None
    """True if the classes are numbered from 0, False if from 1; by default the masks decide."""


@dataclass(frozen=True, kw_only=True)
class ImageNetData(FolderData):
    """Images of ImageNet-1K, or of a folder of class folders."""

    labels: str | Path | None = None
    """File that maps the images of a flat folder to classes, see `find_labelled`."""
    classes: str | Path | None = None
    """File that lists class folders of your own in the order of the model's outputs, one per line."""


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Options of every family."""

    split: str | Path | None = None
    """Name or CSV of the split into seen and unseen categories."""
    narrow_as: NarrowAs = "seen"
    """Group of the categories that the label set contains only in part or through one kind."""


@dataclass(frozen=True, kw_only=True)
class CoverageOptions(TaskOptions):
    """Options of coverage tasks."""

    grid: int | Sequence[int] = 14
    """Patches along each side, one number or (gh, gw), for the whole image."""
    corloc: bool = False
    """Measure as well whether the box around the largest connected group of kept patches finds an object."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions(TaskOptions):
    """Options of tasks that run a model."""

    model_weights: str | Path | None = None
    """Checkpoint of the model."""
    random_weights: int | None = None
    """Seed of an untrained model, for trial runs."""
    device: str = "cpu"
    """Torch device that the model runs on; does not change results."""
    ema: bool | None = None
    """Of a checkpoint with a model and its moving average: true takes the average, false the model."""


@dataclass(frozen=True, kw_only=True)
class TimmOptions(ModelOptions):
    """Options of tasks that run a timm model or a plain ViT: what its file may not say."""

    mean: Sequence[float] | None = None
    """Mean of the images' channels in [0, 1] that the model expects; default: that of the checkpoint."""
    std: Sequence[float] | None = None
    """Standard deviation of the channels that the model expects; default: that of the checkpoint."""


@dataclass(frozen=True, kw_only=True)
class ClassificationOptions(TimmOptions):
    """Options of single-label classification by a timm model."""

    model: str | None = None
    """timm name of the model; needed if the checkpoint does not contain it."""
    reduction: ReductionMode | None = None
    """Default: drop for plain ViTs, fill for other models, which cannot drop patches."""
    patch: int | None = None
    """Patch size in pixels, for models that do not use patches themselves; default 16."""
    image_size: int | Sequence[int] | None = None
    """Input size of the model, one number or (H, W); default: that of the checkpoint."""
    crop_pct: float | None = None
    """Share of the resized image's side that is cropped; default: that of the checkpoint."""
    heads: int | None = None
    """Attention heads of a plain ViT; default: those of the checkpoint, else of its width."""


@dataclass(frozen=True, kw_only=True)
class MultiLabelOptions(TimmOptions):
    """Options of multi-label classification by a timm model."""

    model: str | None = None
    """timm name of the model; needed if the checkpoint does not contain it."""
    classes: str | Path | Sequence[str] | None = None
    """Names of the model's outputs in their order, or a file with one a line; default: those of the checkpoint."""
    head: Literal["ml-decoder", "linear"] | None = None
    """Head of an untrained model, or the head that the checkpoint must have."""
    reduction: ReductionMode | None = None
    """Default: drop for plain ViTs, fill for other models, which cannot drop patches."""
    patch: int | None = None
    """Patch size in pixels, for models that do not use patches themselves; default 16."""
    image_size: int | Sequence[int] | None = None
    """Input size of the model, one number or (H, W); default: that of the checkpoint."""
    threshold: float = 0.5
    """Score in (0, 1) from which a category is predicted as present, for precision, recall and F1."""


@dataclass(frozen=True, kw_only=True)
class DetectionOptions(ModelOptions):
    """Options of detection by an mmdet model."""

    model: str | Path | None = None
    """Name of an mmdet config, or its file."""
    classes: str | Path | Sequence[str] | None = None
    """Names of the outputs in their order, or a file with one a line; default: those of checkpoint and config."""
    reduction: ReductionMode = "fill"
    """Only detectors with a `PlainViTBackbone` can drop patches."""
    patch: int = 16
    """Patch size in pixels of the resized image."""
    score_threshold: float = 0.0
    """Detections with a lower score are removed."""


@dataclass(frozen=True, kw_only=True)
class VocDetectionOptions(DetectionOptions):
    """Options of detection that is evaluated as VOC does."""

    rule: Rule = "area"
    """VOC's average precision: area under the curve (2010 and later) or the mean over 11 points (2007)."""


@dataclass(frozen=True, kw_only=True)
class SegmentationOptions(TimmOptions):
    """Options of segmentation by a plain ViT or an mmseg model."""

    model: str | Path | None = None
    """Name of an mmseg config, or its file; None: `model_weights` are those of a plain ViT."""
    classes: str | Path | Sequence[str] | None = None
    """Names of the model's outputs in their order, or a file with one a line; default: those of the checkpoint."""
    reduction: ReductionMode | None = None
    """Default: drop for plain ViTs, fill for models of mmseg, which cannot drop patches."""
    patch: int | None = None
    """Patch size in pixels of the resized image, for models of mmseg; default 16."""

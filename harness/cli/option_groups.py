"""Options that several commands share, and checks of names that need no heavy package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from ltrp_bench.harness.evaluation.options import Request
from ltrp_bench.harness.evaluation.recipes import SelectorRecipe, TaskRecipe, check_model_weights, with_weights
from ltrp_bench.selectors.errors import UsageError

SELECTOR_HELP: Final = "Selector, see `ltrp-bench list selectors`; several as a,b or repeated."
TASK_HELP: Final = "Task, see `ltrp-bench list tasks`; several as a,b or repeated."
KEEP_RATIO_HELP: Final = "Share of patches to keep, in (0, 1]; several as .25,.5 or repeated."


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Where models run."""

    device: str = field(default="auto", metadata={"help": "Device of models: auto, cpu, cuda, cuda:1, ..."})


@dataclass(frozen=True, kw_only=True)
class ImageLimit:
    """Largest images that are read."""

    max_pixels: int | None = field(
        default=None,
        metadata={"help": "Refuse images of more pixels, which need much memory; 178956970 by default.", "min": 1},
    )

    def set_limit(self) -> None:
        """Set the limit for all images that this process and its children read."""
        if self.max_pixels is not None:
            from ltrp_bench.tasks.data.decoding import limit_pixels

            limit_pixels(self.max_pixels)


@dataclass(frozen=True, kw_only=True)
class SelectorOptions:
    """Weights and constructor arguments of selectors."""

    weights: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Weights of a selector: a file, timm:MODEL, hf-hub:OWNER/NAME, or an official checkpoint of "
            "`ltrp-bench weights list`, such as evit=deit-s-0.7; repeat for several.",
            "metavar": "FILE | NAME=FILE",
        },
    )
    selector_option: tuple[str, ...] = field(
        default=(), metadata={"help": "Option of a selector; repeat for several.", "metavar": "NAME.key=value"}
    )


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Model of a task."""

    model: str | None = field(
        default=None, metadata={"help": "Model of the task: a timm name, or name or path of an OpenMMLab config."}
    )
    model_weights: Path | None = field(
        default=None,
        metadata={
            "help": "The model's checkpoint: a file, timm:MODEL, hf-hub:OWNER/NAME, or an official one of "
            "`ltrp-bench weights list`, such as rtmdet-tiny."
        },
    )

    def check_files(self, tasks: Iterable[str]) -> None:
        """Raises `InputError` if the checkpoint is neither a file nor known to these tasks."""
        if self.model_weights is not None:
            check_model_weights(tasks, str(self.model_weights))


@dataclass(frozen=True, kw_only=True)
class RunDirectory:
    """Results to read."""

    folder: Path = field(
        default=Path("runs"),
        metadata={"help": "Directory with results of `ltrp-bench run`.", "metavar": "[DIR]", "argument": True},
    )


@dataclass(frozen=True, kw_only=True)
class SharingOptions:
    """What is written for others to read."""

    with_paths: bool = field(
        default=False,
        metadata={"help": "Keep paths of commands and names of users and machines, which are left out by default."},
    )


@dataclass(frozen=True, kw_only=True)
class ResultFilter:
    """Which results are used."""

    task: tuple[str, ...] = field(
        default=(), metadata={"help": "Only this task; several as a,b or repeated.", "commas": True}
    )
    selector: tuple[str, ...] = field(
        default=(), metadata={"help": "Only this selector; several as a,b or repeated.", "commas": True}
    )


@dataclass(frozen=True, kw_only=True)
class RowFilter(ResultFilter):
    """Which rows of a table are used; ranks are those among all selectors of the directory."""

    keep_ratio: tuple[float, ...] = field(
        default=(), metadata={"help": "Only this keep ratio; several as .25,.5 or repeated."}
    )


@dataclass(frozen=True, kw_only=True)
class MetricChoice:
    """Metrics that are shown."""

    metric: tuple[str, ...] = field(
        default=(),
        metadata={"help": "Metric instead of each task's headline metric; several as a,b or repeated.", "commas": True},
    )


@dataclass(frozen=True, kw_only=True)
class GroupChoice:
    """Groups of categories whose values are shown."""

    group: tuple[Literal["all", "seen", "unseen"], ...] = field(
        default=(),
        metadata={"help": "Only values on this group of categories; several as a,b or repeated."},
    )


@dataclass(frozen=True, kw_only=True)
class ResamplingOptions:
    """Bootstrap over images."""

    resamples: int = field(
        default=1000, metadata={"help": "Number of bootstrap resamples of the images per interval.", "min": 100}
    )


@dataclass(frozen=True, kw_only=True)
class IntervalOptions(ResamplingOptions):
    """Bootstrap over images, or none."""

    no_intervals: bool = field(
        default=False, metadata={"help": "Skip bootstrap intervals and ranks, which take the most time."}
    )


@dataclass(frozen=True, kw_only=True)
class SplitChoice:
    """Categories that count as unseen."""

    unseen_by: str | None = field(
        default=None,
        metadata={
            "help": "Label set that splits categories into seen and unseen, instead of the split of the run; or "
            "`common`: what no selector of the table has seen, as far as its label sets are known. "
            "See `ltrp-bench list label-sets`.",
            "metavar": "LABEL_SET",
        },
    )

    narrow_as: Literal["seen", "unseen"] | None = field(
        default=None,
        metadata={
            "help": "With --unseen-by: group of categories that the label set contains in part or through one kind "
            "only, as in the run by default."
        },
    )

    def check(self) -> None:
        """Raises `UsageError` unless the label set is known and says which categories it contains."""
        from ltrp_bench.tasks.splits.label_sets import find_label_set, is_open

        if self.narrow_as is not None and self.unseen_by is None:
            raise UsageError("--narrow-as changes the groups of --unseen-by: give that option as well")
        if self.unseen_by is None or self.unseen_by == "common":
            return
        if is_open(find_label_set(self.unseen_by).name):
            raise UsageError(f"--unseen-by {self.unseen_by}: its content is unknown, so it splits no categories")


@dataclass(frozen=True, kw_only=True)
class ExposureOptions(SplitChoice):
    """Categories that count as unseen, and selectors that were shown them."""

    count_exposed: bool = field(
        default=False,
        metadata={"help": "Rank selectors on unseen categories even if their own labels contain some of these."},
    )


@dataclass(frozen=True, kw_only=True)
class LatencyChoice:
    """Latencies that a table or figure shows."""

    latency_device: str | None = field(
        default=None,
        metadata={
            "help": "Device whose latencies (`ltrp-bench latency`) are shown, or a part of its name; by default the "
            "one that was measured last.",
            "metavar": "TEXT",
        },
    )


def check_names(
    selectors: Sequence[str] = (),
    tasks: Sequence[str] = (),
    weights: Iterable[str] = (),
    data: Sequence[str] = (),
    task_options: Sequence[str] = (),
) -> None:
    """Check names, and that weights and data exist, before torch is imported, which takes seconds.

    Args:
        selectors: as given on the command line; tags and `package.module:Class` are checked later.
        tasks: as given.
        weights: "FILE" or "NAME=FILE" of selectors.
        data: "DIR" or "TASK=DIR" of the tasks.
        task_options: options of the tasks, as given.

    Raises:
        UsageError: an unknown name. InputError: no such file, or no data set of the task there.
    """
    recipes = [SelectorRecipe(name=name) for name in dict.fromkeys(selectors)]
    for recipe in recipes:
        recipe.check_name()
    for name in tasks:
        TaskRecipe(name=name).check_name()
    for recipe in with_weights(recipes, weights):
        recipe.check_files()
    if tasks:
        from ltrp_bench.harness.evaluation.task_arguments import check_task_data

        check_task_data(Request(selectors=(), tasks=tuple(tasks), data=tuple(data), task_options=tuple(task_options)))

"""Leaderboards as `leaderboard`, `plot` and `report` read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from ltrp_bench.harness.cli.option_groups import ExposureOptions, ResamplingOptions
from ltrp_bench.harness.cli.terminal.messages import print_note

if TYPE_CHECKING:
    from ltrp_bench.results.leaderboard.build import LeaderboardOptions, Progress
    from ltrp_bench.results.leaderboard.category_groups import LabelSets, Notice


class BoardSources(TypedDict):
    """Keyword arguments of functions that read a leaderboard."""

    label_sets: LabelSets
    notice: Notice
    progress: Progress


def board_sources() -> BoardSources:
    """Label sets, notices on stderr and a progress bar."""
    from ltrp_bench.harness.progress.terminal import tracked
    from ltrp_bench.tasks.splits import label_sets

    return {"label_sets": label_sets, "notice": print_note, "progress": tracked("resampling")}


def board_options(groups: ExposureOptions, resampling: ResamplingOptions) -> LeaderboardOptions:
    """Options of a leaderboard in these groups. Raises UsageError for groups that cannot be formed."""
    from ltrp_bench.results.leaderboard.build import LeaderboardOptions

    groups.check()
    return LeaderboardOptions(
        resamples=resampling.resamples,
        unseen_by=groups.unseen_by,
        narrow_as=groups.narrow_as,
        count_exposed=groups.count_exposed,
    )

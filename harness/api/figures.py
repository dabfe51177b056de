"""matplotlib figures that notebooks show by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ltrp_bench.results.report.style import figure_bytes, plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTEBOOK_DPI: Final = 90
"""Pixels per inch of a figure in a notebook."""


def for_notebooks(figure: Figure) -> Figure:
    """The figure with an image of itself for notebooks, which otherwise show those of pyplot only."""

    def png() -> bytes:
        with plot_style():
            return figure_bytes(figure, ".png", NOTEBOOK_DPI)

    figure._repr_png_ = png  # type: ignore[attr-defined]
    return figure

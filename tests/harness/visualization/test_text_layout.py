"""Captions fit their panels, names of objects hide neither each other nor the objects."""

from __future__ import annotations

import numpy as np
import pytest

from ltrp_bench.harness.visualization.text_layout import MIN_FONT_SIZE, Label, fit_text, place_labels, text_width

ABOVE, BELOW = (40.0, 39.0), (40.0, 70.0)


def label(text: str, *positions: tuple[float, float], mask_index: int | None = None) -> Label:
    return Label(text=text, positions=positions, color="black", mask_index=mask_index)


def test_lines_are_set_smaller_then_cut() -> None:
    assert fit_text("scores", 1.0, 7) == ("scores", 7)
    text, size = fit_text("attention-rollout", 0.7, 7)
    assert text == "attention-rollout" and MIN_FONT_SIZE <= size < 7
    text, size = fit_text("my_package.my_module:MyOwnSelector", 0.8, 7)
    assert size == MIN_FONT_SIZE and text_width(text, size) <= 0.8
    assert text.startswith("my_") and text.endswith("tor") and text.count("…") == 1
    assert (
        text_width("wide", 10, bold=True) > text_width("wide", 10) == pytest.approx(2 * text_width("wide", 5), rel=0.1)
    )


def test_names_take_turns_and_the_last_is_left_out() -> None:
    mask = np.zeros((96, 96), bool)
    mask[40:60, 40:60] = True
    labels = [label(text, ABOVE, BELOW) for text in ("first", "second", "third")]
    placed = place_labels(labels, [mask], mask.shape, pixels_per_inch=96)
    assert [(one.text, position) for one, position in placed] == [("first", ABOVE), ("second", BELOW)]


def test_names_do_not_hide_objects() -> None:
    mask = np.zeros((96, 96), bool)
    mask[40:60, 40:60] = True
    # On the object itself a name would hide it, on another object it would seem to name that.
    assert place_labels([label("on it", (42.0, 58.0), mask_index=0)], [mask], mask.shape, pixels_per_inch=96) == []
    large, small = np.ones((96, 96), bool), np.zeros((96, 96), bool)
    small[80:90, 5:15] = True
    ((_, position),) = place_labels(
        [label("sky", (42.0, 58.0), mask_index=0)], [large], large.shape, pixels_per_inch=96
    )
    assert position == (42.0, 58.0)
    kite = label("kite", (42.0, 58.0), mask_index=1)
    assert place_labels([kite], [large, small], large.shape, pixels_per_inch=96) == []


def test_names_at_the_edge_are_moved_inside() -> None:
    ((_, position),) = place_labels([label("corner", (95.0, 0.0))], [], (96, 96), pixels_per_inch=96)
    assert position[0] + text_width("corner", 5) * 96 < 96 and position[1] > 5


def test_centered_labels_are_drawn_whatever_they_hide() -> None:
    mask = np.ones((96, 96), bool)
    number = Label(text="7", positions=[(3.0, 4.0)], color="black", centered=True)
    assert place_labels([number, number], [mask], mask.shape, pixels_per_inch=96) == [(number, (3.0, 4.0))] * 2

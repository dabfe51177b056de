"""Plot style: distinct for every two selectors, legible in both themes and to color-blind readers."""

from __future__ import annotations

import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from ltrp_bench.results.report.style import (
    BACKGROUND,
    COLOURS,
    DASHES,
    MARKERS,
    NARROW,
    SEEN,
    UNSEEN,
    Theme,
    figure_bytes,
    known_selectors,
    legend_order,
    plot_style,
    style_of,
)
from ltrp_bench.selectors.registry import selector_names

# Machado et al. 2009, table 1, severity 1; on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
# Ottosson, "A perceptual color space for image processing", 2020.
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    dark, bright = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (bright + 0.05) / (dark + 0.05)


def test_contrast_as_wcag_defines_it() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#ffffff", "#767676") == pytest.approx(4.54, abs=0.01)


def test_every_built_in_selector_has_a_style_of_its_own() -> None:
    assert set(known_selectors()) == set(selector_names())
    styles = [style_of(name) for name in known_selectors()]
    assert len({(style.colour, style.marker, style.dash) for style in styles}) == len(styles)
    for one, other in itertools.combinations(styles, 2):
        # Same color: marker and dash differ, so they are distinct in black and white.
        assert one.colour != other.colour or (one.marker != other.marker and one.dash != other.dash)
    assert all(style.marker in MARKERS and style.dash in DASHES for style in styles)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colors_are_legible_in_each_theme(theme: Theme) -> None:
    for name, shades in COLOURS.items():
        assert contrast(shades[theme], BACKGROUND[theme]) >= 3, name
    assert contrast(COLOURS["ink"][theme], BACKGROUND[theme]) >= 7


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colors_are_distinct_with_color_vision_deficiencies(theme: Theme, vision: str) -> None:
    def lab(colour: str) -> np.ndarray:
        seen = np.clip(VISION[vision] @ linear(colour), 0, 1)
        return TO_LAB @ np.cbrt(TO_CONES @ seen)

    for one, other in itertools.combinations(COLOURS, 2):
        apart = float(np.linalg.norm(lab(COLOURS[one][theme]) - lab(COLOURS[other][theme])))
        # About four times the just noticeable difference (0.02).
        assert apart > 0.085, (one, other, apart)


def test_variants_of_a_selector_share_its_style() -> None:
    assert style_of("evit.shapes0") == style_of("evit.shapes1") == style_of("evit")
    assert style_of("ltrp.photos") == style_of("ltrp") != style_of("ltrp-cluster.photos")


def test_third_party_selectors_have_stable_styles_that_no_built_in_selector_has() -> None:
    mine = style_of("my_package.brightness:Brightness")
    code = "from ltrp_bench.results.report.style import style_of; print(style_of('my_package.brightness:Brightness'))"
    # Python's own hash() differs between processes.
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == str(mine)
    built_in = {style_of(name) for name in known_selectors()}
    others = [style_of(f"lab{i}.module:Selector") for i in range(300)]
    assert not built_in & set(others)
    assert len(set(others)) > 100
    # The dot in the name of a module is no tag: two classes of a package are two selectors.
    assert style_of("lab.one:A") != style_of("lab.two:A")


def test_legends_list_methods_then_third_party_methods_then_controls() -> None:
    names = ["random", "mine:M", "evit.shapes1", "ltrp", "oracle", "evit.shapes0", "ltrp"]
    assert legend_order(names) == ["ltrp", "evit.shapes0", "evit.shapes1", "mine:M", "oracle", "random"]


def test_groups_differ_in_color_and_dash() -> None:
    groups = (SEEN, UNSEEN, NARROW)
    assert len({style.colour for style in groups}) == len({style.dash for style in groups}) == 3


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_equal_figures_have_equal_bytes_whatever_the_users_settings(suffix: str) -> None:
    def draw() -> bytes:
        with plot_style():
            figure = Figure(figsize=(2, 2))
            axes = figure.add_subplot()
            for i, name in enumerate(known_selectors()):
                axes.plot([0, 1], [i, i + 1], **style_of(name).plot_options(), label=name)
            axes.legend(fontsize=3)
            return figure_bytes(figure, suffix, dpi=60)

    before = dict(matplotlib.rcParams)
    first = draw()
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 5, "svg.hashsalt": "theirs"}):
        assert draw() == first
        assert matplotlib.rcParams["font.size"] == 20
    assert first[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")

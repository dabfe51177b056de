"""Plot style of figures and the report: each selector has the same color, marker and dash pattern everywhere.

Color alone never distinguishes two selectors: those that share a color differ in marker and dash pattern. Each color
has a variant for a light and one for a dark background, both with a contrast of at least 3:1 (WCAG 2.2, criterion
1.4.11). The colors of a theme remain distinct under protanopia, deuteranopia and tritanopia (Machado et al., "A
Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE TVCG 2009; distances in OKLab).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, SelectorRoles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Theme = Literal["light", "dark"]
Dash = tuple[float, ...]

BACKGROUND: Final[dict[Theme, str]] = {"light": "#ffffff", "dark": "#111111"}
"""Background color of each theme."""

COLOURS: Final[dict[str, dict[Theme, str]]] = {
    "blue": {"light": "#1384e5", "dark": "#508ff0"},
    "orange": {"light": "#c67d3a", "dark": "#c0781e"},
    "green": {"light": "#0b3802", "dark": "#9ef090"},
    "purple": {"light": "#520b8e", "dark": "#705d90"},
    "pink": {"light": "#6f034f", "dark": "#f299b4"},
    "cyan": {"light": "#2b708c", "dark": "#2cc0fc"},
    "red": {"light": "#7b403e", "dark": "#a14943"},
    "olive": {"light": "#7c6914", "dark": "#b6b934"},
    "grey": {"light": "#8a8a8a", "dark": "#8a8a8a"},
    "ink": {"light": "#1a1a1a", "dark": "#f2f2f2"},
}
"""The palette: grey and ink (the text color) for controls and references, all others for methods."""

MARKERS: Final[dict[str, str]] = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "*": "star",
    "<": "triangle-left",
    ">": "triangle-right",
    "p": "pentagon",
    "h": "hexagon",
    "d": "diamond-tall",
    "8": "octagon",
}
"""Markers: matplotlib's code -> plotly's name."""

DASHES: Final[tuple[Dash, ...]] = ((), (5, 2), (1, 1.5), (7, 2, 1.5, 2), (3, 1, 1, 1, 1, 1), (10, 3))
"""Dash patterns: lengths of dash and gap in line widths, for matplotlib as for SVG; () is a solid line."""


@dataclass(frozen=True)
class SeriesStyle:
    """Style of a line and its markers.

    Attributes:
        colour: key of `COLOURS`.
        marker: key of `MARKERS`.
        dash: one of `DASHES`.
    """

    colour: str
    marker: str
    dash: Dash = ()

    def color(self, theme: Theme = "light") -> str:
        """Color as "#rrggbb"."""
        return COLOURS[self.colour][theme]

    @property
    def symbol(self) -> str:
        """Name of the marker in plotly."""
        return MARKERS[self.marker]

    def plot_options(self, theme: Theme = "light") -> dict[str, Any]:
        """Keyword arguments for matplotlib's `Axes.plot`."""
        style = (0, self.dash) if self.dash else "solid"
        return {"color": self.color(theme), "marker": self.marker, "linestyle": style}


SEEN: Final = SeriesStyle("blue", "o", DASHES[0])
UNSEEN: Final = SeriesStyle("orange", "s", DASHES[1])
NARROW: Final = SeriesStyle("cyan", "D", DASHES[2])
"""Styles of the groups of categories, for figures that draw groups instead of selectors."""

# The first selector of a color has a solid line, the next a dashed one, and so on. Legends have the same order.
_FAMILIES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "blue": (("ltrp", "o"), ("ltrp-cluster", "^"), ("ltrp-teacher", "D")),
    "orange": (("evit", "s"), ("adavit", "<"), ("topk", "h"), ("prumerge", "D")),
    "green": (("dynamicvit", "^"), ("iared2", "X"), ("ats", "p"), ("visionzip", "o")),
    "purple": (("gfnet", "D"), ("tome", "o"), ("pitome", "^"), ("diffrate", "s")),
    "pink": (("gradcam", "v"), ("attention-rollout", "P"), ("cropr", "s")),
    "cyan": (("dino", "P"), ("moco", "X"), ("clip", "^"), ("tokencut", "d")),
    "olive": (("dpc-knn", "*"), ("patch-norm", "o"), ("dinov2", "s"), ("dinov3", "^")),
    "red": (("edge-energy", "^"), ("entropy", "s"), ("divprune", "P"), ("siglip", "D")),
    "ink": (("oracle", "*"), ("full", "D"), ("downsample", "v")),
    "grey": (("variance", "s"), ("center", "o"), ("random", "X")),
}

_KNOWN: Final[dict[str, SeriesStyle]] = {
    name: SeriesStyle(colour, marker, DASHES[place])
    for colour, members in _FAMILIES.items()
    for place, (name, marker) in enumerate(members)
}

# Styles of third-party selectors. No built-in selector has the same dash pattern, or the same color and marker.
_OTHERS: Final[tuple[SeriesStyle, ...]] = tuple(
    SeriesStyle(colour, marker, dash)
    for colour in COLOURS
    if colour not in ("grey", "ink")
    for marker in MARKERS
    for dash in DASHES[4:]
    if all((style.colour, style.marker) != (colour, marker) for style in _KNOWN.values())
)


def family(name: str) -> str:
    """Name without the tag of the weights: "evit" for "evit.shapes0". "package.module:Class" is returned as it is."""
    return name if ":" in name else name.partition(".")[0]


def style_of(selector: str) -> SeriesStyle:
    """Style of a selector, by its name in tables; the same in every figure, run and process.

    Third-party selectors get a style that no built-in selector has, from a hash of their name. Two of them may have the
    same style by chance.
    """
    name = family(selector)
    if name in _KNOWN:
        return _KNOWN[name]
    digest = hashlib.sha256(name.encode()).digest()
    return _OTHERS[int.from_bytes(digest[:8], "big") % len(_OTHERS)]


def known_selectors() -> tuple[str, ...]:
    """Names of the selectors with an individual style, in the order of legends: methods first, controls last."""
    return tuple(_KNOWN)


def legend_order(selectors: Iterable[str], roles: SelectorRoles = BUILT_IN_ROLES) -> list[str]:
    """Names in the order of legends: built-in methods, third-party methods, references and controls.

    Variants of one selector, and third-party selectors, are sorted by name.
    """
    places = {name: place for place, name in enumerate(_KNOWN)}

    def key(name: str) -> tuple[bool, int, str]:
        return roles.role(name) != "method", places.get(family(name), len(places)), name

    return sorted(set(selectors), key=key)


@contextmanager
def plot_style() -> Iterator[None]:
    """Context in which matplotlib uses its defaults and our settings, and ignores the user's.

    The user's settings are restored at the end. They are global: draw in one thread at a time.
    """
    import matplotlib

    settings: dict[Any, Any] = {
        "font.size": 7.0,
        "axes.linewidth": 0.6,
        "svg.hashsalt": "ltrp-bench",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
    }
    with matplotlib.rc_context():
        # The backend stays as it is: changing it may fail, and no window is opened.
        defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
        matplotlib.rcParams.update({**defaults, **settings})
        yield


def figure_bytes(figure: Figure, suffix: str, dpi: float = 200) -> bytes:
    """Content of a figure's file. It has no date or version, so equal figures give equal bytes.

    Args:
        figure: the figure. It must be made, and this function called, inside `plot_style`.
        suffix: ".png", ".svg" or ".pdf".
        dpi: pixels per inch of a PNG file, and of images inside the other formats.
    """
    no_metadata: dict[str, dict[str, Any]] = {
        ".png": {"Software": None},
        ".svg": {"Date": None, "Creator": None},
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix[1:], dpi=dpi, metadata=no_metadata[suffix])
    return buffer.getvalue()

"""How figures and the report look: one colour, marker and dash for each selector, wherever it is drawn.

Colour alone never tells two selectors apart: those that share one differ in marker and in dash. Each colour has a
variant for white paper and one for a dark page, both at a contrast of 3:1 or more (WCAG 2.2, criterion 1.4.11), chosen
so that any two of a page stay apart under protanopia, deuteranopia and tritanopia as well (Machado et al., "A
Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE TVCG 2009; distances in OKLab).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Page = Literal["light", "dark"]
Dash = tuple[float, ...]

PAPER: Final[dict[Page, str]] = {"light": "#ffffff", "dark": "#111111"}
"""What figures are drawn on."""

COLOURS: Final[dict[str, dict[Page, str]]] = {
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
"""The palette. Grey and ink (which is text's, too) are the controls'; the rest are methods'."""

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
"""matplotlib's code of each marker and its name in plotly."""

DASHES: Final[tuple[Dash, ...]] = ((), (5, 2), (1, 1.5), (7, 2, 1.5, 2), (3, 1, 1, 1, 1, 1), (10, 3))
"""Lengths on and off in widths of the line; () is solid. matplotlib's (0, dash) and SVG's stroke-dasharray alike."""


@dataclass(frozen=True)
class Look:
    """How one selector is drawn.

    Attributes:
        colour: key of `COLOURS`.
        marker: key of `MARKERS`.
        dash: one of `DASHES`.
    """

    colour: str
    marker: str
    dash: Dash = ()

    def on(self, page: Page = "light") -> str:
        """The colour as "#rrggbb" on that page."""
        return COLOURS[self.colour][page]

    @property
    def symbol(self) -> str:
        """The marker's name in plotly."""
        return MARKERS[self.marker]

    def line(self, page: Page = "light") -> dict[str, Any]:
        """Keyword arguments of matplotlib's `Axes.plot`."""
        style = (0, self.dash) if self.dash else "solid"
        return {"color": self.on(page), "marker": self.marker, "linestyle": style}


SEEN: Final = Look("blue", "o", DASHES[0])
UNSEEN: Final = Look("orange", "s", DASHES[1])
NARROW: Final = Look("cyan", "D", DASHES[2])
"""Groups of categories, where a figure draws groups and no selectors: outlines of objects, bars of gaps."""

# Of a colour, the first is solid, the next dashed and so on. The order is that of legends.
_FAMILIES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "blue": (("ltrp", "o"), ("ltrp-cluster", "^"), ("ltrp-teacher", "D")),
    "orange": (("evit", "s"), ("adavit", "<")),
    "green": (("dynamicvit", "^"), ("iared2", "X")),
    "purple": (("gfnet", "D"), ("tome", "o")),
    "pink": (("gradcam", "v"), ("attention-rollout", "P")),
    "cyan": (("dino", "P"), ("moco", "X")),
    "olive": (("dpc-knn", "*"), ("patch-norm", "o")),
    "red": (("edge-energy", "^"), ("entropy", "s")),
    "ink": (("oracle", "*"), ("full", "D"), ("downsample", "v")),
    "grey": (("variance", "s"), ("center", "o"), ("random", "X")),
}

_KNOWN: Final[dict[str, Look]] = {
    name: Look(colour, marker, DASHES[place])
    for colour, members in _FAMILIES.items()
    for place, (name, marker) in enumerate(members)
}

# No built-in selector has one of these, nor one of its pairs of colour and marker.
_OTHERS: Final[tuple[Look, ...]] = tuple(
    Look(colour, marker, dash)
    for colour in COLOURS
    if colour not in ("grey", "ink")
    for marker in MARKERS
    for dash in DASHES[3:]
    if all((look.colour, look.marker) != (colour, marker) for look in _KNOWN.values())
)


def family(name: str) -> str:
    """ "evit" of "evit.shapes0": a selector without the tag of its weights. "package.module:Class" is its own."""
    return name if ":" in name else name.partition(".")[0]


def look_of(selector: str) -> Look:
    """The look of a selector by its name in tables; the same in every figure, run and process.

    Selectors that do not come with the package get one that no built-in selector has, from a hash of their name. Two
    of them may by chance be given the same.
    """
    name = family(selector)
    if name in _KNOWN:
        return _KNOWN[name]
    digest = hashlib.sha256(name.encode()).digest()
    return _OTHERS[int.from_bytes(digest[:8], "big") % len(_OTHERS)]


def known_selectors() -> tuple[str, ...]:
    """Names with a look of their own, in the order of legends: methods first, controls last."""
    return tuple(_KNOWN)


def in_order(selectors: Iterable[str]) -> list[str]:
    """Names in the order of legends: methods, others by name, controls; variants of one family by name."""
    places = {name: place for place, name in enumerate(_KNOWN)}
    controls = places["oracle"]
    # Strangers stand behind the last method and before the first control.
    return sorted(set(selectors), key=lambda name: (places.get(family(name), controls - 0.5), name))


@contextmanager
def house_style() -> Iterator[None]:
    """Inside the block matplotlib draws by its own defaults and ours, whatever the user's settings are.

    The settings are as before afterwards. They belong to the process: draw from one thread at a time.
    """
    import matplotlib

    ours: dict[Any, Any] = {
        "font.size": 7.0,
        "axes.linewidth": 0.6,
        "svg.hashsalt": "ltrp-bench",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
    }
    with matplotlib.rc_context():
        # All but the backend: no window is ever opened here.
        usual = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
        matplotlib.rcParams.update({**usual, **ours})
        yield


def figure_bytes(figure: Figure, suffix: str, dpi: float = 200) -> bytes:
    """A figure as a file's bytes, equal whenever the figure is: no date, no version in them.

    Args:
        figure: of `matplotlib.figure.Figure`, made inside `house_style`, where this is called, too.
        suffix: ".png", ".svg" or ".pdf".
        dpi: pixels an inch of a PNG, and of images inside the others.
    """
    nothing: dict[str, dict[str, Any]] = {
        ".png": {"Software": None},
        ".svg": {"Date": None, "Creator": None},
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix[1:], dpi=dpi, metadata=nothing[suffix])
    return buffer.getvalue()

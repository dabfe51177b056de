"""Does a patch selector keep what is in the image, or only what its training labels name?

    import ltrp_bench as lb

    results = lb.evaluate(["ltrp", "random"], "shapes-coverage", [0.25, 0.5], limit=100, out="runs")
    results.leaderboard()

Importing the package is quick: torch and pandas are imported when a name that needs them is first used. docs/python.md
describes the names.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ltrp_bench.harness.api.evaluation import evaluate
    from ltrp_bench.harness.api.images import score, show
    from ltrp_bench.harness.api.objects import create_selector, create_task
    from ltrp_bench.harness.api.results import Results, compare, load_results
    from ltrp_bench.selectors.base import Selector, Supervision
    from ltrp_bench.selectors.errors import BenchError, InputError, UsageError
    from ltrp_bench.tasks.base import Task

    __version__: str

__all__ = [
    "BenchError",
    "InputError",
    "Results",
    "Selector",
    "Supervision",
    "Task",
    "UsageError",
    "__version__",
    "compare",
    "create_selector",
    "create_task",
    "evaluate",
    "load_results",
    "score",
    "show",
]

_MODULES = {
    "harness.api.evaluation": ("evaluate",),
    "harness.api.images": ("score", "show"),
    "harness.api.objects": ("create_selector", "create_task"),
    "harness.api.results": ("Results", "compare", "load_results"),
    "selectors.base": ("Selector", "Supervision"),
    "selectors.errors": ("BenchError", "InputError", "UsageError"),
    "tasks.base": ("Task",),
}
"""Module below this package -> its public names."""

if not (Path(__file__).parent / "harness").is_dir():
    # In a checkout, also an editable install, the subpackages lie beside this folder, not in it.
    __path__.append(str(Path(__file__).resolve().parents[1]))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("ltrp-bench")
    else:
        module = next((one for one, names in _MODULES.items() if name in names), None)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import warnings

        # Libraries that we use import tqdm, which warns in every notebook without ipywidgets.
        warnings.filterwarnings("ignore", message="IProgress not found")
        value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""Does a patch selector keep what is in the image, or only what its training labels name?

    import ltrp_bench as lb

    lb.create_selector("ltrp.photos")
    lb.create_task("shapes-coverage", limit=100)

Importing the package is quick: torch and pandas are imported when a function that needs them is first used.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ltrp_bench.selectors.registry import create_selector
    from ltrp_bench.tasks.registry import create_task

    __version__: str

__all__ = ["__version__", "create_selector", "create_task"]

_MODULES = {
    "create_selector": "ltrp_bench.selectors.registry",
    "create_task": "ltrp_bench.tasks.registry",
}

if not (Path(__file__).parent / "harness").is_dir():
    # In a checkout, also an editable install, the subpackages lie beside this folder, not in it.
    __path__.append(str(Path(__file__).resolve().parents[1]))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("ltrp-bench")
    elif name in _MODULES:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""pytest plugin that saves time where the same tests run in many forks of one process."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys

import pytest
from hypothesis import Phase, settings

# The same examples each time. The first that fails is enough: a mutant needs no small one.
settings.register_profile(
    "mutation", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate), report_multiple_bugs=False
)

_IMPORTED = "imported.txt"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Note the libraries that the tests import while they run, in the run that measures them without a mutation."""
    if os.environ.get("MUTANT_UNDER_TEST") == "stats":
        foreign = [name for name in sys.modules if name.partition(".")[0] not in ("ltrp_bench", "tests", "__main__")]
        (session.config.rootpath / _IMPORTED).write_text("\n".join(foreign))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Import them in the process that only collects, of which mutmut makes a fork for each mutant."""
    file = session.config.rootpath / _IMPORTED
    if session.config.option.collectonly and file.is_file():
        for name in file.read_text().splitlines():
            if name not in sys.modules:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)

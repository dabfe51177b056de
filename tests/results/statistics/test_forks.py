"""Work in forks: the results of one process, in order."""

from __future__ import annotations

import os
import subprocess
import sys

from ltrp_bench.results.statistics.forks import map_forked

CODE = """
import os, sys
from ltrp_bench.results.statistics import forks
forks.usable_cores = lambda: 2
mine, found = os.getpid(), list(forks.map_forked(lambda x: (x * x, os.getpid()), range(40)))
assert [one for one, _ in found] == [x * x for x in range(40)]
assert mine not in {pid for _, pid in found}
few = list(forks.map_forked(lambda x: os.getpid(), range(3)))
assert set(few) == {mine}
sys.modules["torch"] = None
assert set(forks.map_forked(lambda x: os.getpid(), range(40))) == {mine}
"""


def test_forks_do_the_work_of_many_items_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_this_process_does_the_work_where_torch_is_imported() -> None:
    import torch  # noqa: F401

    assert set(map_forked(lambda number: os.getpid(), range(40))) == {os.getpid()}

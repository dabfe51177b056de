"""Damaged files of every format: each is taken or refused in one line, soon, and no code in it is run.

Inputs are mutations of genuine files by their structure, from a fixed seed. `--fuzz N` tries N of each format.
"""

from __future__ import annotations

import pickle
import random
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mutations
import pytest
from fuzz_formats import FORMATS, Format, Read, images, provenance

from ltrp_bench.selectors.checkpoints import load_state
from ltrp_bench.selectors.errors import BenchError

SECONDS = 20
"""Most time for an input; the inputs are small, and the machine may be busy."""


class Hang(BaseException):
    """An input took longer than `SECONDS`."""


EXECUTED: list[str] = []
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pty.spawn", "socket.connect")


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event in _FORBIDDEN and _WATCHING:
        EXECUTED.append(f"{event}{args}")


_WATCHING: list[bool] = []
sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def watched() -> Iterator[None]:
    """Records what fuzzed files execute, and raises `Hang` in what takes too long."""

    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    _WATCHING.append(True)
    yield
    _WATCHING.clear()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def outcome(read: Read, path: Path) -> tuple[str, str]:
    """Outcome of reading a file ("taken", "refused", "fault", "hang", "executed"), and its message or traceback."""
    EXECUTED.clear()
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
        found = "taken", ""
    except BenchError as error:
        found = ("fault", f"a message of several lines: {error}") if "\n" in str(error) else ("refused", str(error))
    except Hang:
        found = "hang", ""
    except BaseException:
        found = "fault", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return ("executed", str(EXECUTED)) if EXECUTED else found


@pytest.mark.parametrize("make", FORMATS, ids=lambda make: make.__name__)
def test_damaged_files_are_taken_or_refused(
    make: Callable[[Path], Format], tmp_path: Path, fuzz_size: int, fuzz_counts: dict[str, Counter[str]]
) -> None:
    one = make(tmp_path)
    path = tmp_path / one.name
    path.parent.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(one.files):
        path.write_bytes(data)
        found = outcome(one.read, path)
        assert found[0] == "taken" or make is images, f"genuine file {number}: {found}"
    counts = fuzz_counts.setdefault(make.__name__, Counter())
    wrong = []
    for seed in range(fuzz_size):
        rng = random.Random(f"{make.__name__} {seed}")
        data = one.mutate(rng, rng.choice(one.files))
        path.write_bytes(data)
        kind, why = outcome(one.read, path)
        counts[kind] += 1
        if kind in ("fault", "hang", "executed"):
            wrong.append(f"seed {seed}: {kind}\n{why}\n{data[:300]!r}")
    assert not wrong, f"{len(wrong)} of {fuzz_size}, first ones:\n" + "\n".join(wrong[:4])
    assert counts["refused"] > fuzz_size // 20 or make is provenance


def test_faults_and_executed_code_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "x.pkl"
    file.write_bytes(mutations.HOSTILE)
    assert outcome(lambda path: pickle.loads(path.read_bytes()), file)[0] == "executed"
    assert outcome(lambda path: 1 / 0, file)[0] == "fault"
    assert outcome(lambda path: load_state(path), file)[0] == "refused"

"""Kill a training, to test that it resumes from its checkpoints."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from ltrp_bench.harness.training.training_folder import last_checkpoint


def run_until(command: Sequence[str], folder: Path, iteration: int, seconds: float = 200) -> Path:
    """Start `command`, kill it once `folder` has a checkpoint of that iteration or later, and return the last one."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        found = last_checkpoint(folder)
        if found is not None and int(found.stem.split("_")[1]) >= iteration:
            break
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the training ended before it was killed"
    found = last_checkpoint(folder)
    assert found is not None
    return found

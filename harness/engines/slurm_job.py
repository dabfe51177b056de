"""What a SLURM job of `slurm` does: it starts a Ray cluster on its nodes and runs a sweep on it.

It runs on the first node of the job. `ltrp-bench run` resumes by itself, so a job that is put into the queue again goes
on where it was.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Final

from ltrp_bench.harness.engines.ray_nodes import RayNodes

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

GRACE_SECONDS: Final = 120
"""Time before the end of a job in which the sweep is told to end."""

STOP_SECONDS: Final = 60
"""Time of it that the sweep is given."""


class RaySweep:
    """A sweep on the nodes of a job; submitit calls it, and `checkpoint` before the job goes back into the queue.

    Args:
        arguments: of `ltrp-bench run`.
        config: text of the sweep's file, if there is one.
    """

    def __init__(self, arguments: Sequence[str], config: str | None = None) -> None:
        self.arguments, self.config = tuple(arguments), config
        self._nodes: RayNodes | None = None
        self._run: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Run the sweep; the process ends with its exit code unless that is 0."""
        signal.signal(signal.SIGTERM, self._terminated)
        self._nodes = RayNodes()
        try:
            own = ["--engine", "ray", "--address", self._nodes.start()]
            own += ["--config", "-"] if self.config is not None else []
            command = [sys.executable, "-m", "ltrp_bench.harness.cli.main", "run", *self.arguments, *own]
            with tempfile.TemporaryFile() as config:
                config.write((self.config or "").encode())
                config.seek(0)
                self._run = subprocess.Popen(command, stdin=config)
            self._wait()
            code = self._run.wait()
        finally:
            self._nodes.stop()
        if code:
            sys.exit(code if code > 0 else 128 - code)

    def checkpoint(self) -> DelayedSubmission:
        """End the sweep, whose finished spans are on disk, and Ray."""
        from submitit.helpers import DelayedSubmission

        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # comes with the requeue, when nothing is left to end
        self._stop()
        return DelayedSubmission(RaySweep(self.arguments, self.config))

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # more may come while the sweep ends
        self._stop()
        sys.exit(128 + number)

    def _stop(self) -> None:
        if self._run is not None and not self._wait(0):
            os.kill(self._run.pid, signal.SIGTERM)
            if not self._wait(STOP_SECONDS):
                os.kill(self._run.pid, signal.SIGKILL)
        if self._nodes is not None:
            self._nodes.stop()

    def _wait(self, seconds: float | None = None) -> bool:
        """True once the sweep has ended. Unlike `Popen.wait`, signal handlers may call it while it is being called."""
        assert self._run is not None
        if self._run.returncode is not None:
            return True
        flags = os.WEXITED | os.WNOWAIT
        if seconds is None:
            return os.waitid(os.P_PID, self._run.pid, flags) is not None
        until = time.monotonic() + seconds
        while (ended := os.waitid(os.P_PID, self._run.pid, flags | os.WNOHANG)) is None and time.monotonic() < until:
            time.sleep(0.1)
        return ended is not None

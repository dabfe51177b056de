"""Names and options of the engines, for command lines and files that import nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Engine = Literal["auto", "serial", "local", "ray"]


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Where the work of a sweep is done.

    Attributes:
        engine: "serial" (this process), "local" (several of this machine), "ray" (a cluster), or "auto": serial, then
            local if much is left to do.
        jobs: number of worker processes; None for one a GPU, else for as many as there are cores and memory for.
        address: of a Ray cluster, "auto" or "HOST:PORT"; None starts one on this machine.
        gpus_per_job, cpus_per_job: of a Ray worker; None for one GPU if the device is one, and for `threads` CPUs.
    """

    engine: Engine = "auto"
    jobs: int | None = None
    address: str | None = None
    gpus_per_job: float | None = None
    cpus_per_job: float | None = None

"""Names of the engines, for command lines and files that import nothing heavy."""

from __future__ import annotations

from typing import Literal

Engine = Literal["auto", "serial", "local", "ray"]

"""Makes `toy_bench` importable here and, through PYTHONPATH, in the processes that tests start."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

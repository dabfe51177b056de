"""Names that shells propose."""

from __future__ import annotations

import os
import subprocess
import sys

from ltrp_bench.harness.cli.terminal.completion import COMPLETIONS


def test_names_and_the_last_of_a_list() -> None:
    assert COMPLETIONS["selector"]("dino") == ["dino", "dinov2", "dinov3"]
    assert COMPLETIONS["selector"]("random,lt") == ["random,ltrp", "random,ltrp-cluster", "random,ltrp-teacher"]
    assert COMPLETIONS["task"]("coco-d") == ["coco-det"] and COMPLETIONS["against"]("zz") == []


def test_a_shell_gets_them_and_torch_is_not_imported() -> None:
    code = (
        "import sys; from ltrp_bench.harness.cli import main\n"
        "try: main.main()\nfinally: assert 'torch' not in sys.modules"
    )
    words = {"COMP_WORDS": "ltrp-bench run --task voc", "COMP_CWORD": "3", "_LTRP_BENCH_COMPLETE": "complete_bash"}
    run = subprocess.run([sys.executable, "-c", code], env={**os.environ, **words}, capture_output=True, text=True)
    assert (run.returncode, run.stdout.split()) == (0, ["voc-coverage", "voc-det", "voc-multilabel", "voc-seg"])

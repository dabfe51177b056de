"""An audit of a selector of vision-language models, with the tower of its golden vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from towers import save_tower

from ltrp_bench.harness.cli.main import run_command


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--selector-option", "rule=pool")], ids=["received", "pool"])
def test_siglip(options: tuple[str, ...], golden: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meta, _, fill = golden("siglip_b16")
    file, out = save_tower(tmp_path, meta, fill, "siglip"), tmp_path / "audit.json"
    quick = ("--images", "8", "--cost-model", "none", "--device", "cpu", "--json", str(out))
    assert run_command(["audit", "siglip", "--weights", f"siglip={file}", *quick, *options]) == 0
    printed = capsys.readouterr()
    assert "siglip (captions) on 8 images of shapes-coverage" in printed.out and "broken" not in printed.out
    checks = {one["check"]: one["status"] for one in json.loads(out.read_text())["contract"]}
    assert checks.pop("device") in ("kept", "not checked")
    assert set(checks) >= {"answers", "shape", "kept", "nested", "again", "batch", "normalisation"}
    assert set(checks.values()) == {"kept"}

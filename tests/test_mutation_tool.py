"""What tools/mutation makes of mutmut's results: which survivors count, and which fail the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from outcomes import (
    Mutant,
    Score,
    changed_lines,
    faults,
    function_of,
    read_accepted,
    report,
    rule,
    stale,
    table,
    verdict,
)

DIFF = """--- ltrp_bench/room/file.py
+++ ltrp_bench/room/file.py
@@ -1,3 +1,3 @@
 def half(x):
-    return x / 2
+    return x * 2
"""
CHANGE = "-    return x / 2\n+    return x * 2"
LIST = """
[[survivor]]
module = "room/file.py"
function = "half"
change = '''
-        return x / 2
+        return x * 2
'''
reason = "only ever called with 0"
"""
KILLED = Mutant(function="half", change="-a\n+b", verdict="killed")
SURVIVOR = Mutant(function="half", change=CHANGE, verdict="survived")


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    file = tmp_path / "survivors.toml"
    file.write_text(LIST)
    return file


def test_names_and_lines_of_mutmut() -> None:
    assert changed_lines(DIFF) == CHANGE
    assert function_of("ltrp_bench.room.file.x_half__mutmut_3") == "half"
    assert function_of("ltrp_bench.room.file.xǁGrid_Mapǁ__len____mutmut_12") == "Grid_Map.__len__"


@pytest.mark.parametrize(
    ("code", "fate"),
    [(0, "survived"), (1, "killed"), (2, "killed"), (33, "no tests"), (-24, "timeout"), (255, "killed"), (None, None)],
)
def test_exit_codes(code: int | None, fate: str | None) -> None:
    assert verdict(code) == fate


def test_rules_excuse_only_what_they_name() -> None:
    assert rule("-    zip(a, b, strict=True)\n+    zip(a, b, )") is not None
    assert rule("-    zip(a, b, strict=True)\n+    zip(a, b, strict=None)") is not None
    assert rule('-    read(file, encoding="utf-8")\n+    read(file, encoding=None)') is not None
    assert rule("-    zip(a, b, strict=True)\n+    zip(a, None, strict=True)") is None


def test_the_score_counts_what_no_rule_excuses() -> None:
    excused = Mutant(function="half", change="-zip(a, strict=True)\n+zip(a, )", verdict="survived")
    slow = Mutant(function="half", change="-1\n+2", verdict="timeout")
    untested = Mutant(function="twice", change="-1\n+2", verdict="no tests")
    score = Score("room/file.py", [KILLED, slow, SURVIVOR, untested, excused])
    assert score.score == 0.5
    assert table([score]).splitlines()[-1] == "| room/file.py | 4 | 1 | 1 | 1 | 1 | 1 | 50.0 |"


def test_a_module_passes_with_nine_of_ten_and_a_listed_survivor(listed: Path) -> None:
    accepted = read_accepted(listed)
    enough = Score("room/file.py", [KILLED] * 9 + [SURVIVOR])
    assert faults(enough, accepted) == [] and stale([enough], accepted) == []
    assert faults(enough, []) == ["room/file.py: survivors that are not listed: 1"]
    assert report(enough, []) == f"room/file.py: half (NOT LISTED in survivors.toml)\n{CHANGE}\n\n"
    assert faults(Score("room/other.py", [KILLED] * 9 + [SURVIVOR]), accepted) != []
    assert "88.9 % of the mutants noticed" in faults(Score("room/file.py", [KILLED] * 8 + [SURVIVOR]), accepted)[0]


def test_an_entry_that_no_longer_survives_is_named(listed: Path) -> None:
    accepted = read_accepted(listed)
    assert "half no longer survives" in stale([Score("room/file.py", [KILLED])], accepted)[0]
    assert stale([Score("room/other.py", [KILLED])], accepted) == []


def test_an_entry_needs_a_reason(listed: Path) -> None:
    listed.write_text(LIST.replace("only ever called with 0", " "))
    with pytest.raises(SystemExit, match="no reason for the survivors of half"):
        read_accepted(listed)

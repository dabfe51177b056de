"""Sweep files are checked: unknown keys with the nearest name, wrong types with the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltrp_bench.harness.sweeps.document import read_document
from ltrp_bench.harness.sweeps.schema import EngineTable, SelectorTable, SweepTables, TaskTable, parse_tables
from ltrp_bench.selectors.errors import UsageError


def parse(folder: Path, text: str) -> SweepTables:
    (folder / "s.yaml").write_text(text)
    return parse_tables(read_document(folder / "s.yaml", "s.yaml"))


def test_names_and_tables(tmp_path: Path) -> None:
    tables = parse(
        tmp_path,
        "selectors:\n- random\n- {name: ltrp, weights: a.pth, options: {heads: 3}, label: ours}\n"
        "tasks: [shapes-det, {name: coco-det, data: d, model: m, limit: 5, limit_seed: -1}]\n"
        "keep_ratios: [.25, 1]\nseeds: [0, 7]\nfull: no\nengine: local\nstrict: true\n",
    )
    assert tables.selectors == [
        SelectorTable(name="random"),
        SelectorTable(name="ltrp", weights="a.pth", options={"heads": 3}, label="ours"),
    ]
    assert tables.tasks == [
        TaskTable(name="shapes-det"),
        TaskTable(name="coco-det", data="d", model="m", limit=5, limit_seed=-1),
    ]
    assert (tables.keep_ratios, tables.seeds, tables.full) == ([0.25, 1.0], [0, 7], False)
    assert tables.engine == EngineTable(name="local") and tables.shared() == {"strict": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: [0]\nselector: [random]\n", "s.yaml:2: unknown key selector; did you mean 'selectors'?"),
        (
            "selectors:\n- name: ltrp\n  weigths: a\n",
            "s.yaml:3: unknown key selectors[0].weigths; did you mean 'weights'?",
        ),
        ("tasks:\n- name: a\n  modle: b\n", "s.yaml:3: unknown key tasks[0].modle; did you mean 'model'?"),
        ("engine:\n  name: local\n  job: 2\n", "s.yaml:3: unknown key engine.job; did you mean 'jobs'?"),
        ("selectors:\n- weights: a\n", "s.yaml:2: selectors[0].name is missing"),
        ("selectors:\n- random\n- 3\n", "s.yaml:3: selectors[1] must be a name or a table, got 3"),
        ("selectors: random\n", "s.yaml:1: selectors must be a list, got 'random'"),
        ("selectors:\n- name: a\n  options: 3\n", "s.yaml:3: selectors[0].options must be a table, got 3"),
        ("tasks:\n- name: a\n  label: 2017\n", "s.yaml:3: tasks[0].label must be a text (quote what looks like a numb"),
        ("\n\nlimit: many\n", "s.yaml:3: limit must be a whole number, got 'many'"),
        ("limit: 1.5\n", "s.yaml:1: limit must be a whole number, got 1.5"),
        ("limit: true\n", "s.yaml:1: limit must be a whole number, got True"),
        ("limit: 0\n", "s.yaml:1: limit must be greater than or equal to 1, got 0"),
        ("keep_ratios:\n- 0.5\n- half\n", "s.yaml:3: keep_ratios[1] must be a number, got 'half'"),
        ("keep_ratios: [0.5, 1.5]\n", "s.yaml:1: keep_ratios[1] must be less than or equal to 1, got 1.5"),
        ("keep_ratios: [0]\n", "s.yaml:1: keep_ratios[0] must be greater than 0, got 0"),
        ("seeds: []\n", "s.yaml:1: seeds must not be empty, got []"),
        ("full: 1\n", "s.yaml:1: full must be true or false, got 1"),
        ("engine: locl\n", "s.yaml:1: engine.name must be 'auto', 'serial'"),
        ("narrow_as: sen\n", "s.yaml:1: narrow_as must be 'seen' or 'unseen', got 'sen'; did you mean 'seen'?"),
        ("- random\n", "s.yaml:1: a sweep is a table with the keys selectors, tasks, keep_ratios, seeds, "),
        # Of several mistakes, the first line is named.
        ("full: 1\nlimit: x\nselectors: y\n", "s.yaml:1: full must be true or false, got 1"),
    ],
)
def test_each_mistake_is_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(tmp_path, text)
    assert str(caught.value).startswith(message)

from __future__ import annotations

from pathlib import Path

import build_coco80
import pytest
from split_files import IMAGENETS, read_lines, split_path
from wordnet import WORDNET

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.synsets import imagenet_wnids
from ltrp_bench.tasks.splits.split import CategorySplit, load_split, shapes_split


def test_the_split_files_are_what_their_script_makes() -> None:
    if not WORDNET.is_file():
        pytest.skip(f"{WORDNET} is not here: apt-get install wordnet-base")
    made = build_coco80.build()
    assert [path.stem for path in made] == [f"{label_set}_coco80" for label_set in IMAGENETS]
    for path, text in made.items():
        assert path.read_text() == text, path.name


@pytest.mark.parametrize("label_set", IMAGENETS)
def test_every_category_has_a_state_and_a_reason(label_set: str) -> None:
    rows = read_lines(split_path(label_set, "coco80"))
    assert len(rows) == 80
    known = set(imagenet_wnids(label_set))
    for row in rows:
        assert row["reason"] and row["state"] in ("seen", "narrow", "unseen")
        assert set(row["wnids"].split()) <= known
        assert bool(row["wnids"]) == (row["state"] != "unseen"), row["category"]


def test_homographs_and_parts_are_settled() -> None:
    states = load_split("imagenet1k_coco80").states
    assert states["kite"] == states["giraffe"] == states["fork"] == "unseen"
    assert states["cow"] == states["mouse"] == states["tv"] == states["potted plant"] == states["cup"] == "seen"
    narrow = {name for name, state in states.items() if state == "narrow"}
    assert narrow == {"person", "horse", "sheep", "apple", "stop sign", "knife", "oven"}


def test_narrow_categories_count_as_narrow_as() -> None:
    split = load_split("imagenet1k_coco80")
    default, strict = split.groups(), split.groups("unseen")
    assert [len(default[g]) for g in ("all", "seen", "unseen")] == [80, 64, 16]
    assert strict["unseen"] - default["unseen"] == {n for n, s in split.states.items() if s == "narrow"}
    with pytest.raises(UsageError):
        split.groups("both")  # type: ignore[arg-type]


def test_ids_are_cocos(shared_dir: Path) -> None:
    import json

    names = {
        c["name"]: str(c["id"]) for c in json.loads((shared_dir / "data/coco/instances.json").read_text())["categories"]
    }
    for label_set in IMAGENETS:
        assert {row["category"]: row["coco_id"] for row in read_lines(split_path(label_set, "coco80"))} == names


def test_shapes_folds_swap_the_halves() -> None:
    a, b = shapes_split(0).groups(), load_split("shapes/1").groups()
    assert a["seen"] == b["unseen"] and a["unseen"] == b["seen"] and len(a["seen"]) == len(a["unseen"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "columns"),
        ("category,state\ncat,maybe\n", "line 2: state"),
        ("category,state\ncat,seen\ncat,seen\n", "line 3.*twice"),
    ],
)
def test_bad_split_files_are_named_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_split(path)


def test_unknown_and_uncovered() -> None:
    with pytest.raises(UsageError, match="no split 'imagenet1k_coco8'; similar: imagenet1k_coco80, "):
        load_split("imagenet1k_coco8")
    with pytest.raises(InputError, match="unicorn not in the split"):
        load_split("imagenet1k_coco80").check_covers(["cat", "unicorn"], "x.json")


def test_fingerprint_ignores_order_and_reasons() -> None:
    one = CategorySplit("a", {"x": "seen", "y": "unseen"}, {"x": "why"})
    assert one.fingerprint() == CategorySplit("a", {"y": "unseen", "x": "seen"}).fingerprint()
    assert one.fingerprint() != CategorySplit("a", {"x": "seen", "y": "narrow"}).fingerprint()


def test_a_csv_of_excel(tmp_path: Path) -> None:
    file = tmp_path / "mine_pets.csv"
    file.write_bytes("\ufeffcategory,state\r\ncat,seen\r\ndog,unseen\r\n".encode())
    assert load_split(file).states == {"cat": "seen", "dog": "unseen"}


@pytest.mark.parametrize(
    "text",
    [
        "category,state\ncat,seen\ndog,unseen\n",
        "category;state\r\ncat;seen\r\ndog;unseen\r\n",
        "sep=;\r\ncategory;state\r\ncat;seen\r\ndog;unseen\r\n",
        "category\tstate\ncat\tseen\ndog\tunseen\n",
        " Category , STATE \ncat,Seen\n dog ,UNSEEN\n",
        "category,state,,\ncat,seen,,\ndog,unseen,,\n,,,\n,,,\n",
        "\n\ncategory,state\n\ncat,seen\ndog,unseen\n",
        "category;state;classes\ncat;seen;\ndog;unseen;\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_spreadsheets_write(tmp_path: Path, text: str, encoding: str) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(text.encode(encoding))
    assert load_split(file).states == {"cat": "seen", "dog": "unseen"}


def test_names_are_compared_composed(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("category,state\ncafe\u0301,seen\n", encoding="utf-8")
    load_split(file).check_covers(["caf\u00e9"], "toy")
    with pytest.raises(
        InputError, match="Caf\u00e9 not in the split 'mine' .*, which spells 'caf\u00e9' for 'Caf\u00e9'"
    ):
        load_split(file).check_covers(["Caf\u00e9"], "toy")


def test_a_csv_that_cannot_be_read_names_the_cause(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(b"category|state\ncat|seen\n")
    with pytest.raises(InputError, match=r"separated by commas, semicolons or tabs; it is 'category\|state'"):
        load_split(file)
    file.write_bytes("category,state\ncaf\u00e9,seen\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"mine\.csv is not in UTF-8 \(.* at byte 18\): save it as 'CSV UTF-8'"):
        load_split(file)

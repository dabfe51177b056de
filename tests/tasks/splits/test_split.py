from __future__ import annotations

import hashlib
from pathlib import Path

import build_coco80
import pytest
from split_files import IMAGENETS, read_lines, split_path
from wordnet import WORDNET

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, seen_categories
from ltrp_bench.tasks.data.synsets import imagenet_wnids
from ltrp_bench.tasks.splits.split import CategorySplit, imagenet_split, load_split, shapes_split, shipped_splits


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
        ("sep=;\ncategory;state\n\ncat;seen\n;seen\n", "line 5: category '' is empty"),
        ("category,state\ndog\n", "line 2: state must be seen, narrow or unseen, got ''"),
        ("state,category\nseen\n", "line 2: category '' is empty"),
        ("a,b,c\ncategory,state\ncat,seen\n", "it is 'a,b,c'"),
        ("category,state\n", "lists no categories"),
        ("", "must name the columns"),
        (f"category,state\n{'c' * 200_000},seen\n", "cannot be read as CSV: field larger"),
        ("x" * 99, f"it is '{'x' * 60}'$"),
        ("sep=:\ncategory:state\n", "it is 'category:state'"),
    ],
)
def test_bad_split_files_are_named_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_split(path)


def test_unknown_and_uncovered() -> None:
    with pytest.raises(UsageError, match=r"no split 'imagenet1k_coco8'; did you mean 'imagenet1k_coco80'\?$"):
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


MIXED = CategorySplit("mine", {"cat": "seen", "cow": "narrow", "dog": "unseen", "ant": "unseen"})


def test_counts_and_groups_by_hand() -> None:
    assert MIXED.counts() == {"seen": 1, "narrow": 1, "unseen": 2}
    assert list(MIXED.counts()) == ["seen", "narrow", "unseen"]
    everything = frozenset({"cat", "cow", "dog", "ant"})
    assert MIXED.groups() == {"all": everything, "seen": {"cat", "cow"}, "unseen": {"dog", "ant"}}
    assert MIXED.groups("unseen") == {"all": everything, "seen": {"cat"}, "unseen": {"cow", "dog", "ant"}}


def test_the_fingerprint_is_the_hash_of_states_in_order() -> None:
    text = '["mine",[["ant","unseen"],["cat","seen"],["cow","narrow"],["dog","unseen"]]]'
    assert MIXED.fingerprint() == hashlib.sha256(text.encode()).hexdigest()


def test_what_is_not_covered_is_listed() -> None:
    MIXED.check_covers(["dog", "cat"], "toy")
    with pytest.raises(InputError) as few:
        MIXED.check_covers(["e", "cat", "d", "c", "b", "a"], "toy")
    assert str(few.value) == (
        "toy: a, b, c, d, e not in the split 'mine' (4 categories); "
        "give a CSV with columns category, state and reason with --split FILE"
    )
    with pytest.raises(
        InputError, match="toy: Dog, a, b, c, d and 1 others not in .*, which spells 'dog' for 'Dog'; give"
    ):
        MIXED.check_covers(["e", "d", "c", "b", "a", "Dog"], "toy")


def test_reasons_and_classes_of_a_csv(tmp_path: Path) -> None:
    file = tmp_path / "mine_of_pets_2.csv"
    file.write_text(
        "category,state,reason,wnids,classes\ncat,seen,a pet,n1 n2,\ncow,narrow,one breed,,Ox ; zebu cow;\ndog,unseen\n"
    )
    split = load_split(file)
    assert (split.label_set, dict(split.states)) == ("mine", {"cat": "seen", "cow": "narrow", "dog": "unseen"})
    assert split.reasons == {"cat": "a pet", "cow": "one breed", "dog": ""}
    assert split.wnids == {"cat": ("n1", "n2"), "cow": ("Ox", "zebu cow"), "dog": ()}


def test_files_are_found_in_the_home_folder_and_without_a_suffix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pets").write_text("category,state\ncat,seen\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_split("~/pets").states == {"cat": "seen"}
    with pytest.raises(InputError, match=r"mine\.csv does not exist"):
        load_split("~/mine.csv")
    with pytest.raises(InputError, match=r"folder\.csv cannot be read: Is a directory"):
        (tmp_path / "folder.csv").mkdir()
        load_split(tmp_path / "folder.csv")


def test_bundled_splits_by_name() -> None:
    names = shipped_splits()
    assert names[0] == "imagenet1k" and names[-2:] == ["shapes/0", "shapes/1"]
    assert names[1:-2] == sorted(names[1:-2]) and {"imagenet1k_coco80", "imagenet21k_voc20"} <= set(names)
    assert load_split("imagenet1k") == imagenet_split()
    assert load_split("shapes/0") == shapes_split(0) != load_split("shapes/1")
    with pytest.raises(UsageError, match="^no split 'q'; see `ltrp-bench list label-sets`, or give a CSV$"):
        load_split("q")


def test_imagenets_own_split_is_seen_throughout() -> None:
    split = imagenet_split()
    assert (split.label_set, split.counts()) == ("imagenet1k", {"seen": 1000, "narrow": 0, "unseen": 0})
    assert split.wnids["tench"] == ("n01440764",) and split.reasons["tench"] == "one of the 1,000 classes"


def test_splits_of_shapes_by_fold() -> None:
    for fold in (0, 1):
        split = shapes_split(fold)
        assert split.label_set == f"shapes-seen/{fold}" and split.counts()["narrow"] == 0
        assert split.groups()["seen"] == set(seen_categories(fold)) and split.groups()["all"] == set(CATEGORIES)


def test_line_breaks_within_quotes_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(b'category,state\r\n"big\r\ncat",seen\r\n')
    assert load_split(file).states == {"big\r\ncat": "seen"}

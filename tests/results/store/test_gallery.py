"""The gallery: files, damage, and the agreement of selectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.store.gallery import Thumbnail, agreement, read_gallery, write_images, write_ranks
from ltrp_bench.results.store.run_store import RunStore

RANKS = {
    "a": np.array([[0, 1], [2, 3]], np.int32),
    "b": np.array([[1, 0, 2]], np.int32),
    "d": np.array([[1], [0]], np.int32),
}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


def test_images_and_ranks_come_back(store: RunStore) -> None:
    write_ranks(store, "t", "s", 1, RANKS)
    write_images(store, "t", [Thumbnail("a", 2, 1, b"webp"), Thumbnail("b", 3, 1, b"other")])
    gallery = read_gallery(store, "t")
    assert gallery.images == [Thumbnail("a", 2, 1, b"webp"), Thumbnail("b", 3, 1, b"other")]
    assert list(gallery.ranks) == [("s", 1)] and list(gallery.ranks["s", 1]) == ["a", "b", "d"]
    assert all(np.array_equal(gallery.ranks["s", 1][image], RANKS[image]) for image in RANKS)


def test_files_on_disk(store: RunStore) -> None:
    write_ranks(store, "t", "s", 1, RANKS)
    write_images(store, "t", [Thumbnail("a", 2, 1, b"webp")])
    folder = store.root / "gallery" / "t"
    assert sorted(path.name for path in folder.iterdir()) == ["00.webp", "pictures.json", "s-1.npz"]
    assert json.loads((folder / "pictures.json").read_text()) == [{"height": 1, "image_id": "a", "width": 2}]


def test_ranks_are_stored_as_int32(store: RunStore) -> None:
    write_ranks(store, "t", "s", 1, {"a": RANKS["a"].astype(np.int64)})
    with np.load(store.root / "gallery" / "t" / "s-1.npz", allow_pickle=False) as arrays:
        assert [arrays[name].dtype for name in ("ids", "grids", "ranks")] == [np.uint8, np.int32, np.int32]
        assert arrays["grids"].tolist() == [[2, 2]] and arrays["ranks"].tolist() == [0, 1, 2, 3]
        assert json.loads(arrays["ids"].tobytes()) == ["a"]


def test_names_of_files_are_split_at_the_last_dash(store: RunStore) -> None:
    write_ranks(store, "t", "a-b", 12, RANKS)
    (store.root / "gallery" / "t" / "a-b.npz").write_bytes(b"not ranks: there is no seed")
    assert list(read_gallery(store, "t").ranks) == [("a-b", 12)]


def test_a_task_without_a_gallery(store: RunStore) -> None:
    gallery = read_gallery(store, "other")
    assert (list(gallery.images), dict(gallery.ranks)) == ([], {})


def test_no_images_have_no_ranks(store: RunStore) -> None:
    write_ranks(store, "t", "s", 0, {})
    assert read_gallery(store, "t").ranks == {("s", 0): {}}


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("s-1.npz", b"no", "BadZipFile"),
        ("pictures.json", b"[{}]", "KeyError"),
        ("pictures.json", b"[", "JSONDecodeError"),
    ],
)
def test_damage_is_one_line(store: RunStore, name: str, content: bytes, error: str) -> None:
    write_ranks(store, "t", "s", 1, RANKS)
    write_images(store, "t", [Thumbnail("a", 2, 1, b"webp")])
    path = store.root / "gallery" / "t" / name
    path.write_bytes(content)
    with pytest.raises(ResultsError) as caught:
        read_gallery(store, "t")
    message = str(caught.value)
    assert message.startswith(f"{path} is damaged ({error})") and "\n" not in message
    assert message.endswith(f"; delete {path.parent}: the next run of its task creates it again")


@pytest.mark.parametrize("counts", [("[]", [], 1), ('["a"]', [[1, 1]], 2), ('["a", "b"]', [[1, 1]], 1)])
def test_ranks_of_other_sizes_than_declared_are_damage(
    store: RunStore, counts: tuple[str, list[list[int]], int]
) -> None:
    ids, grids, ranks = counts
    path = store.root / "gallery" / "t" / "s-1.npz"
    path.parent.mkdir(parents=True)
    sizes = np.array(grids, np.int32).reshape(-1, 2)
    np.savez(path, ids=np.frombuffer(ids.encode(), np.uint8), grids=sizes, ranks=np.zeros(ranks, np.int32))
    with pytest.raises(ResultsError, match="is damaged"):
        read_gallery(store, "t")


@pytest.mark.filterwarnings("error")
def test_agreement_is_the_mean_iou_of_common_images() -> None:
    other = {"a": np.array([[0, 3], [2, 1]], np.int32), "c": RANKS["b"]}
    # Image "a" alone is common: {0, 1} and {0, 3} of 2 kept patches share one of three.
    assert agreement(RANKS, other, 0.5) == pytest.approx(1 / 3)
    assert agreement(RANKS, RANKS, 0.5) == 1.0 == agreement(RANKS, other, 1.0)
    assert agreement(RANKS, other, 0.01) == 1.0  # at least one patch is kept
    # Images "a" and "b" are common: 1 of k = round(0.5 * 3) = 2 patches of "b" is another one.
    other = {"a": RANKS["a"], "b": np.array([[2, 0, 1]], np.int32)}
    assert agreement(RANKS, other, 0.5) == pytest.approx((1 + 1 / 3) / 2)
    assert np.isnan(agreement(RANKS, {"c": RANKS["b"]}, 0.5))
    assert np.isnan(agreement(RANKS, {"a": RANKS["b"]}, 0.5))  # another grid

from __future__ import annotations

from pathlib import Path

import pytest
from toy_data import CONCEPTS, nuswide_folder

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.nuswide import NusWideDataset


@pytest.mark.parametrize(("ground_truth", "flat"), [("Groundtruth", False), ("GroundTruth", True)])
def test_labels_and_images(tmp_path: Path, ground_truth: str, flat: bool) -> None:
    dataset = NusWideDataset(nuswide_folder(tmp_path, ground_truth, flat))
    assert dataset.ids == ("alpha/1", "alpha/3", "beta/2") and dataset.categories == tuple(CONCEPTS)
    assert [dataset.labels(i) for i in range(3)] == [{"airport", "concept80"}, set(), {"animal"}]
    assert dataset.vector(0).tolist() == [1, *[0] * 79, 1] and dataset.ignored(0) == set()
    assert dataset.pixels(2).shape == (4, 6, 3) and dataset.pixels(0).mean() == pytest.approx(10, abs=1)
    assert dataset.index("beta/2") == 2 and NusWideDataset(tmp_path, limit=1).ids == ("alpha/1",)


def test_revision_follows_labels_and_images(tmp_path: Path) -> None:
    first = NusWideDataset(nuswide_folder(tmp_path)).revision
    path = tmp_path / "Groundtruth" / "TrainTestLabels" / "Labels_animal_Test.txt"
    path.write_text("1\n1\n0\n")
    second = NusWideDataset(tmp_path).revision
    (tmp_path / "Flickr" / "beta" / "2.jpg").unlink()
    dataset = NusWideDataset(tmp_path)
    assert len({first, second, dataset.revision}) == 3
    with pytest.raises(InputError, match=r"image .*beta/2\.jpg is missing"):
        dataset.pixels(2)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("ConceptsList/Concepts81.txt", "airport\n", r"Concepts81\.txt must list 81 concepts, got 1"),
        ("ImageList/TestImagelist.txt", "", r"TestImagelist\.txt lists no images"),
        (
            "Groundtruth/TrainTestLabels/Labels_animal_Test.txt",
            "1\n0\n",
            r"animal_Test\.txt has 2 labels, .* images 3",
        ),
        ("Groundtruth/TrainTestLabels/Labels_animal_Test.txt", "1\n0\n-1\n", r"label 3 must be 0 or 1, got '-1'"),
        ("Groundtruth/TrainTestLabels/Labels_animal_Test.txt", None, r"no NUS-WIDE in .*Labels_animal_Test\.txt; get"),
        ("ImageList/TestImagelist.txt", None, r"looked for ImageList/TestImagelist\.txt or"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, file: str, text: str | None, message: str) -> None:
    path = nuswide_folder(tmp_path) / file
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        NusWideDataset(tmp_path)
    assert "\n" not in str(caught.value)


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data DIR"):
        NusWideDataset(None)
    with pytest.raises(UsageError, match="no subset 'val': there are train, test"):
        NusWideDataset(tmp_path, "val")
    nuswide_folder(tmp_path)
    (tmp_path / "Flickr").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"no images of NUS-WIDE in .*Flickr/ or images/"):
        NusWideDataset(tmp_path)


def test_an_image_listed_twice_counts_once(tmp_path: Path) -> None:
    path = nuswide_folder(tmp_path) / "ImageList" / "TestImagelist.txt"
    path.write_text("beta\\2.jpg\nalpha\\1.jpg\nbeta\\2.jpg\n")
    dataset = NusWideDataset(tmp_path)
    assert dataset.ids == ("alpha/1", "beta/2") and dataset.labels(1) == {"animal"}
    assert dataset.omissions()[0].line == "1 of 3 images listed twice: the first counts (first beta/2)"
    with pytest.raises(InputError, match=r"TestImagelist\.txt lists beta/2 twice \(--strict\)"):
        NusWideDataset(tmp_path, strict=True)


def test_folders_in_another_case_and_other_forms_of_labels(tmp_path: Path) -> None:
    nuswide_folder(tmp_path)
    for name in ("ImageList", "Groundtruth", "Flickr"):
        (tmp_path / name).rename(tmp_path / name.lower())
    (tmp_path / "groundtruth" / "TrainTestLabels" / "Labels_animal_Test.txt").write_text("1.0\n0\nfalse\n")
    assert NusWideDataset(tmp_path).labels(2) == {"animal"}

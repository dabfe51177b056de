"""`ltrp-bench data export shapes`: images, masks and annotations on disk."""

from __future__ import annotations

import json
from pathlib import Path

from command_lines import Run


def test_the_built_in_data_set_as_files(run: Run) -> None:
    assert run("data", "export", "shapes", "--out", "shapes", "--count", 3) == (0, "wrote 3 images to shapes\n", "")
    annotations = json.loads(Path("shapes/instances.json").read_text())
    assert [image["id"] for image in annotations["images"]] == [1, 2, 3] and len(annotations["categories"]) == 16
    for image in annotations["images"]:
        assert (Path("shapes/images") / image["file_name"]).is_file()
    assert run("data", "export", "shapes", "--out", "one", "--count", 1)[1] == "wrote 1 image to one\n"

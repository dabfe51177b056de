from __future__ import annotations

import pytest

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.models.segmentors.classes import matched


class Named:
    outputs = 3

    def __init__(self, *classes: str) -> None:
        self.classes = classes


def test_outputs_are_matched_by_name() -> None:
    own = ("sky-other", "potted plant", "bed")
    assert matched("t", Named("bed ", "skyother", "pottedplant; a plant"), own).tolist() == [2, 0, 1]  # type: ignore[arg-type]
    with pytest.raises(InputError, match="are not the data set's 3: bed, cat in one alone|bed in one alone"):
        matched("t", Named("cat", "sky-other", "potted plant"), own)  # type: ignore[arg-type]

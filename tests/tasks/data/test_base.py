from __future__ import annotations

import numpy as np
import pytest

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.base import ImageDataset, check_limit


class TwoImages(ImageDataset):
    domain, categories, revision = "photos", ("cat",), "1"

    def pixels(self, index: int) -> np.ndarray:
        return np.zeros((1, 1, 3), np.uint8)


def test_ids_keep_their_order_and_are_found_again() -> None:
    dataset = TwoImages(["b", "a"])
    assert dataset.ids == ("b", "a") and len(dataset) == 2
    assert (dataset.index("b"), dataset.index("a")) == (0, 1)
    with pytest.raises(KeyError, match="c"):
        dataset.index("c")


def test_a_limit_is_at_least_one() -> None:
    assert check_limit(None) is None and check_limit(1) == 1
    with pytest.raises(UsageError, match=r"^limit must be at least 1, got 0$"):
        check_limit(0)

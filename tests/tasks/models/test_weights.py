from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.models.weights import check_weights, file_config, read_float_weights, seeded


def test_a_checkpoint_or_a_seed_is_given_but_not_both() -> None:
    check_weights("detector x", "x.pth", None)
    check_weights("detector x", None, 0)
    advice = (
        "detector x: give its checkpoint with --model-weights, or --task-option random_weights=SEED for an untrained"
    )
    with pytest.raises(UsageError, match=rf"^{advice} one; neither was given$"):
        check_weights("detector x", None, None)
    with pytest.raises(UsageError, match=rf"^{advice} one; not both$"):
        check_weights("detector x", "x.pth", 0)


def test_a_seed_determines_the_block_and_nothing_after_it() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with seeded(5):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), inside)


def test_floating_point_states_become_float32_and_metadata_the_config(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    state = {"a": torch.tensor([0.5], dtype=torch.bfloat16), "n": torch.tensor([3])}
    save_safetensors(path, state, {"config": {"patch_size": 8, "classes": ["a"]}})
    loaded = read_float_weights(path).state
    assert loaded["a"].dtype == torch.float32 and loaded["a"].tolist() == [0.5]
    assert loaded["n"].dtype == torch.int64 and loaded["n"].tolist() == [3]
    assert file_config(path) == {"patch_size": 8, "classes": ["a"]}
    torch.save(state, tmp_path / "w.pth")
    assert file_config(tmp_path / "w.pth") == {}

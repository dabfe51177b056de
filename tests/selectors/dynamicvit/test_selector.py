from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_vits import CONFIG, TAUGHT, make_images, save_vit, small_vit, spread

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.checkpoints import load_metadata, load_state
from ltrp_bench.selectors.contract import WeightsContract
from ltrp_bench.selectors.dynamicvit.losses import (
    dynamicvit_loss,
    logits_distillation,
    ratio_loss,
    teacher_outputs,
    token_distillation,
)
from ltrp_bench.selectors.dynamicvit.selector import (
    DynamicViT,
    DynamicViTSelector,
    gumbel_keep,
    masked_block,
    save_dynamicvit,
)
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.backbones import build_vit

Golden = Callable[[str], tuple[dict[str, Any], dict[str, np.ndarray], Any]]


def small_net(**config: Any) -> DynamicViT:
    net = DynamicViT(small_vit(**config), (1, 2, 3), (0.7, 0.5, 0.3))
    spread(net.score_predictor, 1)
    return net


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "dynamicvit.safetensors"
    save_dynamicvit(path, small_net(), TAUGHT, command="a test")
    return path


def test_golden_through_the_official_wrapping(golden: Golden, tmp_path: Path) -> None:
    meta, expected, fill = golden("dynamicvit")
    torch.save({"model": fill.state_dict(meta["shapes"], meta["seed"])}, tmp_path / "dynamicvit.pth")
    selector = DynamicViTSelector(tmp_path / "dynamicvit.pth")
    assert selector.net.stages == tuple(meta["pruning_loc"])
    assert selector.net.token_ratio == pytest.approx(meta["token_ratio"])
    assert str(selector.supervision) == "imagenet1k" and selector.input_size == (224, 224)
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"])
    with torch.inference_mode():
        logits, stages = selector.net.trace(images)
    np.testing.assert_allclose(logits.numpy(), expected["logits"], atol=1e-4, rtol=0)
    assert len(stages) == 3
    for i, stage in enumerate(stages):
        np.testing.assert_allclose(stage.scores.numpy(), expected[f"stage_{i}_score"], atol=1e-5, rtol=0)
        assert stage.kept.shape[1] == int(196 * meta["token_ratio"][i])


@pytest.mark.parametrize(("width", "heads"), [(256, 4), (768, 12)])
def test_published_widths_are_told_from_the_file(tmp_path: Path, width: int, heads: int) -> None:
    # Blocks of the published width, fewer and thinner ones: what tells the heads is the width.
    size = {**CONFIG, "embed_dim": width, "heads": heads, "classes": 1000, "mlp_ratio": 0.25}
    net = DynamicViT(build_vit(size), (1, 2, 3))
    torch.save({"model": net.published_state()}, tmp_path / "official.pth")
    selector = DynamicViTSelector(tmp_path / "official.pth")
    assert selector.net.vit.blocks[0].attn.num_heads == heads
    assert selector.net.token_ratio == pytest.approx((0.7, 0.49, 0.343))
    with torch.inference_mode():
        torch.testing.assert_close(selector.net(make_images(1)), net.eval()(make_images(1)))


def test_file_of_ours_tells_all(weights: Path) -> None:
    selector = DynamicViTSelector(weights)
    assert selector.net.stages == (1, 2, 3) and selector.net.token_ratio == (0.7, 0.5, 0.3)
    assert selector.mean == (0.5, 0.5, 0.5) and selector.std == (0.25, 0.25, 0.25)
    assert str(selector.supervision) == "shapes-seen/0"
    assert load_metadata(weights)["kind"] == "dynamicvit" and load_metadata(weights)["command"] == "a test"
    original = small_net().eval()
    assert set(load_state(weights)) == set(original.published_state())
    with torch.no_grad():
        torch.testing.assert_close(selector.net(make_images()), original(make_images()))
    assert DynamicViTSelector(weights, keep_rate=0.5).net.token_ratio == (0.5, 0.25, 0.125)


def test_the_ranking_keeps_what_the_stages_kept(weights: Path) -> None:
    selector = DynamicViTSelector(weights)
    scores = selector.scores(make_images()).flatten(1)
    with torch.inference_mode():
        stages = selector.net.prune(make_images())
        whole = selector.net.trace(make_images())[1]
    assert [s.kept.shape[1] for s in stages] == [25, 18, 10]
    for stage, same in zip(stages, whole, strict=True):
        assert torch.equal(stage.kept, same.kept)
        assert torch.equal(scores.topk(stage.kept.shape[1]).indices.sort().values, stage.kept.sort().values)
    assert torch.equal(scores.argsort(dim=1, descending=True)[:, :10], stages[-1].kept)


def test_masked_attention_is_attention_among_those_left() -> None:
    block, x = small_vit().blocks[1].eval(), torch.randn(2, 37, 32, generator=torch.Generator().manual_seed(0))
    left = torch.ones(2, 37)
    left[:, 20:] = 0
    with torch.no_grad():
        torch.testing.assert_close(masked_block(block, x, torch.ones(2, 37)), block(x), atol=1e-3, rtol=1e-3)
        masked, alone = masked_block(block, x, left), block(x[:, :20])
        torch.testing.assert_close(masked[:, :20], alone, atol=1e-3, rtol=1e-3)
        # A dropped token looks at those left and at itself; what other dropped tokens hold does not reach it.
        moved = x.clone()
        moved[:, 21:] += 1
        again = masked_block(block, moved, left)
        torch.testing.assert_close(again[:, :21], masked[:, :21], atol=1e-3, rtol=1e-3)


def test_training_with_the_inference_decisions_gives_the_inference_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    net = small_net().eval()
    with torch.no_grad():
        logits, stages = net.trace(make_images())
    hard = [torch.zeros(4, 36).scatter_(1, s.kept, 1.0).unsqueeze(-1) for s in stages]
    monkeypatch.setattr("ltrp_bench.selectors.dynamicvit.selector.gumbel_keep", lambda *_: hard.pop(0))
    with torch.no_grad():
        out = net.training_forward(make_images())
    torch.testing.assert_close(out.logits, logits, atol=1e-3, rtol=1e-3)
    assert [int(d[0].sum()) for d in out.decisions] == [25, 18, 10]


def test_training_is_deterministic_by_its_generator() -> None:
    net = small_net()
    one, same, other = (net.training_forward(make_images(), torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(one.logits, same.logits)
    assert all(torch.equal(a, b) for a, b in zip(one.decisions, same.decisions, strict=True))
    assert not torch.equal(one.decisions[0], other.decisions[0])
    before = torch.get_rng_state()
    net.training_forward(make_images(), torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_decisions_are_zero_or_one_and_fall() -> None:
    out = small_net().training_forward(make_images(), torch.Generator().manual_seed(0))
    assert out.logits.shape == (4, 8) and out.tokens.shape == (4, 36, 32) and len(out.decisions) == 3
    before = torch.ones(4, 36)
    for kept in out.decisions:
        assert ((kept == 0) | (kept == 1)).all() and (kept <= before).all()
        before = kept


def test_gumbel_decisions_follow_the_probabilities() -> None:
    chances = torch.tensor([[0.9, 0.1], [0.3, 0.7]]).log().expand(20000, 2, 2)
    kept = gumbel_keep(chances, torch.Generator().manual_seed(0))
    assert kept.mean(0).flatten().tolist() == pytest.approx([0.9, 0.3], abs=0.02)


def test_a_predictor_left_without_tokens_stays_finite() -> None:
    predictor = small_net().score_predictor[0]
    assert torch.isfinite(predictor(torch.randn(1, 5, 32), torch.zeros(1, 5, 1))).all()


def test_losses_by_hand() -> None:
    decisions = [torch.tensor([[1.0, 1.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]])]
    assert ratio_loss(decisions, (0.7, 0.25)).item() == pytest.approx((0.2**2 + 0) / 2)
    student, teacher = torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 0.0]])
    p, q = teacher.softmax(-1), student.softmax(-1)
    assert logits_distillation(student, teacher).item() == pytest.approx((p * (p / q).log()).sum().item(), rel=1e-5)
    assert logits_distillation(teacher, teacher).item() == pytest.approx(0, abs=1e-7)
    tokens = torch.tensor([[[1.0, 3.0], [9.0, 9.0]]])
    assert token_distillation(tokens, torch.zeros(1, 2, 2), torch.tensor([[1.0, 0.0]])).item() == pytest.approx(5)


def test_the_objective_is_weighted_as_published() -> None:
    net, vit, labels = small_net(), small_vit(), torch.tensor([0, 1, 2, 3])
    out, teacher = (
        net.training_forward(make_images(), torch.Generator().manual_seed(0)),
        teacher_outputs(vit, make_images()),
    )
    torch.testing.assert_close(teacher[0], vit(make_images()).detach())
    assert not teacher[0].requires_grad and teacher[1].shape == (4, 36, 32)
    terms = dynamicvit_loss(out, labels, net.token_ratio, teacher)
    assert set(terms) == {"classes", "ratio", "logits", "tokens"}
    torch.testing.assert_close(terms["classes"], F.cross_entropy(out.logits, labels))
    torch.testing.assert_close(terms["ratio"], 2 * ratio_loss(out.decisions, net.token_ratio))
    torch.testing.assert_close(terms["logits"], 0.5 * logits_distillation(out.logits, teacher[0]))
    torch.testing.assert_close(terms["tokens"], 0.5 * token_distillation(out.tokens, teacher[1], out.decisions[-1]))
    assert set(dynamicvit_loss(out, labels, net.token_ratio)) == {"classes", "ratio"}


def test_it_learns_the_classes_and_the_shares() -> None:
    net = small_net()
    images, labels = make_images(8), torch.arange(8)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for step in range(60):
        out = net.training_forward(images, generator)
        terms = dynamicvit_loss(out, labels, net.token_ratio)
        optimizer.zero_grad()
        sum(terms.values(), torch.zeros(())).backward()
        if step == 0:
            for name, parameter in net.named_parameters():
                assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
                assert parameter.grad.abs().sum() > 0, name
        optimizer.step()
        losses.append([terms["classes"].item(), terms["ratio"].item()])
    assert np.mean(losses[-5:], 0)[0] < 0.3 * losses[0][0]
    shares = [float(d.detach().mean()) for d in out.decisions]
    assert shares == pytest.approx([0.7, 0.5, 0.3], abs=0.15)


def test_foreign_files_are_one_line(tmp_path: Path) -> None:
    vit = save_vit(tmp_path / "vit.safetensors", small_vit())
    with pytest.raises(InputError, match="score_predictor.0.*looks like a plain vision transformer") as caught:
        DynamicViTSelector(vit)
    assert "\n" not in str(caught.value)
    state = small_net().published_state()
    del state["score_predictor.1.out_conv.2.bias"]
    torch.save({"model": state}, tmp_path / "holes.pth")
    with pytest.raises(InputError, match="score predictors of.*1 keys missing: 1.out_conv.2.bias"):
        DynamicViTSelector(tmp_path / "holes.pth", heads=4, label_set="imagenet1k")
    state = small_net().published_state()
    torch.save({"model": state}, tmp_path / "ours.pth")
    with pytest.raises(InputError, match="heads=N"):
        DynamicViTSelector(tmp_path / "ours.pth")
    with pytest.raises(InputError, match="label_set"):
        DynamicViTSelector(tmp_path / "ours.pth", heads=4)
    with pytest.raises(InputError, match="not found"):
        DynamicViTSelector(tmp_path / "absent.pth")


def test_bad_options(weights: Path) -> None:
    with pytest.raises(UsageError, match="3 score predictors for 2 stages"):
        DynamicViTSelector(weights, stages=(1, 2))
    with pytest.raises(UsageError, match="keep_rate"):
        DynamicViTSelector(weights, keep_rate=1.5)
    with pytest.raises(UsageError, match="leaves no patch"):
        DynamicViTSelector(weights, keep_rate=0.2)
    for wrong in ((0.7, 0.5), (0.5, 0.7, 0.3), (0.7, 0.5, 0)):
        with pytest.raises(UsageError, match="token_ratio"):
            DynamicViT(small_vit(), (1, 2, 3), wrong)


class TestDynamicViTContract(WeightsContract):
    build = DynamicViTSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return DynamicViTSelector(weights)

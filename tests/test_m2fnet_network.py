"""M2FNet's networks: numbers by hand, and that nothing absent or padded is ever felt."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from erc_cli.errors import UsageError
from erc_cli.types import Modality
from erc_fusion_m2fnet.attention import FusionAttention, FusionStack, MultiHeadAttention
from erc_fusion_m2fnet.concat import Concat
from erc_fusion_m2fnet.dialogue import DialogueEncoder, sinusoids
from erc_fusion_m2fnet.inputs import absences
from erc_fusion_m2fnet.model import FusedModel
from erc_fusion_m2fnet.network import M2FNet
from erc_fusion_m2fnet.shape import Shape

TEXT, AUDIO, VISUAL = Modality.TEXT, Modality.AUDIO, Modality.VISUAL
SHAPE = Shape(
    widths={TEXT: 8, AUDIO: 6, VISUAL: 5},
    classes=3,
    encoders=2,
    layers=3,
    heads=2,
    width=None,
    feed_forward=16,
    hidden=12,
    dropout=0.4,
    positions=True,
    residual=False,
)
Network = Callable[[Shape], nn.Module]
Given = tuple[dict[Modality, Tensor], dict[Modality, Tensor]]


def made(network: Network, shape: Shape = SHAPE) -> nn.Module:
    """Seeded, and away from its beginning: the learned vectors for absence are not zero."""
    torch.manual_seed(0)
    model = network(shape)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "absent" in name:
                parameter.normal_()
    return model.eval()


def material(b: int, k: int, *, seed: int = 1, share: float = 0.7) -> Given:
    """Random features; about 30 % of the rows of each modality are absent."""
    generator = torch.Generator().manual_seed(seed)
    values = {m: torch.randn(b, k, d, generator=generator) for m, d in SHAPE.widths.items()}
    present = {m: torch.rand(b, k, generator=generator) < share for m in SHAPE.widths}
    return values, present


def identity_attention(heads: int = 1) -> MultiHeadAttention:
    attention = MultiHeadAttention(2, 2, 2, heads, 0.0)
    with torch.no_grad():
        for layer in (attention.query, attention.key, attention.value, attention.out):
            layer.weight.copy_(torch.eye(2))
    return attention


# --- by hand -------------------------------------------------------------------------------


def test_attention_by_hand() -> None:
    query = torch.tensor([[[1.0, 0.0]]])
    key = torch.tensor([[[2.0, 5.0], [0.0, -7.0], [9.0, 9.0]]])
    value = torch.tensor([[[1.0, 10.0], [3.0, 30.0], [99.0, 99.0]]])
    found = identity_attention()(query, key, value, torch.tensor([[True, True, False]]))[0, 0]
    # Scores 2 / √2 and 0; the third key is masked.
    first = math.exp(math.sqrt(2)) / (math.exp(math.sqrt(2)) + 1)
    expected = [first * 1 + (1 - first) * 3, first * 10 + (1 - first) * 30]
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-6)


def test_each_head_looks_by_itself() -> None:
    query = torch.tensor([[[1.0, -1.0]]])
    key = value = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    found = identity_attention(heads=2)(query, key, value, torch.ones(1, 2, dtype=torch.bool))[0, 0]
    share = math.e / (math.e + 1)  # √1: a head is one wide
    np.testing.assert_allclose(found.detach(), [share, 1 - share], rtol=1e-6)


def test_a_fusion_module_by_hand() -> None:
    """out = FC(concat[A, F_T, B]): text is query and value, sound and pictures are only keys."""
    module = FusionAttention(2, {AUDIO: 2, VISUAL: 2}, 1, 0.0)
    with torch.no_grad():
        for attention in module.attention.values():
            for layer in (attention.query, attention.key, attention.value, attention.out):
                layer.weight.copy_(torch.eye(2))
        eye = torch.eye(2)
        module.out.weight.copy_(torch.cat([eye, 10 * eye, 100 * eye], dim=1))
        module.out.bias.zero_()
    text = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    alike = torch.zeros(1, 2, 2)  # equal keys: the mean of the values
    sharp = torch.tensor([[[0.0, 0.0], [60.0, 60.0]]])  # the second key wins for both queries
    whole = torch.ones(1, 2, dtype=torch.bool)
    found = module(text, {AUDIO: alike, VISUAL: sharp}, {AUDIO: whole, VISUAL: whole})[0]
    a, b = torch.tensor([2.0, 3.0]), torch.tensor([3.0, 4.0])
    np.testing.assert_allclose(found.detach(), (a + 10 * text[0] + 100 * b).numpy(), rtol=1e-5)


def test_the_next_module_takes_the_last_as_its_text() -> None:
    torch.manual_seed(0)
    stack = FusionStack(2, 4, {AUDIO: 6}, 2, 0.0)
    text, sound, whole = torch.randn(1, 3, 4), torch.randn(1, 3, 6), torch.ones(1, 3, dtype=torch.bool)
    first, second = stack.layers
    once = first(text, {AUDIO: sound}, {AUDIO: whole})
    expected = second(once, {AUDIO: sound}, {AUDIO: whole})
    torch.testing.assert_close(stack(text, {AUDIO: sound}, {AUDIO: whole}), expected)


def test_a_deep_stack_begins_by_passing_text_on() -> None:
    """Five modules with torch's usual start would shrink it to a hundredth."""
    torch.manual_seed(0)
    stack = FusionStack(5, 32, {AUDIO: 8, VISUAL: 8}, 4, 0.0)
    text, whole = torch.randn(4, 10, 32), torch.ones(4, 10, dtype=torch.bool)
    keys = {m: torch.randn(4, 10, 8) for m in (AUDIO, VISUAL)}
    found = stack(text, keys, dict.fromkeys(keys, whole)).detach()
    assert 0.9 < float(found.std()) < 2
    assert torch.corrcoef(torch.stack([found.flatten(), text.flatten()]))[0, 1] > 0.6


def test_local_skip_connection() -> None:
    """With an encoder that answers zero, F stays as it was: standardised features and positions."""
    encoder = DialogueEncoder(4, replace(SHAPE, encoders=1)).eval()
    with torch.no_grad():
        encoder.mean.fill_(1)
        encoder.scale.fill_(2)
        last = encoder.encoders[0].second
        last.weight.zero_()
        last.bias.zero_()
    values = torch.arange(8.0).view(1, 2, 4)
    found = encoder(values, torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(found[0], (values[0] - 1) / 2 + sinusoids(2, 4))


def test_sinusoids() -> None:
    table = sinusoids(3, 5)
    assert table.shape == (3, 5)
    torch.testing.assert_close(table[0], torch.tensor([0.0, 0, 0, 1, 1]))
    assert float(table[2, 0]) == pytest.approx(math.sin(2))


def test_widths() -> None:
    assert SHAPE.width_of(5) == 6  # projected to a multiple of the heads
    assert isinstance(DialogueEncoder(8, SHAPE).projection, nn.Identity)
    assert isinstance(DialogueEncoder(5, SHAPE).projection, nn.Linear)
    assert replace(SHAPE, width=10).width_of(5) == 10
    with pytest.raises(UsageError, match="7 does not divide by 2 heads") as raised:
        replace(SHAPE, width=7)
    assert "--set train.fusion.width=8" in str(raised.value)


def test_a_shape_comes_back_from_its_text() -> None:
    again = Shape.from_json(SHAPE.to_json())
    assert again == SHAPE
    assert list(again.widths) == [TEXT, AUDIO, VISUAL]


# --- masks ---------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("network", [M2FNet, Concat])


@BOTH
def test_a_batch_of_one_equals_a_batch_of_many(network: Network) -> None:
    model = made(network)
    values, present = material(5, 7)
    many = model(values, present)
    assert many.shape == (5, 7, 3)
    for i in range(5):
        one = model(
            {m: v[i : i + 1] for m, v in values.items()}, {m: p[i : i + 1] for m, p in present.items()}
        )
        torch.testing.assert_close(one[0], many[i], atol=1e-5, rtol=1e-5)


@BOTH
def test_permuted_dialogues_give_permuted_answers(network: Network) -> None:
    model = made(network)
    values, present = material(5, 7)
    order = torch.tensor([3, 0, 4, 1, 2])
    found = model({m: v[order] for m, v in values.items()}, {m: p[order] for m, p in present.items()})
    torch.testing.assert_close(found, model(values, present)[order])


@BOTH
@pytest.mark.parametrize("k", [1, 6, 200])
def test_padding_changes_nothing(network: Network, k: int) -> None:
    model = made(network)
    values, present = material(2, k)
    plain = model(values, present)
    nan = {m: torch.full((2, 9, v.shape[2]), float("nan")) for m, v in values.items()}
    longer = {m: torch.cat([v, nan[m]], 1) for m, v in values.items()}
    masks = {m: torch.cat([p, torch.zeros(2, 9, dtype=torch.bool)], 1) for m, p in present.items()}
    torch.testing.assert_close(model(longer, masks)[:, :k], plain, atol=1e-5, rtol=1e-5)


@BOTH
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_values_of_absent_rows_never_matter(network: Network, bad: float) -> None:
    model = made(network)
    values, present = material(3, 6)
    spoilt = {m: torch.where(present[m][..., None], v, bad) for m, v in values.items()}
    assert torch.equal(model(spoilt, present), model(values, present))
    model.train()
    model(spoilt, present).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@BOTH
@pytest.mark.parametrize("gone", [(TEXT,), (AUDIO,), (TEXT, VISUAL), (AUDIO, VISUAL)])
def test_dropping_a_modality_is_the_absence_of_training(network: Network, gone: tuple[Modality, ...]) -> None:
    """In a batch, dialogue 1 goes without; alone and dropped at inference it gets the same answer, and
    the others do not notice."""
    model = made(network)
    values, present = material(3, 6)
    drawn = {m: p.clone() for m, p in present.items()}
    for m in gone:
        drawn[m][1] = False
    together = model(values, drawn)
    whole = model(values, present)
    assert torch.equal(together[[0, 2]], whole[[0, 2]])
    assert not torch.allclose(together[1], whole[1])
    nothing = {m: torch.zeros(1, 6, d) for m, d in SHAPE.widths.items()}
    never = {m: torch.zeros(1, 6, dtype=torch.bool) for m in SHAPE.widths}
    alone = model(
        nothing | {m: v[1:2] for m, v in values.items() if m not in gone},
        never | {m: p[1:2] for m, p in present.items() if m not in gone},
    )
    torch.testing.assert_close(alone[0], together[1], atol=1e-5, rtol=1e-5)


def test_a_missing_utterance_is_no_key() -> None:
    """What an absent row of sound holds reaches no other utterance; its own answer has the rest."""
    model = made(M2FNet)
    values, _ = material(1, 6)
    present = {m: torch.ones(1, 6, dtype=torch.bool) for m in SHAPE.widths}
    whole = model(values, present)
    present[AUDIO] = present[AUDIO].clone()
    present[AUDIO][0, 2] = False
    found = model(values, present)
    assert not torch.allclose(found[0, 0], whole[0, 0])  # it had been a key for all
    other = values | {AUDIO: values[AUDIO].clone()}
    other[AUDIO][0, 2] += 100
    assert torch.equal(model(other, present), found)


def test_an_utterance_without_words_is_no_value() -> None:
    torch.manual_seed(3)
    module = FusionAttention(4, {AUDIO: 4}, 2, 0.0).eval()
    text, sound = torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    usable = {AUDIO: torch.tensor([[True, False, True]])}
    changed = text.clone()
    changed[0, 1] += 5
    before, after = module(text, {AUDIO: sound}, usable), module(changed, {AUDIO: sound}, usable)
    torch.testing.assert_close(before[0, [0, 2]], after[0, [0, 2]])


def test_without_any_key_the_term_is_the_learned_vector() -> None:
    module = FusionAttention(4, {AUDIO: 6, VISUAL: 6}, 2, 0.0)
    text, keys = torch.randn(2, 3, 4), torch.randn(2, 3, 6)
    some, none = torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.bool)
    with torch.no_grad():
        module.absent["audio"].fill_(0.5)
        a = torch.full_like(text, 0.5)
        b = module.attention["visual"](text, keys, text, some)
        expected = module.out(torch.cat([a, text, b], dim=-1))
        found = module(text, {AUDIO: keys, VISUAL: keys}, {AUDIO: none, VISUAL: some})
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("network", ["m2fnet", "concat"])
@pytest.mark.parametrize("residual", [False, True])
def test_gradients_flow_to_every_parameter(network: str, residual: bool) -> None:
    torch.manual_seed(0)
    model = FusedModel(network, replace(SHAPE, residual=residual))
    values, present = material(6, 5)
    for i, m in enumerate(SHAPE.widths):
        present[m][i] = False  # so that the learned vectors for absence are used
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):  # the last layer of the residual form begins with zero, and hides the others
        optimizer.zero_grad()
        model(values, present).pow(2)[..., 0].sum().add(model(values, present)[..., 1].sum()).backward()
        optimizer.step()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert dead == []


@pytest.mark.parametrize("modalities", [(TEXT,), (AUDIO,), (AUDIO, VISUAL), (TEXT, VISUAL)])
@BOTH
def test_presets_with_fewer_modalities(network: Network, modalities: tuple[Modality, ...]) -> None:
    model = made(network, replace(SHAPE, widths={m: SHAPE.widths[m] for m in modalities}))
    values, present = material(2, 4)
    found = model({m: values[m] for m in modalities}, {m: present[m] for m in modalities})
    assert found.shape == (2, 4, 3)
    assert torch.isfinite(found).all()


# --- what is added -------------------------------------------------------------------------


def test_a_row_without_anything_gets_the_prior() -> None:
    model = FusedModel("m2fnet", SHAPE).eval()
    prior = np.array([0.6, 0.3, 0.1], dtype=np.float32)
    model.take_prior(prior)
    values, present = material(2, 4, share=2)
    for m in SHAPE.widths:
        present[m][0, 1] = False
    found = model(values, present).softmax(-1).detach()
    np.testing.assert_allclose(found[0, 1], prior, rtol=1e-6)
    assert not np.allclose(found[0, 0], prior)


def test_the_residual_form_begins_as_the_text_head() -> None:
    from erc_cli.types import Head

    generator = np.random.default_rng(0)
    head = Head(
        generator.normal(size=(3, 8)).astype(np.float32),
        generator.normal(size=3).astype(np.float32),
        np.full(3, 1 / 3, np.float32),
    )
    model = FusedModel("m2fnet", replace(SHAPE, residual=True)).eval()
    prior = np.array([0.6, 0.3, 0.1], dtype=np.float32)
    model.take_prior(prior)
    model.take_head(head)
    model.take_statistics(TEXT, torch.ones(8), torch.full((8,), 3.0))  # the head reads raw features
    values, present = material(2, 5)
    values[TEXT][~present[TEXT]] = float("nan")
    found = model(values, present).detach().numpy()
    words = present[TEXT].numpy()
    expected = values[TEXT].numpy()[words] @ head.weight.T + head.bias
    np.testing.assert_allclose(found[words], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[~words], np.broadcast_to(np.log(prior), found[~words].shape), rtol=1e-5)


def test_modality_dropout_draws_proper_subsets_evenly() -> None:
    gone = absences((TEXT, AUDIO, VISUAL), 6000, 0.5, np.random.default_rng(0))
    kept = sum((~g).long() << i for i, g in enumerate(gone.values()))
    counts = np.bincount(kept.numpy(), minlength=8)
    assert counts[0] == 0  # never nothing
    assert counts[7] == pytest.approx(3000, abs=150)
    assert all(c == pytest.approx(500, abs=90) for c in counts[1:7])
    assert not any(g.any() for g in absences((TEXT,), 50, 1.0, np.random.default_rng(0)).values())

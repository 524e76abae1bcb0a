"""``MultiheadAttention`` and PyTorch's transformer layers against their definitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.errors import ArgumentError, NyalaError, ShapeError


@pytest.fixture(autouse=True)
def seed() -> None:
    nyala.manual_seed(0)


def by_definition(layer: nn.MultiheadAttention, q: Any, k: Any, v: Any, added: np.ndarray | None = None) -> tuple[Any, Any]:
    """(N, L, E) by einsum in float64: the result, and weights (N, heads, L, S)."""
    state = {n: p.detach().numpy().astype(np.float64) for n, p in layer.named_parameters()}
    if "in_proj_weight" in state:
        wq, wk, wv = np.split(state["in_proj_weight"], 3)
    else:
        wq, wk, wv = (state[f"{p}_proj_weight"] for p in "qkv")
    bias = np.split(state.get("in_proj_bias", np.zeros(3 * layer.embed_dim)), 3)

    def heads(x: Any, w: np.ndarray, b: np.ndarray) -> np.ndarray:
        y = np.einsum("nti,oi->nto", x.numpy(), w) + b
        return y.reshape(*y.shape[:2], layer.num_heads, -1)

    qh, kh, vh = heads(q, wq, bias[0]), heads(k, wk, bias[1]), heads(v, wv, bias[2])
    scores = np.einsum("nlhd,nshd->nhls", qh, kh) / np.sqrt(layer.head_dim)
    scores = scores if added is None else scores + added
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    mixed = np.einsum("nhls,nshd->nlhd", weights, vh).reshape(*q.shape[:2], -1)
    out = mixed @ state["out_proj.weight"].T + state.get("out_proj.bias", 0)
    return out, weights


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("settings", [{}, {"bias": False}, {"kdim": 3, "vdim": 5}])
@pytest.mark.parametrize("batch_first", [True, False])
def test_equals_the_definition(settings: dict[str, Any], need_weights: bool, batch_first: bool) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first, **settings).double()
    q = nyala.randn(3, 4, 8, dtype="float64")
    k = nyala.randn(3, 5, settings.get("kdim", 8), dtype="float64")
    v = nyala.randn(3, 5, settings.get("vdim", 8), dtype="float64")
    given = (q, k, v) if batch_first else tuple(t.transpose(0, 1) for t in (q, k, v))
    out, weights = layer(*given, need_weights=need_weights)
    expected, expected_weights = by_definition(layer, q, k, v)
    np.testing.assert_allclose((out if batch_first else out.transpose(0, 1)).detach().numpy(), expected, atol=1e-10)
    if need_weights:
        np.testing.assert_allclose(weights.detach().numpy(), expected_weights.mean(1), atol=1e-10)
        each = layer(*given, average_attn_weights=False)[1]
        np.testing.assert_allclose(each.detach().numpy(), expected_weights, atol=1e-10)
    else:
        assert weights is None


@pytest.mark.parametrize("need_weights", [True, False])
def test_masks_add_up(need_weights: bool) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True).double()
    x = nyala.randn(2, 4, 8, dtype="float64")
    padding = np.array([[0, 0, 0, 0], [0, 0, 1, 1]], bool)
    causal = np.triu(np.ones((4, 4), bool), 1)
    added = np.where(padding[:, None, None] | causal, -np.inf, 0.0)
    out, _ = layer(x, x, x, key_padding_mask=nyala.tensor(padding), attn_mask=nyala.tensor(causal), need_weights=need_weights)
    np.testing.assert_allclose(out.detach().numpy(), by_definition(layer, x, x, x, added)[0], atol=1e-10)
    bias = nyala.randn(4, 4, 4, dtype="float64")  # one for each sample's head
    out, _ = layer(x, x, x, attn_mask=bias, need_weights=need_weights)
    expected = by_definition(layer, x, x, x, bias.numpy().reshape(2, 2, 4, 4))[0]
    np.testing.assert_allclose(out.detach().numpy(), expected, atol=1e-10)


def test_extra_keys_are_open_to_every_query() -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True, add_zero_attn=True)
    x = nyala.randn(2, 4, 8)
    out, weights = layer(x, x, x, attn_mask=nyala.tensor(np.ones((4, 4), bool)))
    assert weights.shape == (2, 4, 6)
    np.testing.assert_allclose(weights.detach().numpy()[..., :4], 0)
    np.testing.assert_allclose(weights.detach().numpy()[..., 4:].sum(-1), 1, rtol=1e-5)
    out.sum().backward()
    assert all((p.grad.numpy() != 0).any() for n, p in layer.named_parameters() if n in ("bias_v", "out_proj.weight"))


@pytest.mark.parametrize("need_weights", [True, False])
def test_gradients_are_right_and_reach_every_parameter(need_weights: bool) -> None:
    layer = nn.MultiheadAttention(4, 2, batch_first=True).double()
    x = nyala.randn(2, 3, 4, dtype="float64", requires_grad=True)
    assert nyala.testing.gradcheck(lambda t: layer(t, t, t, need_weights=need_weights)[0], x)
    layer(x, x, x, need_weights=need_weights)[0].square().sum().backward()
    assert all((p.grad.numpy() != 0).any() for p in layer.parameters())


def test_dropout_acts_on_the_weights_while_training() -> None:
    layer = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    x = nyala.randn(2, 4, 8)
    assert not layer(x, x, x)[0].equal(layer(x, x, x)[0])
    assert layer.eval()(x, x, x)[0].equal(layer(x, x, x)[0])


def test_encoder_and_decoder_stack_independent_copies() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True, activation="gelu")
    encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8))
    x = nyala.randn(2, 5, 8)
    assert encoder(x).equal(encoder.norm(encoder.layers[1](encoder.layers[0](x))))
    encoder.layers[0].linear1.weight.data.fill_(0.0)
    assert (encoder.layers[1].linear1.weight.detach().numpy() != 0).any()
    padded = nyala.tensor([[False] * 5, [False, False, False, True, True]])
    out = encoder(x, src_key_padding_mask=padded)
    changed = x.clone()
    changed[1, 3:] = 7.0
    np.testing.assert_array_equal(
        encoder(changed, src_key_padding_mask=padded)[1, :3].detach().numpy(), out[1, :3].detach().numpy()
    )


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_decoder_is_causal_and_learns_everywhere(norm_first: bool) -> None:
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True, norm_first=norm_first)
    src, tgt = nyala.randn(2, 4, 8), nyala.randn(2, 5, 8)
    mask = model.generate_square_subsequent_mask(5)
    assert np.isneginf(mask.numpy()[np.triu_indices(5, 1)]).all() and (np.tril(mask.numpy()) == 0).all()
    out = model(src, tgt, tgt_mask=mask)
    changed = tgt.clone()
    changed[:, 3:] = 5.0
    np.testing.assert_allclose(model(src, changed, tgt_mask=mask)[:, :3].detach().numpy(), out[:, :3].detach().numpy(), atol=1e-6)
    out.square().sum().backward()
    assert all(p.grad is not None and (p.grad.numpy() != 0).any() for p in model.parameters())


BAD: list[tuple[str, Callable[[Any, Any], Any], type[NyalaError], list[str]]] = [
    ("heads", lambda _m, _x: nn.MultiheadAttention(8, 3), ArgumentError, ["embed_dim=8 with 3 heads"]),
    ("width", lambda m, x: m(x[..., :6], x, x), ShapeError, ["query (N, L, E) = (2, 4, 6)", "(8, 8, 8)"]),
    ("steps", lambda m, x: m(x, x, x[:, :3]), ShapeError, ["N and S agree"]),
    ("mask", lambda m, x: m(x, x, x, attn_mask=nyala.ones(3, 4)), ShapeError, ["(3, 4)", "(4, 4) or (4, 4, 4)"]),
    ("padding", lambda m, x: m(x, x, x, key_padding_mask=nyala.ones(2, 3)), ShapeError, ["(N, S) = (2, 4)"]),
    ("hint alone", lambda m, x: m(x, x, x, is_causal=True), ArgumentError, ["without attn_mask"]),
]


@pytest.mark.parametrize(("act", "kind", "texts"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_is_named(act: Callable[[Any, Any], Any], kind: type[NyalaError], texts: list[str]) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    with pytest.raises(kind) as caught:
        act(layer, nyala.ones(2, 4, 8))
    for text in texts:
        assert text in str(caught.value)

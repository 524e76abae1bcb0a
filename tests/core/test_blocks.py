"""The transformer blocks that every domain builds from."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.errors import ArgumentError, ShapeError
from nyala.nn import functional as F

BERT = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value", "attn_drop": "attention.self.dropout",
    "out": "attention.output.dense", "drop1": "attention.output.dropout", "norm1": "attention.output.LayerNorm",
    "fc1": "intermediate.dense", "fc2": "output.dense", "drop2": "output.dropout", "norm2": "output.LayerNorm",
}  # fmt: skip
WHISPER_DECODER = {
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "out": "self_attn.out_proj",
    "norm1": "self_attn_layer_norm", "cross_q": "encoder_attn.q_proj", "cross_k": "encoder_attn.k_proj",
    "cross_v": "encoder_attn.v_proj", "cross_out": "encoder_attn.out_proj", "norm_cross": "encoder_attn_layer_norm",
    "fc1": "fc1", "fc2": "fc2", "norm2": "final_layer_norm",
}  # fmt: skip
LLAMA = {
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "out": "self_attn.o_proj",
    "norm1": "input_layernorm",
    "gate": "mlp.gate_proj", "fc1": "mlp.up_proj", "fc2": "mlp.down_proj", "norm2": "post_attention_layernorm",
}  # fmt: skip


def bert() -> nn.TransformerBlock:
    return nn.TransformerBlock(8, 2, 16, norm_first=False, dropout=0.1, attention={"dropout": 0.1}, names=BERT)


def vit() -> nn.TransformerBlock:
    return nn.TransformerBlock(8, 2, 16, layer_scale=0.5, drop_path=0.1, attention={"fused": True})


def whisper() -> nn.TransformerBlock:
    biases = {"bias": {"k": False}}
    return nn.TransformerBlock(
        8, 2, 16, attention={**biases, "is_causal": True}, cross={**biases, "kv_dim": 6}, names=WHISPER_DECODER
    )


def llama() -> nn.TransformerBlock:
    return nn.TransformerBlock(
        8, 4, 16, norm=lambda dim: nn.RMSNorm(dim, 1e-6), names=LLAMA, mlp={"act": "silu", "gated": True, "bias": False},
        attention={"num_kv_heads": 2, "bias": False, "position": nn.Rotary(2), "is_causal": True},
    )  # fmt: skip


def pairs(*names: str) -> set[str]:
    return {f"{n}.{p}" for n in names for p in ("weight", "bias")}


PUBLISHED = {
    "bert": (bert, pairs(*(BERT[r] for r in BERT if "drop" not in r))),
    "vit": (vit, pairs("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2") | {"ls1.gamma", "ls2.gamma"}),
    "whisper": (
        whisper,
        pairs(*WHISPER_DECODER.values()) - {"self_attn.k_proj.bias", "encoder_attn.k_proj.bias"},
    ),
    "llama": (llama, {f"{n}.weight" for n in LLAMA.values()}),
}


@pytest.fixture(autouse=True)
def seed() -> None:
    nyala.manual_seed(0)


def run(block: nn.TransformerBlock, x: Any, **kwargs: Any) -> Any:
    return block(x, context=nyala.linspace(-1, 1, 36).reshape(2, 3, 6), **kwargs) if block.cross else block(x, **kwargs)


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_are_the_published_ones_and_all_learn(name: str) -> None:
    build, names = PUBLISHED[name]
    block = build()
    assert set(block.state_dict()) == names
    run(block.eval(), nyala.randn(2, 5, 8)).square().sum().backward()
    silent = {n for n, p in block.named_parameters() if not (p.grad.numpy() != 0).any()}
    assert silent <= {"attention.self.key.bias"}  # softmax does not feel it


@pytest.mark.parametrize("name", PUBLISHED)
def test_copies_and_replaced_layers_are_used(name: str) -> None:
    block, x = PUBLISHED[name][0]().eval(), nyala.randn(2, 5, 8)
    expected = run(block, x)
    other = copy.deepcopy(block)
    assert run(other, x).equal(expected)
    path = next(n for n, m in other.named_modules() if isinstance(m, nn.Linear))
    other.set_submodule(path, nn.Sequential(other.get_submodule(path), nn.Hardtanh(-1e-3, 1e-3)))
    assert not run(other, x).equal(expected) and run(block, x).equal(expected)
    other.get_submodule("").train()
    assert all(m.training for m in other.modules())


def test_bert_is_its_definition() -> None:
    block, x = bert().eval(), nyala.randn(2, 5, 8)
    seen = nyala.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool().unsqueeze(1).unsqueeze(2)
    attention = block.attention

    def heads(t: Any) -> Any:
        return t.reshape(2, 5, 2, 4).transpose(1, 2)

    q, k, v = (heads(getattr(attention.self, n)(x)) for n in ("query", "key", "value"))
    mixed = F.scaled_dot_product_attention(q, k, v, seen).transpose(1, 2).reshape(2, 5, 8)
    y = attention.output.LayerNorm(x + attention.output.dense(mixed))
    expected = block.output.LayerNorm(y + block.output.dense(F.gelu(block.intermediate.dense(y))))
    np.testing.assert_allclose(block(x, mask=seen).detach().numpy(), expected.detach().numpy(), atol=1e-6)


def test_gated_mlp_and_grouped_heads_are_their_definitions() -> None:
    block, x = llama(), nyala.randn(2, 5, 8)
    mlp = block.mlp
    y = block.post_attention_layernorm(x)
    np.testing.assert_allclose(
        block.mlp_part(block, y).detach().numpy(),
        mlp.down_proj(F.silu(mlp.gate_proj(y)) * mlp.up_proj(y)).detach().numpy(),
        atol=1e-6,
    )
    assert block.self_attn.k_proj.weight.shape == (4, 8)
    full = nn.Attention(8, 4, bias=False)
    small = nn.Attention(8, 4, num_kv_heads=2, bias=False)
    for role in ("q", "proj"):
        getattr(full, role).weight.data.copy_(getattr(small, role).weight.detach())
    for role in ("k", "v"):
        shared = getattr(small, role).weight.detach().reshape(2, 1, 2, 8).expand(2, 2, 2, 8).reshape(8, 8)
        getattr(full, role).weight.data.copy_(shared)
    np.testing.assert_allclose(full(x).detach().numpy(), small(x).detach().numpy(), atol=1e-6)


def test_fused_and_separate_projections_agree() -> None:
    x = nyala.randn(2, 5, 8)
    fused, separate = nn.Attention(8, 2, fused=True), nn.Attention(8, 2)
    for i, role in enumerate("qkv"):
        for part in ("weight", "bias"):
            getattr(getattr(separate, role), part).data.copy_(getattr(fused.qkv, part).detach()[8 * i : 8 * i + 8])
    separate.proj.load_state_dict(fused.proj.state_dict())
    np.testing.assert_allclose(fused(x).detach().numpy(), separate(x).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_scores_depend_on_distance_alone(interleaved: bool) -> None:
    turn = nn.Rotary(4, interleaved=interleaved)
    q, k = nyala.randn(1, 1, 1, 6, dtype="float64"), nyala.randn(1, 1, 1, 6, dtype="float64")

    def score(a: int, b: int) -> float:
        return float((turn(q, k, a)[0] * turn(q, k, b)[1]).sum())

    assert score(7, 3) == pytest.approx(score(14, 10), abs=1e-12)
    assert score(7, 3) != pytest.approx(score(7, 4), abs=1e-3)
    turned = turn(q, k, 5)[0]
    assert float((turned**2).sum()) == pytest.approx(float((q**2).sum()))
    assert turned[..., 4:].equal(q[..., 4:])


@pytest.mark.parametrize("build", [llama, whisper], ids=["llama", "whisper"])
def test_token_by_token_equals_all_at_once(build: Any) -> None:
    block, x = build().eval(), nyala.randn(2, 6, 8)
    whole = run(block, x).detach().numpy()
    cache = nn.KVCache()
    parts = [run(block, x[:, a:b], cache=cache) for a, b in ((0, 3), (3, 4), (4, 6))]
    np.testing.assert_allclose(np.concatenate([p.detach().numpy() for p in parts], 1), whole, atol=1e-5)
    assert cache.length == 6


def test_causal_and_padding_masks_join() -> None:
    layer, x = nn.Attention(8, 2, is_causal=True), nyala.randn(1, 4, 8)
    seen = nyala.tensor([True, True, False, True]).reshape(1, 1, 1, 4)
    added = nyala.tensor(np.where([1, 1, 0, 1], 0.0, -np.inf).reshape(1, 1, 1, 4), dtype="float32")
    by_bool, by_float = layer(x, mask=seen), layer(x, mask=added)
    np.testing.assert_allclose(by_bool.detach().numpy(), by_float.detach().numpy(), atol=1e-6)
    changed = x.clone()
    changed[:, 2] = 9.0
    np.testing.assert_allclose(
        layer(changed, mask=seen)[:, [0, 1, 3]].detach().numpy(), by_bool[:, [0, 1, 3]].detach().numpy(), atol=1e-6
    )


def test_checkpointed_blocks_give_the_same_gradients() -> None:
    block, x = whisper(), nyala.randn(2, 5, 8)
    context = nyala.randn(2, 3, 6, requires_grad=True)
    block(x, context=context).square().sum().backward()
    expected = [p.grad.numpy() for p in (*block.parameters(), context)]
    block.zero_grad()
    context.grad = None
    block.checkpoint_()(x, context=context).square().sum().backward()
    for p, e in zip((*block.parameters(), context), expected, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), e)


@pytest.mark.parametrize(
    ("act", "kind", "texts"),
    [
        (lambda: nn.Attention(8, 3), ArgumentError, ["width 8 with 3 heads"]),
        (lambda: nn.Attention(8, 4, num_kv_heads=3), ArgumentError, ["4 heads share 3"]),
        (lambda: nn.Attention(8, 2, fused=True, kv_dim=4), ArgumentError, ["fused"]),
        (lambda: nn.Attention(8, 2, names={"query": "q"}), ArgumentError, ["no layer has the role 'query'"]),
        (lambda: nn.Attention(8, 2)(nyala.ones(2, 4, 6)), ShapeError, ["width 8 got (2, 4, 6)"]),
        (lambda: nn.Attention(8, 2, fused=True)(nyala.ones(2, 4, 8), nyala.ones(2, 3, 8)), ArgumentError, ["fused=False"]),
        (lambda: whisper()(nyala.ones(2, 4, 8)), ArgumentError, ["built with cross got no context"]),
        (lambda: llama()(nyala.ones(2, 4, 8), nyala.ones(2, 4, 8)), ArgumentError, ["without cross got a context"]),
        (lambda: nn.MLP(8, 16, act="gelo"), ArgumentError, ["'gelo'", "'gelu'"]),
        (lambda: nn.Rotary(3), ArgumentError, ["dim=3", "pairs"]),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(act: Any, kind: Any, texts: list[str]) -> None:
    with pytest.raises(kind) as caught:
        act()
    for text in texts:
        assert text in str(caught.value)


# ---- what decoders ask for


def seen(length: int, window: int, causal: bool) -> np.ndarray:
    far = np.arange(length)[:, None] - np.arange(length)
    return (far < window) & ((far >= 0) if causal else (far > -window))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [1, 3, 6, 99])
def test_a_window_is_the_mask_of_the_places_near(window: int, causal: bool) -> None:
    nyala.manual_seed(0)
    layer = nn.Attention(8, 2, is_causal=causal, window=window).eval()
    plain = nn.Attention(8, 2).eval()
    plain.load_state_dict(layer.state_dict())
    x = nyala.randn(2, 6, 8)
    near = nyala.from_numpy(seen(6, window, causal))
    with nyala.no_grad():
        np.testing.assert_allclose(layer(x).numpy(), plain(x, mask=near).numpy(), rtol=1e-5, atol=1e-6)
        bias = nyala.randn(1, 1, 6, 6)
        added = bias.masked_fill(~near, -math.inf)
        np.testing.assert_allclose(layer(x, mask=bias).numpy(), plain(x, mask=added).numpy(), rtol=1e-5, atol=1e-6)


def test_heads_may_lie_together() -> None:
    nyala.manual_seed(0)
    apart, together = nn.Attention(8, 2).eval(), nn.Attention(8, 2, fused="heads").eval()
    state = apart.state_dict()
    for part in ("weight", "bias"):
        three = [state[f"{role}.{part}"].numpy().reshape(2, 4, -1) for role in "qkv"]
        together.get_parameter(f"qkv.{part}").array[...] = np.stack(three, 1).reshape(24, -1).reshape(state_shape(part))
    together.proj.load_state_dict(apart.proj.state_dict())
    x = nyala.randn(2, 5, 8)
    with nyala.no_grad():
        np.testing.assert_allclose(together(x).numpy(), apart(x).numpy(), rtol=1e-5, atol=1e-6)


def state_shape(part: str) -> tuple[int, ...]:
    return (24, 8) if part == "weight" else (24,)


def test_parallel_and_sandwiched_blocks_are_what_they_say() -> None:
    x = nyala.randn(2, 5, 8)
    with nyala.no_grad():
        block = nn.TransformerBlock(8, 2, 16, parallel=True).eval()
        expected = x + block.attn_part(block, block.norm1(x)) + block.mlp_part(block, block.norm2(x))
        np.testing.assert_allclose(block(x).numpy(), expected.numpy(), rtol=1e-6)
        block = nn.TransformerBlock(8, 2, 16, sandwich=True, attention={"qk_norm": nn.RMSNorm}).eval()
        y = x + block.post_norm1(block.attn_part(block, block.norm1(x)))
        expected = y + block.post_norm2(block.mlp_part(block, block.norm2(y)))
        np.testing.assert_allclose(block(x).numpy(), expected.numpy(), rtol=1e-6)
    assert block.get_parameter("attn.q_norm.weight").shape == (4,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parallel": True, "norm_first": False}, "parallel block"),
        ({"parallel": True, "cross": True}, "parallel block"),
        ({"attention": {"window": 0}}, "window=0"),
        ({"attention": {"fused": "heads", "num_kv_heads": 1}}, "shared keys"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        nn.TransformerBlock(8, 2, 16, **settings)

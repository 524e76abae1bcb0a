"""Weights in int4, int8 and bfloat16: the kernels, how far they are off, and the layers that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.core.kernels import CPU, reference
from nyala.core.kernels.cpu.running import parallel
from nyala.core.kernels.cpu.running.threads import thread_count
from nyala.core.kernels.reference.after import After
from nyala.core.kernels.reference.quantized import dequantized, unpacked
from nyala.core.ops.quantized import quantize_int4, quantize_int8, quantized_linear
from nyala.errors import ArgumentError, GradError, ShapeError


def normal(*shape: int) -> Any:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


SIZES = [(1, 1, 1), (15, 17, 64), (64, 256, 64), (65, 300, 128), (33, 70, 7), (130, 2100, 128), (40, 576, 576)]
SIZED = pytest.mark.parametrize(("outputs", "width", "group"), SIZES)


def int8(outputs: int, width: int, group: int) -> tuple[Any, Any]:
    weight, scales = quantize_int8(nyala.from_numpy(normal(outputs, width)), group)
    return weight.numpy(), scales.numpy()


@SIZED
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 9, 50])
def test_kernels_have_the_bits_of_the_widened_weight(rows: int, outputs: int, width: int, group: int) -> None:
    x, bias, residual = normal(rows, width), normal(outputs), normal(rows, outputs)
    weight, scales = int8(outputs, width, group)
    half = normal(outputs, width).astype(ml_dtypes.bfloat16)
    for after in (None, After(normal(outputs), bias, residual, "silu")):
        expected = CPU.linear(x, dequantized(weight, scales, group), bias, after)
        np.testing.assert_array_equal(CPU.linear_int8(x, weight, scales, group, bias, after), expected)
        columns = np.asfortranarray(weight)
        np.testing.assert_array_equal(CPU.linear_int8(x, columns, scales, group, bias, after), expected)
        expected = CPU.linear(x, half.astype(np.float32), bias, after)
        np.testing.assert_array_equal(CPU.linear_bf16(x, half, bias, after), expected)
        np.testing.assert_array_equal(CPU.linear_bf16(x, np.asfortranarray(half), bias, after), expected)


PAIRED = [(1, 1, 32), (15, 17, 32), (64, 256, 64), (65, 300, 128), (33, 71, 32), (130, 2100, 128), (40, 576, 32)]


def int4(outputs: int, width: int, group: int) -> tuple[Any, Any]:
    weight, scales = quantize_int4(nyala.from_numpy(normal(outputs, width)), group)
    return weight.numpy(), scales.array


@pytest.mark.parametrize(("outputs", "width", "group"), PAIRED)
@pytest.mark.parametrize("rows", [1, 3, 8, 9, 50])
def test_int4_has_the_bits_of_the_widened_weight(rows: int, outputs: int, width: int, group: int) -> None:
    x, bias, residual = normal(rows, width), normal(outputs), normal(rows, outputs)
    weight, scales = int4(outputs, width, group)
    for after in (None, After(normal(outputs), bias, residual, "silu")):
        expected = CPU.linear(x, unpacked(weight, scales, group, width), bias, after)
        for lies in (np.ascontiguousarray, np.asfortranarray):
            got = CPU.linear_int4(x, lies(weight), lies(scales), group, bias, after)
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("group", [32, 64, 128])
def test_int4_is_off_by_half_a_scale_or_cut_at_seven(group: int) -> None:
    w = normal(50, 301)
    w[3], w[4, :group], w[5] = 0, 1e-42, np.clip(w[5], -1, 1)
    weight, scales = quantize_int4(nyala.from_numpy(w), group)
    assert weight.dtype == np.uint8 and weight.shape == (50, 151) and scales.shape == (50, -(-301 // group))
    got, wide = unpacked(weight.numpy(), scales.array, group, 301), scales.array.astype(np.float32).repeat(group, axis=1)[:, :301]
    error, share = abs(got - w), np.divide(w, wide, out=np.zeros_like(w), where=wide != 0)
    cut = share > 7.5
    assert cut.any() and (error[~cut] <= abs(wide[~cut]) * 0.5001 + 1e-42).all() and (error[cut] <= abs(wide[cut]) * 1.04).all()
    assert not error[3].any()


def test_int4_is_packed_as_q4_0_computes_it() -> None:
    """As llama.cpp rounds a block: the largest by size becomes -8, then round(x / d + 8), cut to four bits."""
    w = normal(20, 64)
    weight, scales = quantize_int4(nyala.from_numpy(w))
    codes = np.stack([weight.numpy() & 15, weight.numpy() >> 4], 2).reshape(20, 2, 32)
    for row, blocks in zip(codes, w.reshape(20, 2, 32), strict=True):
        for code, block in zip(row, blocks, strict=True):
            d = np.float32(ml_dtypes.bfloat16(block[abs(block).argmax()] / -8))
            np.testing.assert_array_equal(code, np.minimum(np.trunc(block / d + np.float32(8.5)), 15).clip(0))
    assert scales.dtype == ml_dtypes.bfloat16


def test_large_weights_are_widened_in_slabs() -> None:
    x, residual = normal(9, 700), normal(9, 3000)
    weight, scales = int8(3000, 700, 128)
    after = After(residual=residual, activation="relu")
    np.testing.assert_array_equal(
        CPU.linear_int8(x, weight, scales, 128, None, after), CPU.linear(x, dequantized(weight, scales, 128), None, after)
    )


@pytest.fixture
def threads() -> Iterator[Any]:
    yield parallel.start
    parallel.start(thread_count())


def test_the_bits_do_not_depend_on_the_threads(threads: Any) -> None:
    x, (weight, scales), pairs, found = normal(20, 700), int8(300, 700, 128), int4(300, 700, 64), []
    for number in (1, 2, 3):
        threads(number)
        found.append([CPU.linear_int8(x[:n], weight, scales, 128).tobytes() for n in (1, 5, 20)])
        found[-1] += [CPU.linear_int4(x[:n], *pairs, 64).tobytes() for n in (1, 5, 20)]
    assert found[0] == found[1] == found[2]


def test_a_row_alone_gets_what_it_gets_among_many() -> None:
    x, (weight, scales) = normal(40, 300), int8(70, 300, 64)
    whole = CPU.linear_int8(x, weight, scales, 64)
    for rows in (slice(0, 1), slice(5, 8), slice(30, 40)):
        np.testing.assert_array_equal(CPU.linear_int8(x[rows], weight, scales, 64), whole[rows])


@pytest.mark.parametrize("group", [None, 64, 128])
def test_int8_is_off_by_half_a_scale_at_most(group: int | None) -> None:
    w = normal(50, 300)
    w[3] = 0
    weight, scales = quantize_int8(nyala.from_numpy(w), group)
    assert weight.dtype == np.int8 and weight.numpy().min() >= -127
    error = abs(dequantized(weight.numpy(), scales.numpy(), group or 300) - w)
    bound = (scales.numpy() * 0.5001).repeat(group or 300, axis=1)[:, :300]
    assert (error <= bound).all() and not error[3].any()


@pytest.mark.parametrize(
    ("dtype", "group", "most"),
    [("int4", None, 0.1), ("int4", 128, 0.13), ("int8", None, 0.012), ("int8", 64, 0.008), ("bfloat16", None, 0.003)],
)
def test_how_far_results_are_off(dtype: str, group: int | None, most: float) -> None:
    """The error's norm over the result's norm, for normal weights and inputs."""
    nyala.manual_seed(0)
    layer = nn.Linear(768, 256)
    layer.weight.data.normal_()
    x = nyala.randn(32, 768)
    expected = layer(x).detach().numpy()
    with nyala.no_grad():
        got = nn.QuantizedLinear.from_linear(layer, dtype, group)(x).numpy()
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < most


def model() -> nn.Module:
    nyala.manual_seed(1)
    return nn.Sequential(
        nn.TransformerBlock(32, 4, 64, attention={"num_kv_heads": 2, "position": nn.Rotary(8), "is_causal": True}),
        nn.LayerNorm(32),
        nn.Linear(32, 100, bias=False),
    )


@pytest.mark.parametrize(("dtype", "group"), [("int4", None), ("int4", 64), ("int8", None), ("int8", 16), ("bfloat16", None)])
def test_a_quantized_model_is_saved_and_loaded(dtype: str, group: int | None, tmp_path: Path) -> None:
    original, x = model().eval(), nyala.randn(2, 5, 32)
    expected = original(x).detach().numpy()
    quantized = nn.quantize(model(), dtype, group)
    assert not any(type(m) is nn.Linear for m in quantized.modules()) and not quantized.training
    with nyala.inference_mode():
        got = quantized(x).numpy()
    assert 0 < np.linalg.norm(got - expected) / np.linalg.norm(expected) < (0.2 if dtype == "int4" else 0.05)
    state = quantized.state_dict()
    held = state["2.weight"].dtype.name, state["2.scales"].dtype.name if "2.scales" in state else None
    assert held == {"int4": ("uint8", "bfloat16"), "int8": ("int8", "float32"), "bfloat16": ("bfloat16", None)}[dtype]
    assert "2.bias" not in state
    nyala.checkpoint.save_file({n: t.numpy() for n, t in state.items()}, tmp_path / "model.safetensors")
    nyala.manual_seed(9)
    other = nn.quantize(model(), dtype, group)
    other[2].weight.zero_()
    other.load_state_dict(nyala.checkpoint.load_file(tmp_path / "model.safetensors"))
    with nyala.inference_mode():
        np.testing.assert_array_equal(other(x).numpy(), got)


def test_some_layers_are_left_alone_and_shared_ones_stay_shared() -> None:
    shared = nn.Linear(8, 8)
    net = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(8, 2))
    nn.quantize(net, skip="3")
    assert net[0] is net[2] and isinstance(net[0], nn.QuantizedLinear) and type(net[3]) is nn.Linear
    assert isinstance(nn.quantize(shared, "bfloat16"), nn.QuantizedLinear)


def test_half_precision_inputs() -> None:
    layer = nn.quantize(nn.Linear(30, 20))
    x = nyala.from_numpy(normal(3, 30))
    with nyala.no_grad():
        out = layer(x.half())
        assert out.dtype == np.float16
        np.testing.assert_allclose(out.numpy(), layer(x).numpy(), atol=5e-3)


@pytest.mark.parametrize("dtype", ["int4", "int8", "bfloat16"])
def test_weights_and_scales_keep_their_dtypes(dtype: str) -> None:
    layer = nn.quantize(nn.Linear(40, 20), dtype)
    x = nyala.from_numpy(normal(3, 40))
    held = {name: b.dtype for name, b in layer.named_buffers()}
    before = layer(x).numpy()
    assert layer.half().bias is not None and layer.bias.dtype == np.float16
    assert layer(x.half()).dtype == np.float16
    layer.float()
    assert {name: b.dtype for name, b in layer.named_buffers()} == held
    np.testing.assert_allclose(layer(x).numpy(), before, atol=1e-3)


@pytest.mark.parametrize(("given", "own"), [(("int4", 32), ("int4", 64)), (("int8", None), None), (None, ("int8", None))])
def test_states_of_other_groups_and_dtypes_are_named(given: Any, own: Any) -> None:
    saved, made = (
        nn.Sequential(nn.Linear(96, 8)) if q is None else nn.quantize(nn.Sequential(nn.Linear(96, 8)), *q) for q in (given, own)
    )
    with pytest.raises(nyala.errors.CheckpointError, match=r"(?s)0\.scales.*same dtype, group_size and skip"):
        made.load_state_dict(saved.state_dict())


def test_training_is_refused_with_a_remedy() -> None:
    layer, x = nn.quantize(nn.Linear(4, 3)), nyala.ones(2, 4)
    assert not list(layer.parameters())
    layer(x)  # evaluated, on an input without gradient
    with pytest.raises(GradError, match=r"requires a gradient.*no_grad"):
        layer(nyala.ones(2, 4, requires_grad=True))
    with pytest.raises(GradError, match=r"training mode.*model\.eval\(\)"):
        layer.train()(x)
    with nyala.no_grad():
        layer(x)


@pytest.mark.parametrize(
    ("act", "kind", "text"),
    [
        (lambda: nn.quantize(nn.ReLU()), ArgumentError, "no Linear in ReLU"),
        (lambda: nn.quantize(model(), "int4x"), Exception, "int4x"),
        (lambda: nn.quantize(model(), "float16"), ArgumentError, "dtype=float16.*'int4', 'int8' or 'bfloat16'"),
        (lambda: nn.quantize(model(), "int4", 48), ArgumentError, "group_size=48 of int4.*32, 64 or 128"),
        (lambda: nn.quantize(model(), "int4", activations="int4"), ArgumentError, "activations='int4' with weights of int4"),
        (lambda: quantize_int4(nyala.ones(3)), ShapeError, r"shape \(3,\)"),
        (lambda: quantize_int4(nyala.ones(3, 4), 0), ArgumentError, "group_size=0 of int4"),
        (lambda: nn.quantize(nn.Linear(4, 3), "int4")(nyala.ones(2, 5)), ShapeError, r"\(2, 5\).*in / 2.*\(3, 2\)"),
        (lambda: quantized_linear(nyala.ones(1, 4), quantize_int4(nyala.ones(2, 4))[0]), ShapeError, "scales of shape None"),
        (lambda: quantized_linear(nyala.ones(1, 64), *quantize_int4(nyala.ones(2, 64), 64)), ShapeError, r"\(2, 1\), \(2, 2\)"),
        (lambda: nn.quantize(model(), skip="head"), ArgumentError, "skip='head' fits no Linear"),
        (lambda: nn.quantize(model(), "bfloat16", 64), ArgumentError, "group_size=64 of bfloat16"),
        (lambda: nn.quantize(model(), group_size=0), ArgumentError, "group_size=0"),
        (lambda: quantize_int8(nyala.ones(3)), ShapeError, r"shape \(3,\)"),
        (lambda: nn.quantize(nn.Linear(4, 3))(nyala.ones(2, 5)), ShapeError, r"\(2, 5\).*\(3, 4\)"),
        (lambda: quantized_linear(nyala.tensor(1.0), *quantize_int8(nyala.ones(2, 1))), ShapeError, r"shape \(\)"),
    ],
)  # fmt: skip
def test_bad_input_is_named(act: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=f"(?s){text}"):
        act()


@pytest.mark.parametrize("shape", [(0, 6), (3, 0), (0, 0)])
def test_empty(shape: tuple[int, int]) -> None:
    rows, width = shape
    weight, scales = np.zeros((5, width), np.int8), np.ones((5, 1), np.float32)
    assert CPU.linear_int8(np.ones((rows, width), np.float32), weight, scales, max(1, width)).shape == (rows, 5)
    assert CPU.linear_bf16(np.ones((rows, width), np.float32), weight.astype(ml_dtypes.bfloat16)).shape == (rows, 5)
    pairs = quantize_int4(nyala.zeros(5, width))
    assert quantized_linear(nyala.ones(rows, width), *pairs).shape == (rows, 5)


def test_other_layouts_and_dtypes_fall_to_the_reference() -> None:
    x, (weight, scales) = normal(3, 40), int8(20, 40, 40)
    expected = CPU.linear_int8(x, weight, scales, 40)
    np.testing.assert_allclose(CPU.linear_int8(x, np.asfortranarray(weight), scales, 40), expected, rtol=1e-5, atol=1e-5)
    double = CPU.linear_int8(x.astype(np.float64), weight, scales, 40)
    assert double.dtype == np.float64
    np.testing.assert_allclose(double, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(reference.KERNELS["linear_int8"](x, weight, scales, 40), expected, rtol=1e-4, atol=1e-5)
    pairs = int4(20, 40, 32)
    expected = CPU.linear_int4(x, *pairs, 32)
    for got in (CPU.linear_int4(x.astype(np.float64), *pairs, 32), reference.KERNELS["linear_int4"](x, *pairs, 32)):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)

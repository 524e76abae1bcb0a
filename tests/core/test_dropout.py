"""Dropout: frequencies, scaling, replay, and the random bits behind it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import nyala
import pytest
from nyala.core import kernels
from nyala.core.kernels import reference
from nyala.core.ops import dropout as ops
from nyala.errors import ArgumentError, ShapeError
from nyala.testing import Bad, OpCase, check_op

KEY = nyala.random.key(0, "test")
VECTORS = [  # counter, key, words: Random123's known answers for Philox4x32-10
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def ones(*shape: int) -> nyala.Tensor:
    return nyala.ones(*shape)


CASES = [
    OpCase(
        name,
        lambda x, function=function: function(x, 0.4, training=True, key=KEY),
        lambda s, shape=shape: (s.normal(*shape),),
        None,
        dtypes=("float32",),
        errors=[Bad(lambda function=function: function(ones(2, 2, 2), 1.5), ArgumentError, r"p=1.5.*from 0 to 1")],
    )
    for name, function, shape in [
        ("dropout", ops.dropout, (3, 5)),
        ("dropout1d", ops.dropout1d, (3, 5, 2)),
        ("dropout2d", ops.dropout2d, (3, 5, 2, 2)),
        ("dropout3d", ops.dropout3d, (3, 5, 2, 1, 2)),
        ("alpha_dropout", ops.alpha_dropout, (3, 5)),
    ]
] + [
    OpCase(
        "drop_path", lambda x: ops.drop_path(x, 0.4, True, key=KEY), lambda s: (s.normal(6, 2, 2),), None, dtypes=("float32",)
    ),
    OpCase(
        "dropout2d of a vector",
        lambda x: x * 1.0,
        lambda s: (s.normal(2),),
        errors=[Bad(lambda: ops.dropout2d(ones(3)), ShapeError, r"\(3,\).*\(N, C")],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_operation(case: OpCase) -> None:
    check_op(case)


@pytest.mark.parametrize(("counter", "key", "words"), VECTORS)
def test_keys_are_made_with_the_published_generator(
    counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]
) -> None:
    assert nyala.random._block(*key, *counter) == words[:2]


def test_words_are_those_of_the_published_generator() -> None:
    for name, philox in (("reference", reference.KERNELS["philox"]), ("cpu", kernels.CPU.philox)):
        assert tuple(int(w) for w in philox(np, (0, 0), 4)) == VECTORS[0][2], name


def philox_in_python(key: tuple[int, int], block: int) -> list[int]:
    """Philox4x32-10 on Python's whole numbers, after the paper."""
    c, k = [block & 0xFFFFFFFF, block >> 32, 0, 0], list(key)
    for _ in range(10):
        low, high = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(high >> 32) ^ c[1] ^ k[0], high & 0xFFFFFFFF, (low >> 32) ^ c[3] ^ k[1], low & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 1023, 1025, 70_001])
def test_the_quick_generator_has_the_reference_bits(count: int) -> None:
    key = (0xDEADBEEF, 0x12345678)
    words = kernels.CPU.philox(np, key, count)
    assert words.dtype == np.uint32
    np.testing.assert_array_equal(words, reference.KERNELS["philox"](np, key, count))
    for block in {0, count // 4 - 1, count // 8} if count > 7 else ():
        assert words[4 * block : 4 * block + 4].tolist() == philox_in_python(key, block)


@pytest.mark.parametrize("count", [0, 1, 6, 1024, 4099, 70_001])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.999])
def test_the_quick_dropout_has_the_reference_bits(count: int, p: float) -> None:
    x = np.random.default_rng(0).normal(size=count).astype(np.float32)
    quick = kernels.CPU.dropout(x, p, KEY.words)
    np.testing.assert_array_equal(quick, reference.KERNELS["dropout"](x, p, KEY.words))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_dtype_drops_the_same_elements(dtype: str) -> None:
    y = ops.dropout(nyala.ones(1000, dtype=dtype), 0.25, key=KEY)
    expected = KEY.bits(1000) >= np.uint32(2**30)
    np.testing.assert_array_equal(y.float().numpy() != 0, expected)
    np.testing.assert_allclose(y.float().numpy()[expected], 1 / 0.75, rtol=1e-2 if dtype == "bfloat16" else 1e-3)


@pytest.mark.parametrize("function", [ops.dropout, ops.alpha_dropout])
def test_mean_and_frequency(function: Callable[..., nyala.Tensor]) -> None:
    x = nyala.randn(200_000)
    y = function(x, 0.3, training=True).numpy()
    assert abs(y.mean() - x.numpy().mean()) < 0.01
    values, counts = np.unique(y, return_counts=True)
    assert abs(counts.max() / y.size - 0.3) < 0.01
    if function is ops.alpha_dropout:
        assert abs(y.var() - 1) < 0.02
    else:
        assert values[counts.argmax()] == 0


def test_whole_channels_and_whole_samples() -> None:
    for y, axes in (
        (ops.dropout1d(ones(8, 6, 5), 0.5), 1),
        (ops.dropout2d(ones(8, 6, 5, 3), 0.5), 2),
        (ops.dropout3d(ones(8, 6, 5, 3, 2), 0.5), 3),
    ):
        flat = y.numpy().reshape(48, -1)
        assert (flat == flat[:, :1]).all() and set(np.unique(flat)) == {0.0, 2.0}, axes
    rows = ops.drop_path(ones(40, 3, 2), 0.5, True).numpy().reshape(40, -1)
    assert (rows == rows[:, :1]).all() and set(np.unique(rows)) == {0.0, 2.0}
    assert set(np.unique(ops.drop_path(ones(40, 3), 0.5, True, scale_by_keep=False).numpy())) == {0.0, 1.0}
    assert ops.dropout1d(ones(6, 5), 0.5).shape == (6, 5)


def test_nothing_happens_while_evaluating_and_everything_goes_at_one() -> None:
    x = nyala.randn(3, 4, 5)
    for function in (ops.dropout, ops.dropout1d, ops.dropout2d, ops.alpha_dropout, ops.drop_path):
        assert function(x, 0.5, training=False) is x
        assert function(x, 0.0, training=True) is x
        assert (function(x, 1.0, training=True).numpy() == 0).all()


def test_in_place() -> None:
    x = nyala.ones(1000)
    y = ops.dropout(x, 0.5, inplace=True, key=KEY)
    assert y is x
    np.testing.assert_array_equal(x.numpy(), ops.dropout(nyala.ones(1000), 0.5, key=KEY).numpy())


def test_the_ambient_stream_is_replayed_after_the_same_seed() -> None:
    nyala.manual_seed(1)
    first, second = (ops.dropout(nyala.ones(100)).numpy() for _ in range(2))
    nyala.manual_seed(1)
    np.testing.assert_array_equal(ops.dropout(nyala.ones(100)).numpy(), first)
    assert (first != second).any()


def test_the_layout_in_memory_does_not_choose_the_elements() -> None:
    x = nyala.from_numpy(np.ones((40, 30), np.float32))
    straight = ops.dropout(x, 0.5, key=KEY).numpy()
    turned = ops.dropout(nyala.from_numpy(np.ones((30, 40), np.float32).T), 0.5, key=KEY).numpy()
    np.testing.assert_array_equal(straight, turned)

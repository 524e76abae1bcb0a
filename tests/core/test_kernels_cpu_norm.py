"""Norms, softmax and cross-entropy on the CPU: against the reference in float64, and what their bits may depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from nyala.core.kernels import CPU, reference
from nyala.core.kernels.cpu.matrix.after import ends
from nyala.core.kernels.cpu.running import parallel
from nyala.core.kernels.reference.after import After

Arrays = tuple[Any, ...]


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def last(x: Any) -> Any:
    """The same values with the channels side by side in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def rows(shape: tuple[int, ...], weight: bool = True, bias: bool = True) -> Arrays:
    x = normal(*shape) * 2 + 1
    return x, normal(shape[-1]) if weight else None, normal(shape[-1], seed=1) if bias else None, 1e-5


def rows_back(shape: tuple[int, ...], weight: bool, affine: bool) -> Arrays:
    x, w, b, eps = rows(shape, weight)
    return normal(*shape, seed=2), x, w, *reference.KERNELS["layer_norm"](x, w, b, eps)[1:], affine


def rms(shape: tuple[int, ...], weight: bool) -> Arrays:
    x, w, _, eps = rows(shape, weight)
    return x, w, eps


def rms_back(shape: tuple[int, ...], weight: bool, affine: bool) -> Arrays:
    x, w, eps = rms(shape, weight)
    return normal(*shape, seed=2), x, w, reference.KERNELS["rms_norm"](x, w, eps)[1], affine


def batch(shape: tuple[int, ...], turn: Callable[[Any], Any], weight: bool = True) -> Arrays:
    x = turn(normal(*shape) * 2 + 5)
    return x, normal(shape[1]) if weight else None, normal(shape[1], seed=1) if weight else None, 1e-5


def batch_back(shape: tuple[int, ...], turn: Callable[[Any], Any]) -> Arrays:
    x, w, b, eps = batch(shape, turn)
    return turn(normal(*shape, seed=2)), x, w, *reference.KERNELS["batch_norm"](x, w, b, eps)[1:], eps


def batch_act(shape: tuple[int, ...], turn: Callable[[Any], Any], activation: str) -> Arrays:
    x, w, b, eps = batch(shape, turn)
    return x, w * 4, b, eps, activation


def batch_act_back(shape: tuple[int, ...], turn: Callable[[Any], Any], activation: str) -> Arrays:
    x, w, b, eps, _ = batch_act(shape, turn, activation)
    return turn(normal(*shape, seed=2)), x, w, *reference.KERNELS["batch_norm"](x, w, b, eps)[1:], eps, b, activation


def batch_eval(shape: tuple[int, ...], turn: Callable[[Any], Any]) -> Arrays:
    x, w, b, eps = batch(shape, turn)
    return x, normal(shape[1], seed=4), normal(shape[1], seed=3) ** 2, w, b, eps


def grouped(shape: tuple[int, ...], groups: int, turn: Callable[[Any], Any], weight: bool = True) -> Arrays:
    x, w, b, eps = batch(shape, turn, weight)
    return x, groups, w, b, eps


def grouped_back(shape: tuple[int, ...], groups: int, turn: Callable[[Any], Any], weight: bool = True) -> Arrays:
    x, _, w, b, eps = grouped(shape, groups, turn, weight)
    return turn(normal(*shape, seed=2)), x, groups, w, *reference.KERNELS["group_norm"](x, groups, w, b, eps)[1:]


def labels(count: int, classes: int, ignored: bool) -> Any:
    target = np.random.default_rng(classes).integers(0, classes, count)
    if ignored:
        target[::3] = -1
    return target


def entropy(count: int, classes: int, weight: bool, smoothing: float) -> Arrays:
    return normal(count, classes) * 5, labels(count, classes, weight), abs(normal(classes)) if weight else None, smoothing


def entropy_back(count: int, classes: int, weight: bool, smoothing: float) -> Arrays:
    given = entropy(count, classes, weight, smoothing)
    x, target, w, _ = given
    kept = reference.KERNELS["cross_entropy"](*given)[2]
    return normal(count, seed=3), x, kept, target, w, smoothing


def plain(x: Any) -> Any:
    return x


def softmaxed(name: str, x: Any, axis: int) -> Arrays:
    return np.cos(x), reference.KERNELS[name](x, axis), axis


ROWS = [(300, 384), (1, 1), (3, 5), (2, 70_001), (7, 3, 17), (129, 1)]
BACK = [s for s in ROWS if s[-1] > 1]  # of one number nothing but the last bits of eps is left
IMAGES = [(4, 7, 9, 11), (3, 70, 33, 20), (130, 40), (2, 600, 3), (9, 3, 1, 1), (2, 2, 200, 211)]
GROUPS = [((4, 6, 9, 11), 3), ((2, 64, 33, 20), 32), ((13, 40), 4), ((3, 6, 40), 6), ((2, 12, 5), 1), ((1, 512, 301), 512)]
ALONG = [((40, 131), 1), ((31, 70), 0), ((2, 5, 40, 13), 1), ((2, 3, 4, 5), 2), ((1, 1), 0), ((3, 40_000), -1), ((9, 1, 6), 1)]
CASES: list[tuple[str, str, Callable[[], Arrays]]] = [
    *[("layer_norm", f"{s}{w}{b}", lambda s=s, w=w, b=b: rows(s, w, b)) for s, w, b in
      [*[(s, True, True) for s in ROWS], ((5, 33), False, False), ((5, 33), True, False), ((5, 33), False, True)]],
    *[("layer_norm_backward", f"{s}{w}{a}", lambda s=s, w=w, a=a: rows_back(s, w, a)) for s, w, a in
      [*[(s, True, True) for s in BACK], ((5, 33), False, False), ((5, 33), True, False), ((5, 33), False, True)]],
    *[("rms_norm", f"{s}{w}", lambda s=s, w=w: rms(s, w)) for s in ROWS for w in (True, False)],
    *[("rms_norm_backward", f"{s}{w}", lambda s=s, w=w, a=a: rms_back(s, w, a)) for s in BACK
      for w, a in ((True, True), (False, False), (True, False))],
    *[(name, f"{s} {turn.__name__}", lambda f=f, s=s, turn=turn: f(s, turn)) for name, f in
      (("batch_norm", batch), ("batch_norm_backward", batch_back), ("batch_norm_eval", batch_eval))
      for s in IMAGES for turn in (plain, last)],
    *[(name, f"{s} {turn.__name__} {act}", lambda f=f, s=s, turn=turn, act=act: f(s, turn, act)) for name, f in
      (("batch_norm", batch_act), ("batch_norm_backward", batch_act_back)) for s in IMAGES[:4] for turn in (plain, last)
      for act in ("relu", "relu6")],
    ("batch_norm", "plain", lambda: batch((5, 6, 7), plain, False)),
    *[(name, f"{s} {groups} {turn.__name__} {w}", lambda f=f, s=s, groups=groups, turn=turn, w=w: f(s, groups, turn, w))
      for name, f in (("group_norm", grouped), ("group_norm_backward", grouped_back)) for s, groups in GROUPS
      for turn, w in ((plain, True), (last, True), (plain, False))],
    *[(name, f"{s} {axis} {turn.__name__}", lambda s=s, axis=axis, turn=turn: (turn(normal(*s) * 5), axis))
      for name in ("softmax", "log_softmax") for s, axis in ALONG for turn in (plain, last)],
    *[(f"{name}_backward", f"{s} {axis} {turn.__name__}",
       lambda name=name, s=s, axis=axis, turn=turn: softmaxed(name, turn(normal(*s)), axis))
      for name in ("softmax", "log_softmax") for s, axis in ALONG for turn in (plain, last)],
    *[(name, f"{n}x{c} {w} {smoothing}", lambda f=f, n=n, c=c, w=w, smoothing=smoothing: f(n, c, w, smoothing))
      for name, f in (("cross_entropy", entropy), ("cross_entropy_backward", entropy_back))
      for n, c in ((64, 1000), (1, 1), (7, 20_001), (2000, 10)) for w in (False, True) for smoothing in (0.0, 0.1)],
]  # fmt: skip
IDS = [f"{name} {what}" for name, what, _ in CASES]


def found(name: str, arguments: Arrays, table: Any = CPU) -> list[Any]:
    own = [a.copy(order="K") if isinstance(a, np.ndarray) else a for a in arguments]
    out = (reference.KERNELS[name] if table is None else getattr(table, name))(*own)
    return list(out) if isinstance(out, tuple) else [out]


def widened(arguments: Arrays) -> Arrays:
    return tuple(a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype == np.float32 else a for a in arguments)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = parallel.workers() + 1
    yield parallel.start
    parallel.start(before)


@pytest.mark.parametrize(("name", "what", "make"), CASES, ids=IDS)
def test_a_kernel_equals_the_reference_whatever_the_threads(
    name: str, what: str, make: Callable[[], Arrays], threads: Callable[[int], None]
) -> None:
    arguments = make()
    threads(1)
    alone = found(name, arguments)
    threads(2)
    for got, again, expected in zip(alone, found(name, arguments), found(name, widened(arguments), None), strict=True):
        if expected is None:
            assert got is None and again is None
            continue
        assert got.dtype == np.float32 and got.shape == expected.shape
        assert got.tobytes() == again.tobytes(), what
        scale = max(np.abs(expected).max(initial=0), 1e-3)
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * scale, err_msg=what)


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm", "softmax", "log_softmax", "cross_entropy"])
@pytest.mark.parametrize("shape", [(203, 33), (70, 700), (5, 30_001)])
def test_a_row_alone_has_the_bits_it_has_in_a_batch(name: str, shape: tuple[int, int]) -> None:
    x, w, b, _ = rows(shape)
    rest = {
        "layer_norm": (w, b, 1e-5), "rms_norm": (w, 1e-5), "softmax": (1,), "log_softmax": (1,), "cross_entropy": (None, 0.1),
    }[name]  # fmt: skip
    target = labels(*shape, False)

    def values(part: slice) -> list[Any]:
        between = (target[part],) if name == "cross_entropy" else ()
        return found(name, (x[part], *between, *rest))

    together = values(slice(None))
    for i in (0, 1, shape[0] // 2, shape[0] - 1):
        for one, all_ in zip(values(slice(i, i + 1)), together, strict=True):
            assert one[0].tobytes() == all_[i].tobytes()


@pytest.mark.parametrize("turn", [plain, last])
def test_a_sample_evaluated_alone_has_the_bits_it_has_in_a_batch(turn: Callable[[Any], Any]) -> None:
    x, *rest = batch_eval((5, 70, 13, 9), turn)
    together = CPU.batch_norm_eval(x, *rest)
    for i in range(5):
        np.testing.assert_array_equal(CPU.batch_norm_eval(turn(x[i : i + 1]), *rest)[0], together[i])


@pytest.mark.parametrize("turn", [plain, last])
def test_a_sample_normalised_by_groups_alone_has_the_bits_it_has_in_a_batch(turn: Callable[[Any], Any]) -> None:
    x, *rest = grouped((5, 6, 113, 90), 3, turn)
    together = CPU.group_norm(x, *rest)
    for i in range(5):
        y, mean, _ = CPU.group_norm(turn(x[i : i + 1]), *rest)
        np.testing.assert_array_equal(y[0], together[0][i])
        np.testing.assert_array_equal(mean, together[1][3 * i : 3 * i + 3])


@pytest.mark.parametrize("turn", [plain, last])
def test_a_norm_in_evaluation_has_the_bits_of_one_fused_into_a_product(turn: Callable[[Any], Any]) -> None:
    a, b = normal(60, 31), normal(48, 31, seed=1)
    mean, var, weight, bias = normal(48, seed=2), normal(48, seed=3) ** 2 + 0.1, normal(48, seed=4), normal(48, seed=5)
    scale, shift = CPU.batch_norm_scale(weight, bias, mean, var, 1e-5)
    fused = CPU.linear(a, b, None, After(scale=scale, shift=shift))
    apart = CPU.batch_norm_eval(turn(CPU.linear(a, b).reshape(60, 48, 1)), mean, var, weight, bias, 1e-5)
    assert ends(None, After(scale=scale, shift=shift))[0][1:3] != (0, 0)
    np.testing.assert_array_equal(fused, apart[..., 0])
    wide = reference.KERNELS["batch_norm_scale"](*(v.astype(np.float64) for v in (weight, bias, mean, var)), 1e-5)
    np.testing.assert_allclose([scale, shift], wide, rtol=0, atol=5e-7)


def test_the_gradient_of_a_sum_is_read_as_one_row() -> None:
    x, w, b, eps = rows((40, 3, 65))
    mean, inverse = CPU.layer_norm(x, w, b, eps)[1:]
    for row in (np.ones((1, 1, 65), np.float32), normal(1, 1, 65, seed=4), np.ones((1, 1, 1), np.float32)):
        spread = np.broadcast_to(row, x.shape)
        for name, rest in (("layer_norm_backward", (x, w, mean, inverse)), ("rms_norm_backward", (x, w, inverse))):
            for got, expected in zip(getattr(CPU, name)(spread, *rest), getattr(CPU, name)(spread.copy(), *rest), strict=True):
                np.testing.assert_array_equal(got, expected)


def test_arrays_that_are_read_only_strided_or_turned() -> None:
    x, w, b, eps = rows((6, 8))
    frozen = x.copy()
    frozen.setflags(write=False)
    buffer = np.zeros(x.nbytes + 1, np.uint8)
    crooked = buffer[1:].view(np.float32).reshape(6, 8)
    crooked[...] = x
    image, *rest = batch_eval((2, 3, 4, 5), plain)
    for same in (frozen, np.repeat(x, 2, axis=1)[:, ::2], np.asfortranarray(x), crooked, x[::-1][::-1]):
        np.testing.assert_array_equal(CPU.layer_norm(same, w, b, eps)[0], CPU.layer_norm(x, w, b, eps)[0])
        np.testing.assert_array_equal(CPU.rms_norm(same, w, eps)[0], CPU.rms_norm(x, w, eps)[0])
        for axis in (0, 1):
            np.testing.assert_allclose(CPU.log_softmax(same, axis), CPU.log_softmax(x, axis), rtol=1e-6, atol=0)
        np.testing.assert_array_equal(
            CPU.cross_entropy(same, labels(6, 8, True), w, 0.1)[0], CPU.cross_entropy(x, labels(6, 8, True), w, 0.1)[0]
        )
        np.testing.assert_array_equal(CPU.batch_norm(same, w, b, eps)[0], CPU.batch_norm(x, w, b, eps)[0])
    turned = np.ascontiguousarray(image.transpose(2, 0, 3, 1)).transpose(1, 3, 0, 2)
    np.testing.assert_array_equal(CPU.batch_norm_eval(turned, *rest), CPU.batch_norm_eval(image, *rest))


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm", "softmax", "log_softmax", "cross_entropy", "batch_norm_eval"])
def test_nan_and_infinity_come_through_as_in_the_reference(name: str) -> None:
    x = normal(12, 40)
    x[1, 3], x[2, 5], x[3, 7], x[4] = np.nan, np.inf, -np.inf, -np.inf
    x[5, 0], x[5, 39], x[6] = np.inf, np.nan, 1e38
    target = labels(12, 40, False)
    rest: dict[str, Arrays] = {
        "layer_norm": (None, None, 1e-5), "rms_norm": (None, 1e-5), "softmax": (1,), "log_softmax": (1,),
        "cross_entropy": (target, None, 0.0), "batch_norm_eval": (normal(40), normal(40) ** 2, None, None, 1e-5),
    }  # fmt: skip
    with np.errstate(all="ignore"):
        got, expected = (found(name, (x, *rest[name]), table)[0] for table in (CPU, None))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_nothing_gives_nothing(shape: tuple[int, int]) -> None:
    x = np.zeros(shape, np.float32)
    for axis in (0, 1):
        assert CPU.softmax(x, axis).shape == CPU.log_softmax(x, axis).shape == shape
    assert CPU.cross_entropy(x[:0], np.zeros(0, np.int64), None, 0.0)[0].shape == (0,)
    if shape[1]:
        assert CPU.layer_norm(x, None, None, 1e-5)[0].shape == CPU.rms_norm(x, None, 1e-5)[0].shape == shape


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes_go_to_the_reference(dtype: str) -> None:
    x = normal(4, 6).astype(dtype)
    target = labels(4, 6, False)
    for name, rest in (("log_softmax", (1,)), ("rms_norm", (None, 1e-5)), ("cross_entropy", (target, None, 0.0))):
        for got, expected in zip(found(name, (x, *rest)), found(name, (x, *rest), None), strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)


def test_eight_threads_at_once_get_the_bits_of_one() -> None:
    names = ["layer_norm (300, 384)TrueTrue", "softmax (31, 70) 0 last", "cross_entropy 64x1000 True 0.1"]
    names += ["batch_norm (4, 7, 9, 11) last", "group_norm (4, 6, 9, 11) 3 plain True", "layer_norm_backward (300, 384)TrueTrue"]
    chosen = [(CASES[i][0], CASES[i][2]()) for i in map(IDS.index, names)]
    expected = [[a.tobytes() for a in found(name, arguments)] for name, arguments in chosen]

    def work(_: int) -> list[list[bytes]]:
        return [[a.tobytes() for a in found(name, arguments)] for name, arguments in chosen]

    with ThreadPoolExecutor(8) as pool:
        assert all(result == expected for result in pool.map(work, range(40)))

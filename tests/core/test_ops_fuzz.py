"""Random indices, equations and chains of shapes: NumPy says what is right, central differences what the gradient is."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core.ops.index import index_put
from nyala.testing import gradcheck

SAMPLES = range(12)  # tests of 25 random cases each


def values(rng: random.Random, shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(rng.randrange(1 << 30)).normal(size=shape)


def an_index(rng: random.Random, shape: tuple[int, ...]) -> tuple[Any, ...]:
    parts: list[Any] = []
    kinds = ["int", "slice", "none", "full"] + (["list", "mask"] if rng.random() < 0.5 else [])
    for n in shape[: rng.randint(0, len(shape))]:
        kind = rng.choice(kinds)
        if kind == "none":
            parts.append(None)
        parts.append({
            "int": rng.randrange(-n, n),
            "slice": slice(rng.choice([None, 0, 1, -1]), rng.choice([None, n, -1, 1]), rng.choice([None, 1, 2, -1])),
            "list": np.array([rng.randrange(-n, n) for _ in range(2)]).reshape(rng.choice([(2,), (2, 1)])),
            "mask": np.arange(n) < 2,
        }.get(kind, slice(None)))  # fmt: skip
    if rng.random() < 0.3:
        parts.insert(rng.randint(0, len(parts)), Ellipsis)
    return tuple(parts)


@pytest.mark.parametrize("seed", SAMPLES)
def test_reading_and_writing_at_any_index(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25):
        array = values(rng, tuple(rng.randint(1, 4) for _ in range(rng.randint(1, 4))))
        index = an_index(rng, array.shape)
        try:
            expected = array[index]
        except IndexError:  # lists and masks that do not go together
            with pytest.raises(nyala.errors.IndexRangeError):
                nyala.tensor(array)[index]
            continue
        x = nyala.tensor(array, requires_grad=True)
        place = tuple(nyala.from_numpy(p) if isinstance(p, np.ndarray) else p for p in index)
        assert np.array_equal(x[place].detach().numpy(), expected) and x[place].shape == np.shape(expected), index
        new = values(rng, np.shape(expected))
        written, added = array.copy(), array.copy()
        written[index] = new
        np.add.at(added, index, new)
        y = x * 1
        y[place] = nyala.tensor(new)
        assert np.array_equal(y.detach().numpy(), written), index
        np.testing.assert_allclose(index_put(x, place, nyala.tensor(new), accumulate=True).detach().numpy(), added, atol=1e-12)
        if expected.size and rng.random() < 0.3:
            assert gradcheck(lambda t, at=place: t[at], x)


@pytest.mark.parametrize("seed", SAMPLES)
def test_any_einsum(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25):
        sizes = {c: rng.randint(1, 3) for c in "abcd"}
        terms = ["".join(rng.choices("abcd", k=rng.randint(0, 3))) for _ in range(rng.randint(1, 3))]
        used = sorted(set("".join(terms)))
        equation = ",".join(terms) + ("->" + "".join(rng.sample(used, rng.randint(0, len(used)))) if rng.random() < 0.8 else "")
        arrays = [values(rng, tuple(sizes[c] for c in term)) for term in terms]
        tensors = [nyala.tensor(a, requires_grad=True) for a in arrays]
        out = nyala.einsum(equation, *tensors)
        expected = np.einsum(equation, *arrays)
        assert out.shape == expected.shape, equation
        np.testing.assert_allclose(out.detach().numpy(), expected, atol=1e-12, err_msg=equation)
        if rng.random() < 0.2:
            assert gradcheck(lambda *t, e=equation: nyala.einsum(e, *t), tensors)


STEPS: dict[str, tuple[Any, Any]] = {
    "turn": (lambda t: t.permute(*range(t.ndim)[::-1]), lambda a: a.T),
    "flat": (lambda t: t.reshape(-1), lambda a: a.reshape(-1)),
    "flip": (lambda t: t.flip(0), lambda a: np.flip(a, 0)),
    "narrow": (lambda t: t[1:], lambda a: a[1:]),
    "every other": (lambda t: t[::2], lambda a: a[::2]),
    "repeat": (lambda t: t.unsqueeze(0).expand(2, *t.shape), lambda a: np.broadcast_to(a[None], (2, *a.shape))),
    "roll": (lambda t: t.roll(1, 0), lambda a: np.roll(a, 1, 0)),
    "sum": (lambda t: t.sum(0, keepdim=True), lambda a: a.sum(0, keepdims=True)),
    "square": (lambda t: t * t, lambda a: a * a),
    "join": (lambda t: nyala.cat([t, t * 2]), lambda a: np.concatenate([a, a * 2])),
}


@pytest.mark.parametrize("seed", SAMPLES)
def test_any_chain_of_shapes(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(10):
        array = values(rng, tuple(rng.randint(1, 3) for _ in range(rng.randint(1, 3))))
        names = rng.choices(list(STEPS), k=rng.randint(1, 5))
        expected: Any = array
        for name in names:
            expected = STEPS[name][1](expected)

        def chain(t: nyala.Tensor, names: list[str] = names) -> nyala.Tensor:
            for name in names:
                t = STEPS[name][0](t)
            return t

        x = nyala.tensor(array, requires_grad=True)
        np.testing.assert_allclose(chain(x).detach().numpy(), expected, atol=1e-12, err_msg=str(names))
        if 0 < expected.size < 100:
            assert gradcheck(chain, x), names

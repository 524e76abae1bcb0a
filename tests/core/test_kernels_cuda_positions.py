"""The kernel of rotary positions against the reference in float64, in every order of threads."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.reference import positions as reference

pytestmark = pytest.mark.usefixtures("cuda", "schedule")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 1e-6, "float64": 1e-14, "float16": 1e-3, "bfloat16": 8e-3}


def exact(x: Any) -> Any:
    return devices.move(x, "cpu").astype(np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(
    ("shape", "pairs"), [((1, 1, 1, 2), 1), ((2, 3, 5, 64), 32), ((2, 2, 7, 21), 5), ((1, 2, 9, 48), 16), ((2, 1, 1, 512), 200)]
)
def test_turns_as_the_reference(shape: tuple[int, ...], pairs: int, interleaved: bool, dtype: str) -> None:
    rng = np.random.default_rng(1)
    x = devices.move(rng.standard_normal((*shape[:2], shape[2] + 1, shape[3])).astype(DTYPES[dtype]), "cuda:0")[:, :, 1:]
    angle = rng.standard_normal((shape[2], pairs))
    cos, sin = (devices.move(f(angle).astype(DTYPES[dtype]), "cuda:0") for f in (np.cos, np.sin))
    expected = reference.rotate(exact(x), exact(cos), exact(sin), interleaved)
    for lies in (x, x.transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2)):
        found = kernels.of(x).rotate(lies, cos, sin, interleaved)
        assert found.dtype == x.dtype and found.shape == x.shape
        np.testing.assert_allclose(exact(found), expected, rtol=0, atol=TOLERANCE[dtype] * np.abs(expected).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(
    ("heads", "shared", "steps", "width", "deep", "pairs", "place"),
    [(1, 1, 1, 2, 2, 1, 0), (6, 2, 1, 64, 64, 32, 9), (4, 4, 5, 21, 13, 5, 3), (3, 1, 2, 48, 64, 16, 70)],
)
def test_a_cache_gets_what_the_reference_writes(
    heads: int, shared: int, steps: int, width: int, deep: int, pairs: int, place: int, interleaved: bool, dtype: str
) -> None:
    rng = np.random.default_rng(2)

    def there(*shape: int) -> Any:
        return devices.move(rng.standard_normal(shape).astype(DTYPES[dtype]), "cuda:0")

    q, k, v = (there(2, steps, h, w).transpose(0, 2, 1, 3) for h, w in ((heads, width), (shared, width), (shared, deep)))
    keys, values = there(2, shared, place + steps + 2, width), there(2, shared, place + steps + 2, deep)
    cos, sin = there(steps, pairs), there(steps, pairs)
    rooms = exact(keys), exact(values)
    expected = reference.rotate_append(*map(exact, (q, k, v, cos, sin)), interleaved, *rooms, place)
    found = kernels.of(q).rotate_append(q, k, v, cos, sin, interleaved, keys, values, place)
    alone = kernels.of(q).rotate(q, cos, sin, interleaved)
    assert found.dtype == q.dtype and exact(found).tobytes() == exact(alone).tobytes()
    for got, wanted in ((found, expected), (keys, rooms[0]), (values, rooms[1])):
        np.testing.assert_allclose(exact(got), wanted, rtol=0, atol=TOLERANCE[dtype] * np.abs(wanted).max())


@pytest.mark.parametrize("kind", ["kernel", "reference"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_device_may_tell_where_new_steps_go(dtype: str, kind: str) -> None:
    rng = np.random.default_rng(3)

    def there(*shape: int) -> Any:
        return devices.move(rng.standard_normal(shape).astype(DTYPES[dtype]), "cuda:0")

    place, steps, room = 37, 2, 48
    q, k, v = there(2, 4, steps, 24), there(2, 2, steps, 24), there(2, 2, steps, 13)
    cos, sin = there(room, 8), there(room, 8)
    rooms = there(2, 2, room, 24), there(2, 2, room, 13)
    table: Any = kernels.of(q) if kind == "kernel" else reference
    seen = []
    for told, angles in ((place, slice(place, place + steps)), (devices.move(np.array([float(place)]), "cuda:0"), slice(None))):
        turned, plain = [r.copy() for r in rooms], [r.copy() for r in rooms]
        found = table.rotate_append(q, k, v, cos[angles], sin[angles], False, *turned, told)
        table.append(k, v, *plain, told)
        seen.append([exact(x).tobytes() for x in (found, *turned, *plain)])
        for got, before, new in zip(plain, rooms, (k, v), strict=True):
            assert (exact(got)[:, :, place : place + steps] == exact(new)).all()
            got[:, :, place : place + steps] = before[:, :, place : place + steps]
            assert (exact(got) == exact(before)).all()
    assert seen[0] == seen[1]

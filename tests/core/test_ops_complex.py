"""Operations on complex tensors: values, first and second derivatives."""

from __future__ import annotations

import numpy as np
import nyala
import pytest
from nyala.testing import OpCase, check_op

COMPLEX = [
    OpCase(f"complex {name}", op, lambda s: (s.complex(2, 3), s.complex(3)), reference, dtypes=("float32",), layouts=False,
           rtol=4)
    for name, op, reference in [
        ("add", nyala.add, np.add), ("sub", nyala.sub, np.subtract), ("mul", nyala.mul, np.multiply),
               ("div", nyala.div, np.divide),
        ("pow", nyala.pow, np.power), ("matmul", nyala.matmul, np.matmul),
    ]
] + [
    OpCase(f"complex {name}", op, lambda s: (s.complex(2, 3),), reference, dtypes=("float32",), layouts=False, rtol=4)
    for name, op, reference in [
        ("exp", nyala.exp, np.exp), ("sin", nyala.sin, np.sin), ("tanh", nyala.tanh, np.tanh), ("log", nyala.log, np.log),
        ("sqrt", nyala.sqrt, np.sqrt), ("square", nyala.square, np.square), ("pow 3", lambda x: x**3, lambda x: x**3),
        ("abs", nyala.abs, np.abs), ("conj", lambda x: x.conj(), np.conj), ("real", lambda x: x.real, np.real),
        ("imag", lambda x: x.imag, np.imag), ("sum", lambda x: x.sum(0), lambda x: x.sum(0)),
               ("mean", lambda x: x.mean(1), lambda x: x.mean(1)),
        ("prod", lambda x: x.prod(1), lambda x: x.prod(1)), ("cumprod", lambda x: x.cumprod(1), lambda x: x.cumprod(1)),
        ("norm", lambda x: x.norm(dim=1), lambda x: np.linalg.norm(x, axis=1)),
               ("var", lambda x: x.var(1), lambda x: x.var(1, ddof=1)),
        ("reshape", lambda x: x.reshape(6), np.ravel), ("index", lambda x: x[:, [0, 2]], lambda x: x[:, [0, 2]]),
    ]
]  # fmt: skip


@pytest.mark.parametrize("case", COMPLEX, ids=lambda case: case.name)
def test_operation(case: OpCase) -> None:
    check_op(case)

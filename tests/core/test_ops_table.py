"""Every operation of the element-wise, reducing, shaping, indexing and matrix families: one row each, checked from all sides."""

# ruff: noqa: ARG005 - a reference takes the arguments of its operation, used or not
from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core.ops import activation, elementwise, index, linalg, logical, reduce, shape
from nyala.errors import ArgumentError, DtypeError, IndexRangeError, NumericError, ShapeError
from nyala.testing import Bad, OpCase, check_op

SCALARS = (lambda s: (s.positive(),), lambda s: (s.positive(0, 3),))  # 0-d and zero-size
TWO_SCALARS = (
    lambda s: (s.positive(), s.positive()),
    lambda s: (s.positive(0, 3), s.positive(1, 3)),
    lambda s: (s.positive(2, 1, 3), s.positive(4, 1)),
    lambda s: (s.positive(), s.positive(3)),
)
sigmoid = np.vectorize(lambda x: 1 / (1 + math.exp(-x)), otypes=[np.float64])
erf = np.vectorize(math.erf, otypes=[np.float64])


def ones(*size: int, dtype: Any = None) -> nyala.Tensor:
    return nyala.ones(*size, dtype=dtype)


def ints(*values: int) -> nyala.Tensor:
    return nyala.tensor(list(values))


def unary(name: str, reference: Any, inputs: Any = None, **options: Any) -> OpCase:
    options = {"also": SCALARS, **options}
    function = options.pop("op", name)
    op = getattr(elementwise, function, None) or getattr(activation, function)
    return OpCase(name, op, inputs or (lambda s: (s.normal(3, 4),)), reference, **options)


UNARY = [
    unary("exp", np.exp),
    unary("expm1", np.expm1),
    unary("log", np.log, lambda s: (s.positive(3, 4),)),
    unary("log1p", np.log1p, lambda s: (s.positive(3, 4),)),
    unary("log2", np.log2, lambda s: (s.positive(3, 4),)),
    unary("log10", np.log10, lambda s: (s.positive(3, 4),)),
    unary("sqrt", np.sqrt, lambda s: (s.positive(3, 4),)),
    unary("rsqrt", lambda x: 1 / np.sqrt(x), lambda s: (s.positive(3, 4),)),
    unary("sin", np.sin),
    unary("cos", np.cos),
    unary("tan", np.tan, lambda s: (s.uniform((3, 4), -1, 1),)),
    unary("asin", np.arcsin, lambda s: (s.uniform((3, 4), -0.9, 0.9),), also=()),
    unary("acos", np.arccos, lambda s: (s.uniform((3, 4), -0.9, 0.9),), also=()),
    unary("atan", np.arctan),
    unary("sinh", np.sinh),
    unary("cosh", np.cosh),
    unary("tanh", np.tanh),
    unary("sigmoid", sigmoid, lambda s: (s.normal(3, 4) * 5,)),
    unary("silu", lambda x: x * sigmoid(x)),
    unary("erf", erf),
    unary("relu", lambda x: np.maximum(x, 0), lambda s: (s.away((3, 4), [0]),)),
    unary("relu6", lambda x: np.clip(x, 0, 6), lambda s: (s.away((3, 4), [0, 2]) * 3,)),
    unary("hardsigmoid", lambda x: np.clip(x + 3, 0, 6) / 6, lambda s: (s.away((3, 4), [-1, 1]) * 3,)),
    unary("hardswish", lambda x: x * np.clip(x + 3, 0, 6) / 6, lambda s: (s.away((3, 4), [-1, 1]) * 3,)),
    unary("leaky_relu", lambda x, negative_slope: np.where(x > 0, x, x * negative_slope), lambda s: (s.away((3, 4), [0]),),
          kwargs={"negative_slope": 0.2}),
    unary("elu", lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))), lambda s: (s.away((3, 4), [0]),),
          kwargs={"alpha": 0.7}),
    unary("softplus", lambda x, beta,
           threshold: np.where(x * beta > threshold, x, np.log1p(np.exp(np.minimum(x * beta, 50))) / beta),
          lambda s: (s.away((3, 4), [0.75]) * 2,), kwargs={"beta": 2.0, "threshold": 3.0}),
    unary("mish", lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    unary("gelu", lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2)))),
    unary("gelu tanh", lambda x, approximate: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
          kwargs={"approximate": "tanh"}, op="gelu",
          errors=[Bad(lambda: activation.gelu(ones(1), "fast"), ArgumentError, "fast")]),
    unary("gelu quick", lambda x, approximate: x * sigmoid(1.702 * x), kwargs={"approximate": "quick"}, op="gelu"),
    unary("neg", np.negative, errors=[Bad(lambda: -nyala.tensor([True]), DtypeError, "logical_not")]),
    unary("abs", np.abs, lambda s: (s.away((3, 4), [0]),), op="abs_"),
    unary("sign", np.sign, lambda s: (s.away((3, 4), [0]),)),
    unary("reciprocal", lambda x: 1 / x, lambda s: (s.positive(3, 4),)),
    unary("square", np.square),
    unary("floor", np.floor, lambda s: (s.away((3, 4), [-2, -1, 0, 1, 2]),)),
    unary("ceil", np.ceil, lambda s: (s.away((3, 4), [-2, -1, 0, 1, 2]),)),
    unary("trunc", np.trunc, lambda s: (s.away((3, 4), [-2, -1, 0, 1, 2]),)),
    unary("round", np.round, lambda s: (s.away((3, 4), [-1.5, -0.5, 0.5, 1.5]),)),
    unary("round decimals", lambda x, decimals: np.round(x, decimals), lambda s: (s.distinct(3, 4) / 2 + 0.01,),
          kwargs={"decimals": 1}, op="round", dtypes=("float32",)),
    unary("clamp", lambda x, min, max: np.clip(x, min, max), lambda s: (s.away((3, 4), [-0.5, 0.7]),),
          kwargs={"min": -0.5, "max": 0.7},
          errors=[Bad(lambda: elementwise.clamp(ones(1)), ArgumentError, "without min and max")]),
    unary("clamp min", lambda x, min: np.maximum(x, min), lambda s: (s.away((3, 4), [0.25]),), kwargs={"min": 0.25}, op="clamp"),
    unary("pow 2", lambda x, exponent: x**2, kwargs={"exponent": 2}, op="pow"),
    unary("pow 3", lambda x, exponent: x**3, kwargs={"exponent": 3}, op="pow",
          errors=[Bad(lambda: ints(1, 2) ** -1, DtypeError, "power -1"),
          Bad(lambda: ints(1) ** ints(-1), DtypeError, "negative power"),
                  Bad(lambda: nyala.tensor([True]) ** nyala.tensor([True]), DtypeError, "bool")]),
    unary("pow 0.5", lambda x, exponent: x**0.5, lambda s: (s.positive(3, 4),), kwargs={"exponent": 0.5}, op="pow"),
    unary("pow -1.5", lambda x, exponent: x**-1.5, lambda s: (s.positive(3, 4),), kwargs={"exponent": -1.5}, op="pow"),
    unary("pow 0", lambda x, exponent: x**0, kwargs={"exponent": 0}, op="pow"),
    unary("pow 1", lambda x, exponent: x, kwargs={"exponent": 1}, op="pow"),
    OpCase("power of 2", lambda x: 2.0**x, lambda s: (s.normal(3, 4),), lambda x: 2.0**x, also=SCALARS),
    OpCase("cast", lambda x: x.to("float64") * 1.0, lambda s: (s.normal(3, 4),), lambda x: x, dtypes=()),
]  # fmt: skip


def binary(name: str, reference: Any, inputs: Any = None, **options: Any) -> OpCase:
    options = {"also": TWO_SCALARS, **options}
    function = getattr(elementwise, options.pop("op", name))
    errors = [
        Bad(lambda: function(ones(2, 3), ones(4)), ShapeError, r"\(2, 3\) and \(4,\) do not broadcast"),
        *options.pop("errors", ()),
    ]
    return OpCase(name, function, inputs or (lambda s: (s.normal(3, 4), s.normal(4))), reference, errors=errors, **options)


BINARY = [
    binary("add", np.add, errors=[Bad(lambda: ones(2) + "a", DtypeError, "str")]),
    binary("add alpha", lambda a, b, alpha: a + alpha * b, kwargs={"alpha": 0.5}, op="add"),
    binary("sub", np.subtract, errors=[Bad(lambda: nyala.tensor([True]) - nyala.tensor([True]), DtypeError, "bool")]),
    binary("sub alpha", lambda a, b, alpha: a - alpha * b, kwargs={"alpha": 3}, op="sub"),
    binary("mul", np.multiply),
    binary("div", np.divide, lambda s: (s.normal(3, 4), s.positive(4))),
    binary("div floor", lambda a, b, rounding_mode: np.floor(a / b), lambda s: (s.distinct(3, 4), s.integers(1, 3, (4,)) * 1.0),
           kwargs={"rounding_mode": "floor"}, op="div",
           errors=[Bad(lambda: ones(1).div(2, rounding_mode="up"), ArgumentError, "up"),
           Bad(lambda: ints(1) // 0, NumericError, "zero")]),
    binary("floor_divide", lambda a, b: np.floor(a / b), lambda s: (s.distinct(3, 4), s.integers(1, 3, (4,)) * 1.0)),
    binary("div trunc", lambda a, b, rounding_mode: np.trunc(a / b), lambda s: (s.distinct(3, 4), s.integers(1, 3, (4,)) * 1.0),
           kwargs={"rounding_mode": "trunc"}, op="div"),
    binary("remainder", np.remainder, lambda s: (s.distinct(3, 4), s.integers(1, 3, (4,)) * -1.0),
           errors=[Bad(lambda: ints(1) % 0, NumericError, "zero"), Bad(lambda: nyala.tensor([1j]) % 1, DtypeError, "complex")]),
    binary("pow", np.power, lambda s: (s.positive(3, 4), s.normal(4))),
    binary("maximum", np.maximum, lambda s: (s.distinct(3, 4), s.distinct(4) + 0.1),
           errors=[Bad(lambda: nyala.tensor([1j]).maximum(nyala.tensor([1j])), DtypeError, "order")]),
    binary("minimum", np.minimum, lambda s: (s.distinct(3, 4), s.distinct(4) + 0.1)),
    binary("atan2", np.arctan2, lambda s: (s.positive(3, 4), s.positive(4))),
    OpCase("where", nyala.where, lambda s: (s.bools(3, 4), s.normal(3, 1), s.normal(4)), np.where,
           also=(lambda s: (s.bools(), s.normal(2), s.normal()), lambda s: (s.bools(0, 2), s.normal(2), s.normal())),
           errors=[Bad(lambda: nyala.where(ones(2), ones(2), ones(2)), DtypeError, "bool"),
                   Bad(lambda: nyala.where(ones(2) > 0, ones(3), 1.0), ShapeError, "broadcast")]),
    OpCase("clamp tensors", lambda x, a, b: x.clamp(a, b), lambda s: (s.distinct(3, 4), s.distinct(4) - 0.6, s.distinct(4) + 2.1),
           lambda x, a, b: np.minimum(np.maximum(x, a), b)),
    OpCase("masked_fill", index.masked_fill, lambda s: (s.normal(3, 4), s.bools(4)),
           lambda x, m, value: np.where(m, value, x), kwargs={"value": -2.0},
           errors=[Bad(lambda: ones(2).masked_fill(ones(2), 0), DtypeError, "mask"),
                   Bad(lambda: ints(1).masked_fill(ints(1) > 0, 0.5), DtypeError, "float32"),
                   Bad(lambda: ones(2).masked_fill(ones(2) > 0, ones(2)), ShapeError, "one number")]),
]  # fmt: skip


def dims(name: str, reference: Any, options: list[dict[str, Any]], inputs: Any = None, **more: Any) -> list[OpCase]:
    """A reduction with each of several choices of dim and keepdim, which NumPy calls axis and keepdims."""
    rows = []
    for i, kwargs in enumerate(options):

        def with_axis(x: Any, dim: Any = None, keepdim: bool = False, **rest: Any) -> Any:
            return reference(x, axis=tuple(dim) if isinstance(dim, list) else dim, keepdims=keepdim, **rest)

        rest = more if i == 0 else {k: v for k, v in more.items() if k not in ("errors", "also")}
        sampler = inputs or (lambda s: (s.normal(2, 3, 4),))
        rows.append(OpCase(f"{name} {kwargs or ''}".strip(), getattr(reduce, name), sampler, with_axis, kwargs=kwargs, **rest))
    return rows


ALL_DIMS: list[dict[str, Any]] = [
    {},
    {"dim": 1},
    {"dim": -1, "keepdim": True},
    {"dim": [0, 2]},
    {"dim": [-1, 0], "keepdim": True},
]
ONE_DIM: list[dict[str, Any]] = [{"dim": 1}, {"dim": -3, "keepdim": True}]
ANY_SIZE = (lambda s: (s.normal(),), lambda s: (s.normal(0, 3),), lambda s: (s.normal(3, 0),))


def logsumexp(x: Any, axis: Any, keepdims: bool) -> Any:
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


def norm(x: Any, axis: Any, keepdims: bool, p: Any = 2) -> Any:
    size = np.abs(x)
    if p in (math.inf, -math.inf):
        return (size.max if p > 0 else size.min)(axis=axis, keepdims=keepdims)
    return (size**p).sum(axis=axis, keepdims=keepdims) ** (1 / p)


def pick(function: str) -> Any:
    """(values, indices) of an extreme along a dimension, as torch gives them."""

    def reference(x: Any, axis: int, keepdims: bool) -> Any:
        places = getattr(np, function)(x, axis=axis, keepdims=True)
        values = np.take_along_axis(x, places, axis)
        return (values, places) if keepdims else (values.squeeze(axis), places.squeeze(axis))

    return reference


def median(x: Any, axis: int, keepdims: bool) -> Any:
    places = np.argsort(x, axis, kind="stable").take([(x.shape[axis] - 1) // 2], axis)
    values = np.take_along_axis(x, places, axis)
    return (values, places) if keepdims else (values.squeeze(axis), places.squeeze(axis))


def ranked(x: Any, dim: int, descending: bool = False) -> Any:
    places = np.argsort(-x if descending else x, dim, kind="stable")
    return np.take_along_axis(x, places, dim), places


def DISTINCT(s: Any) -> Any:  # noqa: N802 - one of the samplers above
    return (s.distinct(2, 3, 4),)


NO_DIM = [Bad(lambda: ones(2, 3).sum(2), ShapeError, r"dimension 2 of a tensor with 2"),
          Bad(lambda: ones(2, 3).sum((0, -2)), ShapeError, "twice")]  # fmt: skip
EMPTY = [Bad(lambda: ones(0).max(), ShapeError, "length 0"), Bad(lambda: ones(2, 0).amin(1), ShapeError, "length 0"),
         Bad(lambda: ones(0).argmax(), ShapeError, "length 0")]  # fmt: skip

REDUCTIONS = [
    *dims("sum", np.sum, ALL_DIMS, also=ANY_SIZE, errors=NO_DIM),
    *dims("mean", lambda x, **k: x.sum(**k) / (x.size / max(x.sum(**k).size, 1)), ALL_DIMS, also=ANY_SIZE[:2],
          errors=[Bad(lambda: ints(1).mean(), DtypeError, "float")]),
    *dims("var", lambda x, **k: np.var(x, ddof=1, **k), ALL_DIMS, errors=[Bad(lambda: ints(1).var(), DtypeError, "float")]),
    *dims("var", lambda x, correction, **k: np.var(x, ddof=correction, **k), [{"correction": 0}, {"dim": 1, "correction": 2}]),
    *dims("var", lambda x, unbiased, **k: np.var(x, **k), [{"unbiased": False, "dim": [0, 1]}]),
    *dims("std", lambda x, **k: np.std(x, ddof=1, **k), ALL_DIMS),
    OpCase("var_mean", reduce.var_mean, lambda s: (s.normal(3, 4),), lambda x, dim: (x.var(dim, ddof=1), x.mean(dim)),
           {"dim": 1}),
    OpCase("std_mean", reduce.std_mean, lambda s: (s.normal(3, 4),), lambda x, dim: (x.std(dim, ddof=1), x.mean(dim)),
           {"dim": 0}),
    *dims("prod", np.prod, [{}, *ONE_DIM], lambda s: (s.positive(2, 3, 4),), also=ANY_SIZE[:2]),
    *dims("amax", np.max, ALL_DIMS, DISTINCT, errors=EMPTY),
    *dims("amin", np.min, ALL_DIMS, DISTINCT),
    *dims("max", pick("argmax"), ONE_DIM, DISTINCT),
    *dims("min", pick("argmin"), ONE_DIM, DISTINCT),
    *dims("max", np.max, [{}], DISTINCT),
    *dims("min", np.min, [{}], DISTINCT),
    *dims("argmax", np.argmax, [{}, *ONE_DIM], DISTINCT, differentiable=False,
          errors=[Bad(lambda: nyala.tensor([1j]).argmax(), DtypeError, "complex")]),
    *dims("argmin", np.argmin, [{}, *ONE_DIM], DISTINCT, differentiable=False),
    *dims("median", median, ONE_DIM, DISTINCT),
    *dims("logsumexp", logsumexp, [*ONE_DIM, {"dim": [0, 2]}]),
    *dims("norm", norm, ALL_DIMS),
    *dims("norm", norm, [{"p": 1}, {"p": 3, "dim": 1}, {"p": 0.5, "dim": [1, 2]}, {"p": math.inf}, {"p": -math.inf, "dim": 0}],
          lambda s: (s.distinct(2, 3, 4) + 0.06,), rtol=3, errors=[Bad(lambda: ones(1).norm("nuc"), ArgumentError, "nuc")]),
    *dims("any", lambda x, **k: (x != 0).any(**k), ALL_DIMS, lambda s: (s.integers(0, 2, (2, 3, 4)) * 1.0,),
           differentiable=False),
    *dims("all", lambda x, **k: (x != 0).all(**k), ALL_DIMS, lambda s: (s.integers(0, 2, (2, 3, 4)) * 1.0,),
           differentiable=False),
    OpCase("count_nonzero", reduce.count_nonzero, lambda s: (s.integers(0, 2, (3, 4)) * 1.0,),
           lambda x, dim: np.count_nonzero(x, dim).astype(np.int64), {"dim": 1}, differentiable=False),
    OpCase("cumsum", reduce.cumsum, lambda s: (s.normal(2, 3, 4),), lambda x, dim: x.cumsum(dim), {"dim": -2},
           also=(lambda s: (s.normal(2, 0, 3),),), errors=[Bad(lambda: ones(2).cumsum(1), ShapeError, "dimension 1")]),
    OpCase("cumprod", reduce.cumprod, lambda s: (s.positive(2, 3, 4),), lambda x, dim: x.cumprod(dim), {"dim": 1},
           also=(lambda s: (s.normal(2, 0, 3),),)),
    OpCase("sort", reduce.sort, DISTINCT, lambda x, dim: ranked(x, dim), {"dim": 1}, also=(lambda s: (s.normal(2, 0),),)),
    OpCase("sort descending", reduce.sort, DISTINCT, lambda x, dim, descending: ranked(x, dim, descending),
           {"dim": -1, "descending": True}),
    OpCase("argsort", reduce.argsort, DISTINCT, lambda x, dim: np.argsort(x, dim), {"dim": 0}, differentiable=False),
    OpCase("topk", reduce.topk, DISTINCT, lambda x, k, dim: tuple(v[:, :k] for v in ranked(x, dim, True)), {"k": 2, "dim": 1},
           errors=[Bad(lambda: ones(3).topk(4), ArgumentError, "k=4")]),
    OpCase("topk smallest", reduce.topk, DISTINCT, lambda x, k, largest: tuple(v[..., :k] for v in ranked(x, -1)),
           {"k": 3, "largest": False}),
    OpCase("unique", reduce.unique, lambda s: (s.integers(0, 4, (3, 4)) * 1.0,), np.unique, differentiable=False),
    OpCase("bincount", reduce.bincount, lambda s: (s.integers(0, 4, (9,)),), lambda x,
           minlength: np.bincount(x, minlength=minlength),
           {"minlength": 6}, layouts=False, errors=[Bad(lambda: ints(-1).bincount(), ArgumentError, "bincount"),
                                                    Bad(lambda: ones(2).bincount(), DtypeError, "float32")]),
]  # fmt: skip


def shaped(name: str, op: Any, reference: Any, inputs: Any = None, **options: Any) -> OpCase:
    return OpCase(name, op, inputs or (lambda s: (s.normal(2, 3, 4),)), reference, **options)


def block(*arrays: Any) -> Any:
    return np.concatenate(arrays, 1)


SHAPES = [
    shaped("reshape", lambda x: x.reshape(4, -1), lambda x: x.reshape(4, 6),
           errors=[Bad(lambda: ones(2, 3).reshape(4), ShapeError, r"\(2, 3\) with 6 elements cannot become \(4,\)"),
                   Bad(lambda: ones(2, 3).reshape(-1, -1), ShapeError, "one of them"),
                   Bad(lambda: ones(2).reshape(1.5), ArgumentError, "shape")]),
    shaped("view", lambda x: x.contiguous().view(4, 6), lambda x: x.reshape(4, 6),
           errors=[Bad(lambda: ones(2, 3).t().view(6), ShapeError, "without a copy")]),
    shaped("permute", lambda x: x.permute(2, 0, -2), lambda x: x.transpose(2, 0, 1),
           errors=[Bad(lambda: ones(2, 3).permute(0, 0), ShapeError, "once")]),
    shaped("transpose", lambda x: x.transpose(0, -1), lambda x: x.swapaxes(0, 2),
           errors=[Bad(lambda: ones(2).transpose(0, 1), ShapeError, "1")]),
    shaped("t", shape.t, np.transpose, lambda s: (s.normal(2, 3),),
           errors=[Bad(lambda: ones(1, 1, 1).t(), ShapeError, "transpose")]),
    shaped("movedim", lambda x: x.movedim((0, 1), (2, 0)), lambda x: np.moveaxis(x, (0, 1), (2, 0))),
    shaped("expand", lambda x: x.expand(5, -1, 4, -1), lambda x: np.broadcast_to(x, (5, 2, 4, 3)), lambda s: (s.normal(2, 1, 3),),
           errors=[Bad(lambda: ones(2).expand(3), ShapeError, "cannot become"),
           Bad(lambda: ones(2, 2).expand(2), ShapeError, "dropped"),
                   Bad(lambda: ones(2).expand(-1, 2), ShapeError, "cannot become")]),
    shaped("expand_as", lambda x, y: x.expand_as(y), lambda x, y: np.broadcast_to(x, y.shape),
           lambda s: (s.normal(3), s.normal(2, 3)), differentiable=[0]),
    shaped("broadcast_to", lambda x: shape.broadcast_to(x, (4, 2, 3)), lambda x: np.broadcast_to(x, (4, 2, 3)),
           lambda s: (s.normal(2, 1),)),
    shaped("alias", shape.alias, lambda x: x),
    shaped("squeeze", lambda x: x.squeeze(1), lambda x: x.squeeze(1), lambda s: (s.normal(2, 1, 3, 1),)),
    shaped("squeeze all", lambda x: x.squeeze(), np.squeeze, lambda s: (s.normal(2, 1, 3, 1),)),
    shaped("squeeze none", lambda x: x.squeeze(0), lambda x: x),
    shaped("unsqueeze", lambda x: x.unsqueeze(-1), lambda x: x[..., None], also=(lambda s: (s.normal(),),)),
    shaped("flatten", lambda x: x.flatten(1), lambda x: x.reshape(2, 12),
           errors=[Bad(lambda: ones(2, 2).flatten(1, 0), ShapeError, "behind")]),
    shaped("flatten 0-d", lambda x: x.flatten(), lambda x: x.reshape(1), lambda s: (s.normal(),)),
    shaped("unflatten", lambda x: x.unflatten(-1, (2, -1)), lambda x: x.reshape(2, 3, 2, 2),
           errors=[Bad(lambda: ones(4).unflatten(0, (3, 2)), ShapeError, "cannot become")]),
    shaped("cat", lambda *x: nyala.cat(x, 1), block, lambda s: (s.normal(2, 3), s.normal(2, 0), s.normal(2, 1)),
           errors=[Bad(lambda: nyala.cat([]), ArgumentError, "no tensors"),
                   Bad(lambda: nyala.cat([ones(2, 3), ones(3, 3)], 1), ShapeError, r"tensor 1 has \(3, 3\)"),
                   Bad(lambda: nyala.cat([nyala.tensor(1.0)]), ShapeError, "cat")]),
    shaped("cat with an empty vector", lambda *x: nyala.cat(x, 1), lambda a, b: b, lambda s: (s.normal(0), s.normal(2, 3)),
           layouts=False,
           differentiable=[1]),
    shaped("stack", lambda *x: nyala.stack(x, -1), lambda *x: np.stack(x, -1), lambda s: (s.normal(2, 3), s.normal(2, 3)),
           errors=[Bad(lambda: nyala.stack([ones(2), ones(3)]), ShapeError, r"\(3,\)")]),
    shaped("narrow", lambda x: x.narrow(-1, -3, 2), lambda x: x[..., 1:3],
           errors=[Bad(lambda: ones(3).narrow(0, 2, 2), ShapeError, "2..4")]),
    shaped("split", lambda x: x.split(3, 2), lambda x: (x[..., :3], x[..., 3:]),
           errors=[Bad(lambda: ones(3).split(0), ArgumentError, "0")]),
    shaped("split lengths", lambda x: x.split([1, 0, 3], -1), lambda x: (x[..., :1], x[..., :0], x[..., 1:]),
           errors=[Bad(lambda: ones(3).split([1, 1]), ShapeError, "add up to 2")]),
    shaped("chunk", lambda x: x.chunk(3, 2), lambda x: (x[..., :2], x[..., 2:]),
           errors=[Bad(lambda: ones(3).chunk(0), ArgumentError, "0")]),
    shaped("unbind", lambda x: x.unbind(1), lambda x: tuple(x[:, i] for i in range(3)),
           errors=[Bad(lambda: nyala.tensor(1.0).unbind(), ShapeError, "without")]),
    shaped("flip", lambda x: x.flip(0, -1), lambda x: x[::-1, :, ::-1]),
    shaped("roll", lambda x: x.roll((1, -2), (0, 2)), lambda x: np.roll(x, (1, -2), (0, 2)),
           errors=[Bad(lambda: ones(2).roll((1, 2), 0), ArgumentError, "2 shift")]),
    shaped("roll flat", lambda x: nyala.core.ops.shape.roll(x, 5), lambda x: np.roll(x, 5)),
    shaped("repeat", lambda x: x.repeat(2, 1, 3, 2), lambda x: np.tile(x, (2, 1, 3, 2)),
           errors=[Bad(lambda: ones(2, 2).repeat(2), ShapeError, "1 count")]),
    shaped("repeat_interleave", lambda x: x.repeat_interleave(2, 1), lambda x: np.repeat(x, 2, 1)),
    shaped("repeat_interleave flat", lambda x: x.repeat_interleave(2), lambda x: np.repeat(x, 2)),
    shaped("repeat_interleave counts", lambda x, n: x.repeat_interleave(n, 1), lambda x, n: np.repeat(x, n, 1),
           lambda s: (s.normal(2, 3), np.array([2, 0, 3])), layouts=False,
           errors=[Bad(lambda: ones(3).repeat_interleave(ints(1, 2)), ShapeError, "2 count")]),
    shaped("contiguous", lambda x: x.transpose(0, 1).contiguous() * 1, lambda x: x.swapaxes(0, 1)),
    shaped("clone", shape.clone, lambda x: x, also=SCALARS),
    shaped("diagonal", lambda x: x.diagonal(1, 2, 0), lambda x: np.diagonal(x, 1, 2, 0),
           errors=[Bad(lambda: ones(3).diagonal(), ShapeError, "diagonal")]),
    shaped("tril", lambda x: x.tril(-1), lambda x: np.tril(x, -1),
           errors=[Bad(lambda: ones(3).tril(), ShapeError, "two dimensions")]),
    shaped("triu", lambda x: x.triu(1), lambda x: np.triu(x, 1)),
    shaped("meshgrid", lambda a, b: nyala.meshgrid(a, b, indexing="xy"), lambda a, b: tuple(np.meshgrid(a, b, indexing="xy")),
           lambda s: (s.normal(3), s.normal(2)),
           errors=[Bad(lambda: nyala.meshgrid(ones(1), indexing="yx"), ArgumentError, "yx")]),
]  # fmt: skip

MASK = np.array([[True, False, True, True], [False, False, True, False], [True, True, False, False]])


def indexed(name: str, place: Any, **options: Any) -> OpCase:
    plain = tuple(p.numpy() if isinstance(p, nyala.Tensor) else p for p in place) if isinstance(place, tuple) else place
    plain = plain.numpy() if isinstance(plain, nyala.Tensor) else plain
    return OpCase(f"x[{name}]", lambda x: x[place], lambda s: (s.normal(3, 4, 2),), lambda x: x[plain], **options)


def put(x: Any, places: Any, value: Any, accumulate: bool = False) -> Any:
    out = x.copy()
    if accumulate:
        np.add.at(out, places, value)
    else:
        out[places] = value
    return out


def added(x: Any, dim: int, i: Any, v: Any, keep: Any = None) -> Any:
    out = x.copy() if keep is None else keep
    for place in np.ndindex(*i.shape):
        to = list(place)
        to[dim] = i[place]
        out[tuple(to)] += v[place]
    return out


def written(x: Any, dim: int, i: Any, v: Any) -> Any:
    out = x.copy()
    np.put_along_axis(out[tuple(slice(None) if d == dim else slice(0, n) for d, n in enumerate(i.shape))], i, v, dim)
    return out


def reduced(how: str, include_self: bool) -> Any:
    function = {"sum": np.sum, "mean": np.mean, "amax": np.max, "amin": np.min, "prod": np.prod}[how]

    def reference(x: Any, i: Any, v: Any) -> Any:
        out = x.copy()
        for row in range(i.shape[0]):
            for place in set(i[row].tolist()):
                sent = [v[row, c] for c in range(i.shape[1]) if i[row, c] == place]
                out[row, place] = function([x[row, place], *sent] if include_self else sent)
        return out

    return reference


def scattered(how: str, mine: bool) -> OpCase:
    return OpCase(
        f"scatter_reduce {how} {mine}",
        lambda x, i, v: nyala.scatter_reduce(x, 1, i, v, how, include_self=mine),
        lambda s: (s.distinct(3, 4), TWICE, s.distinct(3, 4) + 0.06),
        reduced(how, mine),
        layouts=False,
        differentiable=how != "prod",
    )


TWICE = np.array([[0, 2, 2], [1, 1, 3]])
BAD_GATHER = [
    Bad(lambda: ones(2, 2).gather(1, ints(0)), ShapeError, r"index of shape \(1,\) for an input of \(2, 2\)"),
    Bad(lambda: ones(2).gather(0, ints(2)), IndexRangeError, "index 2 in a dimension of length 2"),
    Bad(lambda: ones(2).gather(0, ones(1)), DtypeError, "float32"),
]

INDEXING = [
    indexed("1", 1),
    indexed("-1", -1, errors=[Bad(lambda: ones(3)[3], IndexRangeError, r"\[3\] into a tensor of shape \(3,\)"),
                              Bad(lambda: ones(3)[0, 0], IndexRangeError, "too many"),
                              Bad(lambda: ones(3)[ones(1)], DtypeError, "float32")]),
    indexed("1, 2, 0", (1, 2, 0)),
    indexed("1:, ..., None", (slice(1, None), Ellipsis, None)),
    indexed("::2, ::-1", (slice(None, None, 2), slice(None, None, -1))),
    indexed("list", [2, 0, 2]),
    indexed("tensor", nyala.tensor([[0, 1], [2, -1]])),
    indexed(":, tensor", (slice(None), nyala.tensor([3, 0, 3]))),
    indexed("tensor, :, tensor", (nyala.tensor([0, 2]), slice(None), nyala.tensor([1, 1]))),
    indexed("tensor, number", (nyala.tensor([0, 2]), 1)),
    indexed("mask", nyala.tensor(MASK)),
    indexed("mask, 0", (nyala.tensor(MASK), 0)),
    indexed("empty", nyala.tensor([], dtype="int64")),
    OpCase("index_put", lambda x, v: index.index_put(x, (ints(2, 0),), v), lambda s: (s.normal(3, 4), s.normal(2, 4)),
           lambda x, v: put(x, [2, 0], v), errors=[Bad(lambda: ones(3).index_put((ints(3),), 1.0), IndexRangeError, "3"),
                                                   Bad(lambda: ones(3).index_put((ints(1),), ones(2)), ShapeError,
                                                   r"value of shape \(2,\)")]),
    OpCase("index_put accumulate", lambda x, v: index.index_put(x, (ints(2, 0, 2),), v, accumulate=True),
           lambda s: (s.normal(3, 4), s.normal(4)), lambda x, v: put(x, [2, 0, 2], v, True)),
    OpCase("index_put slice", lambda x, v: index.index_put(x, (slice(1, 3), 0), v), lambda s: (s.normal(3, 4), s.normal()),
           lambda x, v: put(x, (slice(1, 3), 0), v)),
    OpCase("gather", lambda x, i: x.gather(1, i), lambda s: (s.normal(3, 4), TWICE),
           lambda x, i: np.take_along_axis(x[:2], i, 1), layouts=False, errors=BAD_GATHER),
    OpCase("gather 0-d", lambda x, i: x.gather(0, i), lambda s: (s.normal(), np.array(0)), lambda x, i: x, layouts=False),
    OpCase("scatter_add", lambda x, i, v: x.scatter_add(1, i, v), lambda s: (s.normal(3, 4), TWICE, s.normal(3, 4)),
           lambda x, i, v: added(x, 1, i, v), layouts=False,
           errors=[Bad(lambda: ones(2).scatter_add(0, ints(0, 1), ones(1)), ShapeError, "every index"),
                   Bad(lambda: ones(2).scatter_add(0, ints(5), ones(1)), IndexRangeError, "index 5")]),
    OpCase("scatter", lambda x, i, v: x.scatter(1, i, v), lambda s: (s.normal(3, 4), np.array([[0, 3], [2, 1]]), s.normal(2, 2)),
           lambda x, i, v: written(x, 1, i, v), layouts=False,
           errors=[Bad(lambda: ones(2).scatter(0, ints(0, 2), 1.0), IndexRangeError, "index 2"),
                   Bad(lambda: ones(2).scatter(0, ints(0), 1.0, reduce="max"), ArgumentError, "max")]),
    OpCase("scatter number", lambda x, i: x.scatter(0, i, 7.0), lambda s: (s.normal(3, 4), np.array([[2, 0, 1]])),
           lambda x, i: written(x, 0, i, np.float64(7)), layouts=False),
    OpCase("scatter add", lambda x, i, v: x.scatter(1, i, v, reduce="add"), lambda s: (s.normal(3, 4), TWICE, s.normal(3, 4)),
           lambda x, i, v: added(x, 1, i, v), layouts=False),
    *[scattered(how, mine) for how in ("sum", "mean", "amax", "amin", "prod") for mine in (True, False)],
    OpCase("index_select", lambda x, i: x.index_select(-1, i), lambda s: (s.normal(3, 4), np.array([3, 0, 3])),
           lambda x, i: x.take(i, -1), layouts=False,
           errors=[Bad(lambda: ones(2).index_select(0, ints(-1)), IndexRangeError, "-1")]),
    OpCase("take_along_dim", lambda x, i: x.take_along_dim(i, 1), lambda s: (s.normal(3, 4), np.array([[3, 0]])),
           lambda x, i: np.take_along_axis(x, np.broadcast_to(i, (3, 2)), 1), layouts=False),
    OpCase("masked_select", lambda x, m: x.masked_select(m), lambda s: (s.normal(3, 4), MASK), lambda x, m: x[m], layouts=False,
           errors=[Bad(lambda: ones(2).masked_select(ones(3) > 0), ShapeError, "broadcast")]),
    OpCase("masked_select broadcast", lambda x, m: x.masked_select(m), lambda s: (s.normal(4), MASK),
           lambda x, m: np.broadcast_to(x, (3, 4))[m], layouts=False),
    OpCase("one_hot", lambda i: index.one_hot(i, 4), lambda s: (s.integers(0, 4, (2, 3)),),
           lambda i: np.eye(4, dtype=np.int64)[i],
           errors=[Bad(lambda: index.one_hot(ints(4), 4), IndexRangeError, "4")]),
    OpCase("embedding", lambda w, i: index.embedding(i, w), lambda s: (s.normal(4, 3), np.array([[1, 3], [1, 0]])), lambda w,
           i: w[i],
           layouts=False, errors=[Bad(lambda: index.embedding(ints(0, 9), ones(4, 2)), IndexRangeError,
                  r"index 9 at position \(1,\)")]),
]  # fmt: skip


def product(name: str, op: Any, a: tuple[int, ...], b: tuple[int, ...], **options: Any) -> OpCase:
    return OpCase(f"{name} {a} {b}", op, lambda s: (s.normal(*a), s.normal(*b)), np.matmul, rtol=4, **options)


def einsum(equation: str, *shapes: tuple[int, ...], **options: Any) -> OpCase:
    return OpCase(f"einsum {equation} {shapes}", lambda *t: nyala.einsum(equation, *t), lambda s: [s.normal(*n) for n in shapes],
                  lambda *t: np.einsum(equation, *t), rtol=4, **options)  # fmt: skip


PRODUCTS = [
    product("matmul", linalg.matmul, (3, 4), (4, 2),
            also=(lambda s: (s.normal(0, 4), s.normal(4, 2)), lambda s: (s.normal(3, 0), s.normal(0, 2))),
            errors=[Bad(lambda: ones(2, 3) @ ones(2, 3), ShapeError, r"\(2, 3\) @ \(2, 3\)"),
            Bad(lambda: ones(2) @ nyala.tensor(1.0), ShapeError, "use \\*"),
                    Bad(lambda: ones(2, 1, 3) @ ones(3, 3, 1), ShapeError, "broadcast")]),
    product("matmul", linalg.matmul, (4,), (4,)),
    product("matmul", linalg.matmul, (4,), (4, 2)),
    product("matmul", linalg.matmul, (3, 4), (4,)),
    product("matmul", linalg.matmul, (2, 3, 4), (4, 2)),
    product("matmul", linalg.matmul, (3, 4), (2, 4, 2)),
    product("matmul", linalg.matmul, (2, 1, 3, 4), (5, 4, 2)),
    product("matmul", linalg.matmul, (2, 3, 4), (4,)),
    product("mm", linalg.mm, (3, 4), (4, 2),
           errors=[Bad(lambda: nyala.mm(ones(2), ones(2, 2)), ShapeError, "2 and 2 dimensions")]),
    product("bmm", linalg.bmm, (2, 3, 4), (2, 4, 2),
           errors=[Bad(lambda: nyala.bmm(ones(1, 2, 2), ones(2, 2, 2)), ShapeError, "batch size")]),
    product("mv", linalg.mv, (3, 4), (4,)),
    product("dot", linalg.dot, (4,), (4,)),
    OpCase("outer", linalg.outer, lambda s: (s.normal(3), s.normal(4)), np.outer,
           errors=[Bad(lambda: ones(2).outer(ones(1, 1)), ShapeError, "vectors")]),
    OpCase("linear", linalg.linear, lambda s: (s.normal(2, 3, 4), s.normal(5, 4), s.normal(5)), lambda x, w, b: x @ w.T + b,
           rtol=4,
           errors=[Bad(lambda: linalg.linear(ones(2, 3), ones(5, 4)), ShapeError, "in=3.*expects in=4")]),
    OpCase("addmm", linalg.addmm, lambda s: (s.normal(2), s.normal(3, 4), s.normal(4, 2)), lambda x, a, b, beta,
           alpha: beta * x + alpha * (a @ b),
           {"beta": 0.5, "alpha": 2}, rtol=4),
    OpCase("baddbmm", linalg.baddbmm, lambda s: (s.normal(3, 1), s.normal(2, 3, 4), s.normal(2, 4, 2)), lambda x, a,
           b: x + a @ b, rtol=4),
    einsum("ij,jk->ik", (2, 3), (3, 4), errors=[
        Bad(lambda: nyala.einsum("ij,j", ones(2, 3)), ArgumentError, "2 term"),
        Bad(lambda: nyala.einsum("ij->ik", ones(2, 3)), ArgumentError, "k"),
        Bad(lambda: nyala.einsum("i,i", ones(2), ones(3)), ShapeError, "letter 'i'"),
        Bad(lambda: nyala.einsum("i", ones(2, 2)), ArgumentError, "term 'i'"),
        Bad(lambda: nyala.einsum("ij->ii", ones(2, 2)), ArgumentError, "twice")]),
    einsum("ij,jk", (2, 3), (3, 4)),
    einsum("ba,ac", (2, 3), (3, 4)),
    einsum("bij,bjk->bik", (2, 3, 4), (2, 4, 2)),
    einsum("bij,bjk->bik", (1, 3, 4), (2, 4, 2)),
    einsum("ij,ij->", (2, 3), (1, 3)),
    einsum("ij,jk->ik", (2, 1), (3, 4)),
    einsum("...ij,...jk->...ik", (5, 1, 2, 3), (4, 3, 2)),
    einsum("...i->...", (2, 3, 4)),
    einsum("ij->ji", (2, 3)),
    einsum("ii->i", (3, 3)),
    einsum("ii", (3, 3)),
    einsum("iij->j", (2, 2, 3)),
    einsum("i,j->ij", (2,), (3,)),
    einsum("ij,ij->ij", (2, 3), (2, 3)),
    einsum("i,i->i", (4,), (4,)),
    einsum("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    einsum("ij,k->i", (2, 3), (4,)),
    einsum("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
    einsum("a,b,c->abc", (2,), (3,), (2,)),
]  # fmt: skip


def compared(name: str, function: Any) -> OpCase:
    return OpCase(name, getattr(logical, name), lambda s: (s.integers(0, 3, (3, 4)) * 1.0, s.integers(0, 3, (4,)) * 1.0),
           function,
                  differentiable=False, errors=[Bad(lambda: getattr(logical, name)(ones(2), ones(3)), ShapeError,
                         "broadcast")])  # fmt: skip


TRUTH = [
    compared("eq", np.equal),
    compared("ne", np.not_equal),
    compared("lt", np.less),
    compared("le", np.less_equal),
    compared("gt", np.greater),
    compared("ge", np.greater_equal),
    compared("logical_and", np.logical_and),
    compared("logical_or", np.logical_or),
    compared("logical_xor", np.logical_xor),
    compared("isclose", np.isclose),
    *[OpCase(name, getattr(logical, name), lambda s: (np.where(s.bools(3, 4), np.nan, np.where(s.bools(3, 4), np.inf, 1.0)),),
             getattr(np, name), differentiable=False) for name in ("isnan", "isinf", "isfinite")],
    OpCase("logical_not", logical.logical_not, lambda s: (s.integers(0, 2, (3, 4)) * 1.0,), np.logical_not, differentiable=False),
    OpCase("bitwise_not", logical.bitwise_not, lambda s: (s.integers(-5, 5, (3, 4)),), np.bitwise_not,
           errors=[Bad(lambda: ~ones(2), DtypeError, "float32")]),
    OpCase("bitwise_and", logical.bitwise_and, lambda s: (s.integers(-5, 5, (3, 4)), s.integers(0, 9, (4,))), np.bitwise_and),
    OpCase("bitwise_or", logical.bitwise_or, lambda s: (s.integers(-5, 5, (3, 4)), s.integers(0, 9, (4,))), np.bitwise_or),
    OpCase("bitwise_xor", logical.bitwise_xor, lambda s: (s.bools(3, 4), s.bools(4)), np.bitwise_xor),
]  # fmt: skip

TABLE = [*UNARY, *BINARY, *REDUCTIONS, *SHAPES, *INDEXING, *PRODUCTS, *TRUTH]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_operation(case: OpCase) -> None:
    check_op(case)


def test_names_are_unique_so_that_samples_differ() -> None:
    names = [case.name for case in TABLE]
    assert len(set(names)) == len(names), sorted({n for n in names if names.count(n) > 1})


def test_every_public_operation_has_a_row() -> None:
    names = " ".join(case.name for case in TABLE)
    elsewhere = {"getitem", "setitem", "sum_to"}  # x[...] rows and test_tensor.py; sum_to is what broadcasting rows go through
    for module in (elementwise, logical, reduce, shape, index, linalg):
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
                assert name.rstrip("_") in names or name in elsewhere, f"{module.__name__}.{name}"

"""``Tensor``: what it is, how values come in and out, methods, exchange with other libraries."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.errors import ArgumentError, DtypeError, GradError, IndexRangeError, ShapeError


class TestAttributes:
    def test_shape_dtype_and_size(self) -> None:
        x = nyala.zeros(2, 3)
        assert x.shape == x.size() == (2, 3) and x.size(-1) == 3
        assert (x.ndim, x.dim(), x.numel(), len(x), x.itemsize, x.element_size(), x.nbytes) == (2, 2, 6, 2, 4, 4, 24)
        assert x.device == "cpu" and not x.is_cuda and x.is_leaf and x.grad is None and x.grad_fn is None
        assert x.is_floating_point() and not x.is_complex() and not x.long().is_floating_point()
        assert x.is_contiguous() and not x.t().is_contiguous()
        assert x.t().shape == x.T.shape == x.mT.shape == (3, 2)

    def test_truth(self) -> None:
        assert nyala.tensor(1.0) and not nyala.tensor([[0]])
        with pytest.raises(ArgumentError, match=r"truth value of a tensor of shape \(2,\) is ambiguous.*any\(\)"):
            bool(nyala.ones(2))

    def test_hash_is_identity(self) -> None:
        x, y = nyala.ones(2), nyala.ones(2)
        assert len({x, y, x}) == 2

    def test_iteration(self) -> None:
        assert [row.tolist() for row in nyala.arange(4).reshape(2, 2)] == [[0, 1], [2, 3]]
        with pytest.raises(ArgumentError, match="cannot be iterated"):
            list(nyala.tensor(1))
        with pytest.raises(ArgumentError, match="len"):
            len(nyala.tensor(1))


class TestOut:
    def test_numbers(self) -> None:
        assert nyala.tensor([[2.5]]).item() == 2.5 and type(nyala.tensor(2).item()) is int
        assert float(nyala.tensor(2)) == 2.0 and int(nyala.tensor(2.7)) == 2 and [10, 20, 30][nyala.tensor(1)] == 20
        assert nyala.tensor(1.5, dtype="bfloat16").item() == 1.5
        assert nyala.tensor([1.5, 2], dtype="bfloat16").tolist() == [1.5, 2.0]
        assert nyala.tensor(3).tolist() == 3
        with pytest.raises(ShapeError, match=r"item\(\) of a tensor of shape \(2,\)"):
            nyala.ones(2).item()
        with pytest.raises(DtypeError, match="cannot be an index"):
            [1, 2][nyala.tensor(1.0)]

    def test_numpy_shares_memory(self) -> None:
        x = nyala.zeros(3)
        x.numpy()[1] = 5
        assert x.tolist() == [0, 5, 0]
        with pytest.raises(GradError, match=r"detach\(\)\.numpy\(\)"):
            nyala.ones(1, requires_grad=True).numpy()

    def test_numpy_functions_take_tensors(self) -> None:
        x = nyala.tensor([1.0, 4.0])
        assert np.asarray(x) is not None and np.sqrt(np.asarray(x)).tolist() == [1, 2]
        assert np.array(x, dtype=np.float64).dtype == np.float64
        assert np.shares_memory(np.asarray(x), x.array)
        assert isinstance(np.float64(2) * x, nyala.Tensor) and isinstance(np.ones(2) + x, nyala.Tensor)
        with pytest.raises(ArgumentError, match="without a copy"):
            np.array(x, dtype=np.float64, copy=False)

    def test_dlpack_both_ways_without_a_copy(self) -> None:
        x = nyala.arange(6.0).reshape(2, 3)
        seen = np.from_dlpack(x)
        assert np.shares_memory(seen, x.array)
        array = np.arange(4.0)
        y = nyala.from_dlpack(array)
        assert np.shares_memory(y.array, array) and y.tolist() == [0, 1, 2, 3]
        assert nyala.from_dlpack(x).tolist() == x.tolist()
        assert x.__dlpack_device__() == (1, 0)
        with pytest.raises(GradError, match="exported"):
            np.from_dlpack(nyala.ones(1, requires_grad=True))


class TestCreation:
    @pytest.mark.parametrize(
        ("data", "dtype", "values"),
        [
            (1, "int64", 1),
            (1.5, "float32", 1.5),
            (True, "bool", True),
            ([1, 2.5], "float32", [1, 2.5]),
            ([[1], [2]], "int64", [[1], [2]]),
            ([], "float32", []),
            (1j, "complex64", 1j),
            (np.float64(1.5), "float64", 1.5),
            (np.array([1, 2], np.int32), "int32", [1, 2]),
            (range(3), "int64", [0, 1, 2]),
        ],
    )
    def test_dtypes_are_inferred(self, data: Any, dtype: str, values: Any) -> None:
        x = nyala.tensor(data)
        assert str(x.dtype) == dtype and x.tolist() == values

    def test_a_list_of_tensors(self) -> None:
        x = nyala.tensor([nyala.tensor(1.0), nyala.tensor(2.0)])
        assert x.tolist() == [1, 2]
        assert nyala.tensor([nyala.ones(2), nyala.zeros(2)]).shape == (2, 2)

    def test_tensor_copies_and_from_numpy_does_not(self) -> None:
        array = np.ones(2, np.float32)
        assert not np.shares_memory(nyala.tensor(array).array, array)
        assert np.shares_memory(nyala.from_numpy(array).array, array)
        assert np.shares_memory(nyala.as_tensor(array).array, array)
        x = nyala.ones(2)
        assert nyala.as_tensor(x) is x and nyala.tensor(x) is not x
        assert nyala.as_tensor([1, 2], dtype="float16").dtype == nyala.float16

    def test_bad_data(self) -> None:
        with pytest.raises(ArgumentError, match="equally long"):
            nyala.tensor([[1, 2], [3]])
        with pytest.raises(DtypeError, match="pass numbers"):
            nyala.tensor(["a"])
        with pytest.raises(DtypeError, match="from_numpy needs an array, not list"):
            nyala.from_numpy([1])

    def test_filled(self) -> None:
        assert nyala.zeros(2).tolist() == [0, 0] and nyala.ones((1, 2)).tolist() == [[1, 1]]
        assert nyala.full((2,), 7).dtype == nyala.int64 and nyala.full((2,), 7.5).tolist() == [7.5, 7.5]
        assert nyala.full(2, True).dtype == nyala.bool
        assert nyala.empty(3, dtype="int8").dtype == nyala.int8
        x = nyala.ones(2, dtype="float16")
        assert nyala.zeros_like(x).dtype == nyala.float16 and nyala.full_like(x, 3).tolist() == [3, 3]
        assert nyala.ones_like(x, dtype="int64").dtype == nyala.int64 and nyala.empty_like(x).shape == (2,)
        assert x.new_zeros(3).dtype == nyala.float16 and x.new_ones((1, 2)).shape == (1, 2)
        assert nyala.ones(1, requires_grad=True).requires_grad

    def test_ranges(self) -> None:
        assert nyala.arange(3).dtype == nyala.int64 and nyala.arange(3.0).dtype == nyala.float32
        assert nyala.arange(1, 7, 2).tolist() == [1, 3, 5] and nyala.arange(5, 0, -2).tolist() == [5, 3, 1]
        assert nyala.arange(0, 1, 0.25).tolist() == [0, 0.25, 0.5, 0.75] and nyala.arange(0).tolist() == []
        assert nyala.linspace(0, 1, 5).tolist() == [0, 0.25, 0.5, 0.75, 1]
        assert nyala.eye(2).tolist() == [[1, 0], [0, 1]] and nyala.eye(2, 3).shape == (2, 3)
        for bad in ((1, 0, 1), (0, 1, 0)):
            with pytest.raises(ArgumentError, match="step that leads to the end"):
                nyala.arange(*bad)

    def test_meshgrid(self) -> None:
        a, b = nyala.meshgrid(nyala.arange(2), nyala.arange(3))
        assert a.tolist() == [[0, 0, 0], [1, 1, 1]] and b.tolist() == [[0, 1, 2], [0, 1, 2]]


class TestDevices:
    def test_cuda_without_cupy_says_what_to_do(self) -> None:
        if nyala.cuda_is_available():
            pytest.skip("there is a CUDA device here")
        for make in (lambda: nyala.ones(1, device="cuda"), lambda: nyala.ones(1).cuda(), lambda: nyala.ones(1).to("cuda:0")):
            with pytest.raises(nyala.errors.DeviceError, match=r"device 'cuda' was asked for, but CuPy.*Remedy: .*device='cpu'"):
                make()

    def test_unknown_devices(self) -> None:
        with pytest.raises(nyala.errors.DeviceError, match=r"unknown device 'gpu'.*use 'cpu', 'cuda' or 'cuda:N'"):
            nyala.ones(1, device="gpu")

    def test_to(self) -> None:
        x = nyala.ones(2)
        assert x.to("cpu") is x and x.cpu() is x and x.to(nyala.float32) is x
        assert x.to("float16").dtype == x.to(dtype=nyala.float16).dtype == x.half().dtype == nyala.float16
        assert x.to(nyala.zeros(1, dtype="float64")).dtype == nyala.float64
        assert x.to("cpu", copy=True) is not x
        assert x.type_as(nyala.ones(1, dtype="int32")).dtype == x.int().dtype == nyala.int32
        assert (x.byte().dtype, x.bool().dtype, x.double().dtype) == (nyala.uint8, nyala.bool, nyala.float64)


class TestWriting:
    def test_in_place_methods_give_the_tensor_itself(self) -> None:
        x = nyala.tensor([1.0, 4.0])
        place = x.data_ptr()
        assert x.add_(1).mul_(2).sub_(1).div_(3) is x
        assert x.tolist() == [1, 3] and x.data_ptr() == place
        x.copy_([5, 6]).clamp_(max=5.5).sqrt_()
        assert x.tolist() == pytest.approx([math.sqrt(5), math.sqrt(5.5)])
        assert x.fill_(2).tolist() == [2, 2] and x.zero_().tolist() == [0, 0]
        assert x.masked_fill_(x == 0, 7).tolist() == [7, 7]

    def test_operators(self) -> None:
        x = nyala.tensor([6.0, 8.0])
        same = x
        x += 2
        x -= 1
        x *= 2
        x /= 7
        x **= 2
        assert same is x and x.tolist() == pytest.approx([4.0, (18 / 7) ** 2])
        assert [(1 - x)[0].item(), (8 / x)[0].item(), (2**x)[0].item()] == pytest.approx([-3, 2, 16])
        assert (9 // nyala.tensor([2])).tolist() == [4] and abs(nyala.tensor([-1])).tolist() == [1]
        assert (nyala.tensor([1, 2]) & 1).tolist() == (1 & nyala.tensor([1, 2])).tolist() == [1, 0]
        assert (~nyala.tensor([True, False])).tolist() == [False, True]
        assert (nyala.tensor([True]) | False).tolist() == (nyala.tensor([True]) ^ False).tolist() == [True]

    def test_setitem(self) -> None:
        x = nyala.zeros(3, 3)
        x[0] = 1
        x[1, 1:] = nyala.tensor([2.0, 3.0])
        x[nyala.tensor([2, 2]), nyala.tensor([0, 2])] = 9.0
        x[x == 0] = -1
        assert x.tolist() == [[1, 1, 1], [-1, 2, 3], [9, -1, 9]]
        x[:, 0] = [4, 5, 6]
        assert x[:, 0].tolist() == [4, 5, 6]
        with pytest.raises(IndexRangeError, match=r"\[3\] into a tensor of shape \(3, 3\)"):
            x[3] = 0
        with pytest.raises(ShapeError, match=r"value of shape \(2,\) at \[0\] of \(3, 3\), where there is \(3,\)"):
            x[0] = nyala.ones(2)

    def test_random_fills_take_the_ambient_stream(self) -> None:
        nyala.manual_seed(0)
        a, b = nyala.empty(4).normal_(2, 0.5), nyala.empty(4).uniform_(-1, 1)
        nyala.manual_seed(0)
        assert nyala.empty(4).normal_(2, 0.5).tolist() == a.tolist() and nyala.empty(4).uniform_(-1, 1).tolist() == b.tolist()
        assert all(-1 <= v < 1 for v in b.tolist())

    def test_data(self) -> None:
        x = nyala.ones(2, requires_grad=True)
        x.data.mul_(3)
        x.data = x.data + 1
        assert x.tolist() == [4, 4] and x.requires_grad and not x.data.requires_grad


class TestCopies:
    def test_deepcopy_of_a_leaf(self) -> None:
        x = nyala.nn.Parameter(nyala.ones(2))
        (x * 2).sum().backward()
        y = copy.deepcopy(x)
        assert type(y) is nyala.nn.Parameter and y.requires_grad and y.grad.tolist() == [2, 2]
        y.data.zero_()
        assert x.tolist() == [1, 1]
        with pytest.raises(GradError, match="copy of a result of Mul"):
            copy.deepcopy(x * 2)

    def test_clone_and_detach(self) -> None:
        x = nyala.ones(2, requires_grad=True)
        assert x.clone().requires_grad and not np.shares_memory(x.clone().array, x.array)
        assert np.shares_memory(x.detach().array, x.array)

    def test_comparing_tensors(self) -> None:
        x = nyala.tensor([1.0, math.nan])
        assert not x.allclose(x) and x.allclose(x, equal_nan=True)
        assert nyala.ones(2).equal(nyala.ones(2)) and not nyala.ones(2).equal(nyala.ones(3))


def test_every_public_name_exists() -> None:
    for name in dir(nyala):
        assert getattr(nyala, name) is not None, name


def test_methods_carry_their_names_and_documentation() -> None:
    for name in ("add", "add_", "exp", "sum", "reshape", "gather", "matmul", "to", "float", "unfold", "scatter_reduce"):
        method = getattr(nyala.Tensor, name)
        assert method.__doc__, name
    with pytest.raises(AttributeError, match="did you mean"):
        nyala.zeroes(2)

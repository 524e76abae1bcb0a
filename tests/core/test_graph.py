"""The graph: what writes it refuses, how it lets go of memory, and what anomaly mode tells."""

# ruff: noqa: ARG005 - signatures that are given
from __future__ import annotations

import gc
import tracemalloc
import weakref
from typing import Any

import numpy as np
import nyala
import pytest
from function_samples import Scaled
from nyala.autograd import grad
from nyala.errors import DtypeError, GradError, NumericError, ShapeError


def leaf(*values: float) -> nyala.Tensor:
    return nyala.tensor(values if len(values) > 1 else values[0], dtype="float64", requires_grad=True)


def values(t: Any) -> list[float]:
    return np.atleast_1d(t.detach().numpy()).tolist()


class TestWriting:
    def test_a_leaf_cannot_be_written(self) -> None:
        x = leaf(1, 2)
        for write in (lambda: x.add_(1), lambda: x.__setitem__(0, 1.0), lambda: x.zero_()):
            with pytest.raises(GradError, match=r"leaf that requires a gradient.*no_grad"):
                write()
        with nyala.no_grad():
            x.add_(1)
            x[0] = 7.0
        assert values(x) == [7, 3]

    def test_a_recorded_write_has_its_gradient(self) -> None:
        x = leaf(1, 2, 3)
        y = x * 2
        y[1] = x[0] * 5
        y.mul_(3)
        y.sum().backward()
        assert values(x.grad) == [6 + 15, 0, 6]

    def test_iadd_writes_in_place(self) -> None:
        x = leaf(1, 2)
        y = x * 1
        place = y.data_ptr()
        y += x
        assert y.data_ptr() == place
        y.sum().backward()
        assert values(x.grad) == [2, 2]

    def test_a_kept_tensor_that_changed_is_noticed(self) -> None:
        x = leaf(1, 2)
        y = x * 2
        z = (y * y).sum()
        y.add_(1)
        with pytest.raises(GradError, match=r"shape \(2,\) that Mul keeps.*changed in place \(1 write"):
            z.backward()

    def test_a_write_that_nobody_keeps_is_allowed(self) -> None:
        x = leaf(1, 2)
        y = x * 2
        z = (y + 1).sum()
        y.add_(1)
        z.backward()
        assert values(x.grad) == [2, 2]

    def test_writes_through_views_and_detached_tensors_count(self) -> None:
        for write in (lambda y: y.detach()[0].fill_(9.0), lambda y: y.detach().zero_(), lambda y: y.data.reshape(2).mul_(2)):
            x = leaf(1, 2)
            y = x * 2
            z = (y * y).sum()
            write(y)
            with pytest.raises(GradError, match="changed in place"):
                z.backward()

    def test_a_result_of_the_operation_itself_is_guarded(self) -> None:
        x = leaf(1, 2)
        y = x.exp()
        y.add_(1)
        with pytest.raises(GradError, match="changed in place"):
            y.sum().backward()

    def test_views_inside_a_graph_cannot_be_written(self) -> None:
        y = leaf(1, 2) * 1
        with pytest.raises(GradError, match="through a view"):
            y[0].add_(1)
        with pytest.raises(GradError, match="with views"):
            y.add_(1)

    def test_overwriting_everything_cuts_the_way_back(self) -> None:
        x = leaf(1, 2)
        y = x * 2
        y.zero_()
        z = x * 2
        z.copy_(nyala.ones(2))
        assert (y.sum() + z.sum() + (x * 0).sum()).backward() is None
        assert values(x.grad) == [0, 0]

    def test_shapes_and_dtypes_must_fit(self) -> None:
        with pytest.raises(ShapeError, match=r"shape \(2, 2\), the tensor written to has \(2,\)"):
            nyala.ones(2).add_(nyala.ones(2, 2))
        with pytest.raises(DtypeError, match="int64 cannot hold"):
            nyala.ones(2, dtype="int64").mul_(0.5)

    def test_expanded_tensors_cannot_be_written(self) -> None:
        x = nyala.ones(1).expand(3)
        for write in (lambda: x.add_(1), lambda: x.__setitem__(0, 2.0)):
            with pytest.raises(nyala.errors.ArgumentError, match=r"read-only.*expanded"):
                write()

    def test_gradients_are_never_shared(self) -> None:
        a, b = leaf(1, 2), leaf(3, 4)
        given = nyala.ones(2, dtype="float64")
        (a + b).backward(given)
        a.grad.mul_(10)
        assert values(b.grad) == [1, 1] and values(given) == [1, 1]
        c = leaf(1, 2)
        kept = []
        c.register_hook(kept.append)
        c.backward(given)
        c.grad.mul_(10)
        assert values(given) == [1, 1] and values(kept[0]) == [1, 1]
        d, e = leaf(1, 2), leaf(3, 4)
        (d.reshape(2, 1) + e.reshape(2, 1)).sum().backward()
        d.grad.mul_(10)
        assert values(e.grad) == [1, 1]

    def test_a_retained_gradient_is_not_shared_either(self) -> None:
        x = leaf(1, 2)
        y = x + 0
        y.retain_grad()
        y.sum().backward()
        y.grad.mul_(10)
        assert values(x.grad) == [1, 1]

    def test_requires_grad(self) -> None:
        with pytest.raises(DtypeError, match="int64 cannot require a gradient"):
            nyala.ones(2, dtype="int64").requires_grad_()
        with pytest.raises(GradError, match="detach"):
            (leaf(1) * 2).requires_grad_(False)
        x = leaf(1)
        assert not x.requires_grad_(False).requires_grad

    def test_detach(self) -> None:
        x = leaf(1, 2)
        y = (x * 2).detach()
        assert not y.requires_grad and y.is_leaf
        z = x * 2
        assert z.detach_() is z and not z.requires_grad
        with pytest.raises(GradError, match="detach"):
            x.numpy()


class TestMemory:
    @pytest.mark.parametrize("depth", [10_000, 100_000])
    def test_a_deep_graph_is_built_walked_and_deleted_without_recursion(self, depth: int) -> None:
        x = leaf(1)
        y = x
        for _ in range(depth):
            y = y + 1.0
        y.backward()
        assert values(x.grad) == [1]
        z = x
        for _ in range(depth):
            z = z * 1.0
        del z  # never walked: deleting it must not recurse either

    def test_grad_of_a_deep_graph(self) -> None:
        x = leaf(1)
        y = x
        for _ in range(10_000):
            y = y * 1.0
        assert values(grad(y, x)[0]) == [1]

    def test_kept_arrays_are_freed_while_backward_runs(self) -> None:
        x = nyala.ones(1000, requires_grad=True)
        alive: list[int] = []
        refs: list[Any] = []
        y = x
        for _ in range(20):
            y = y.exp() * 0.0
            refs.append(weakref.ref(y.grad_fn.kept[0][0].array) if y.grad_fn.kept else weakref.ref(y.array))
        x.register_hook(lambda g: alive.append(sum(r() is not None for r in refs)))
        out = y.sum()
        del y
        out.backward()
        assert alive[0] <= 2, "what the graph kept was still there when the walk came to its end"

    def test_peak_memory_of_backward_does_not_grow_with_depth(self) -> None:
        def peak(depth: int) -> int:
            x = nyala.ones(100_000, requires_grad=True)
            y = x
            for _ in range(depth):
                y = y.tanh()
            out = y.sum()
            del y
            gc.collect()
            tracemalloc.start()
            out.backward()
            _, top = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return top

        assert peak(40) < 1.5 * peak(10)

    def test_graphs_are_no_cycles(self) -> None:
        gc.collect()
        gc.disable()
        try:
            x = leaf(1, 2)
            y = Scaled.apply((x.exp() * x).relu() @ x, 2.0)
            z = x * 2
            z.retain_grad()
            z.register_hook(lambda g: None)
            total = y + z.sum() + x.reshape(2, 1).softmax(0).max(0).values.sum()
            refs = [weakref.ref(t) for t in (y, z, total, y.grad_fn, z.grad_fn, total.grad_fn)]
            del y, z, total
            assert [r() for r in refs] == [None] * 6
            w = Scaled.apply(x, 2.0).sum()
            ref = weakref.ref(w.grad_fn)
            w.backward()
            del w
            assert ref() is None
        finally:
            gc.enable()

    def test_a_detached_result_does_not_hold_the_graph(self) -> None:
        x = leaf(1, 2)
        y = x.exp()
        ref = weakref.ref(y.grad_fn)
        kept = y.detach()
        del y
        assert ref() is None and kept.shape == (2,)


class TestAnomaly:
    def test_the_operation_and_its_line_are_named(self) -> None:
        x = leaf(0.0, 1.0)
        found = r"Sqrt returned NaN or infinity as the gradient of its input 0.*test_graph.py:\d+: y = x.sqrt"
        with nyala.autograd.detect_anomaly():
            y = x.sqrt()
            with pytest.raises(NumericError, match=found), np.errstate(divide="ignore"):
                y.sum().backward()
            (x + 1).sqrt().sum().backward()

    def test_the_module_path_is_named(self) -> None:
        class Inner(nyala.nn.Module):
            def forward(self, x: Any) -> Any:
                return x.sqrt()

        model = nyala.nn.Sequential(nyala.nn.Identity(), nyala.nn.Sequential(Inner()))
        nyala.autograd.set_detect_anomaly(True)
        try:
            with pytest.raises(NumericError, match=r"Sqrt returned.*module .*1\.0"), np.errstate(divide="ignore"):
                model(leaf(0.0, 1.0)).sum().backward()
        finally:
            nyala.autograd.set_detect_anomaly(False)


def test_views_share_memory_and_gradients() -> None:
    x = nyala.ones(2, 3)
    views = (x[0], x[0, 1], x.t(), x.reshape(3, 2), x.narrow(1, 0, 2), x.unsqueeze(0), x.diagonal(), x.split(1)[1], x.detach())
    for view in views:
        assert np.shares_memory(view.array, x.array)
    x.diagonal().fill_(5.0)
    x[1, 2].fill_(7.0)
    assert x.tolist() == [[5, 1, 1], [1, 5, 7]]
    for copy in (x[[0]], x.t().reshape(6), x.clone(), x.flip(0)):
        assert not np.shares_memory(copy.array, x.array)

"""Gradients: backward and grad, hooks, functions of your own, and the switches around them."""

# ruff: noqa: ARG004 - signatures that are given
from __future__ import annotations

import threading
from typing import Any

import numpy as np
import nyala
import pytest
from function_samples import Scaled
from nyala.autograd import Function, grad, once_differentiable
from nyala.errors import GradError, ShapeError
from nyala.testing import assert_close, gradcheck, gradgradcheck


def leaf(*values: float) -> nyala.Tensor:
    return nyala.tensor(values if len(values) > 1 else values[0], dtype="float64", requires_grad=True)


def values(t: Any) -> list[float]:
    return np.atleast_1d(t.detach().numpy()).tolist()


class TestBackward:
    def test_gradients_add_up_in_leaves(self) -> None:
        x = leaf(1, 2)
        (x * x).sum().backward()
        (x * 3).sum().backward()
        assert values(x.grad) == [5, 7]

    def test_a_tensor_used_twice_gets_both_gradients(self) -> None:
        x = leaf(2)
        y = x * x
        (y * y + y).backward()
        assert values(x.grad) == [4 * 8 + 4]

    def test_only_leaves_keep_gradients(self) -> None:
        x = leaf(1, 2)
        y = x * 2
        y.sum().backward()
        assert y.grad is None and x.grad is not None

    def test_retain_grad_keeps_one_of_a_result(self) -> None:
        x = leaf(1, 2)
        y = x * 2
        y.retain_grad()
        (y * y).sum().backward()
        assert values(y.grad) == [4, 8]

    def test_a_gradient_may_be_given(self) -> None:
        x = leaf(1, 2)
        given = nyala.tensor([10.0, 100.0], dtype="float64")
        (x * 2).backward(given)
        assert values(x.grad) == [20, 200]
        with pytest.raises(ShapeError, match=r"gradient has shape \(1,\), the tensor \(2,\)"):
            (x * 2).backward(nyala.ones(1))

    def test_several_roots(self) -> None:
        x = leaf(1, 2)
        nyala.autograd.backward([(x * x).sum(), x], [None, nyala.ones(2, dtype="float64")])
        assert values(x.grad) == [3, 5]

    def test_errors_name_shape_reason_and_remedy(self) -> None:
        with pytest.raises(GradError, match=r"needs a gradient of that shape.*Remedy.*mean\(\)"):
            (leaf(1, 2) * 2).backward()
        with pytest.raises(GradError, match=r"no graph to go back through.*requires_grad"):
            nyala.ones(1).backward()
        with pytest.raises(GradError, match=r"2 gradient\(s\) for 1 tensor"):
            nyala.autograd.backward([leaf(1)], [None, None])

    def test_a_freed_graph_cannot_be_walked_again(self) -> None:
        x = leaf(1, 2)
        y = (x * x).sum()
        y.backward(retain_graph=True)
        y.backward()
        assert values(x.grad) == [4, 8]
        with pytest.raises(GradError, match=r"a second time.*retain_graph=True"):
            y.backward()
        with pytest.raises(GradError, match="a second time"):
            grad(y, x)

    def test_mixed_dtypes_get_gradients_in_their_own(self) -> None:
        a, b = nyala.ones(2, requires_grad=True), nyala.ones(2, dtype="float16", requires_grad=True)
        (a * b).sum().backward()
        assert a.grad.dtype == nyala.float32 and b.grad.dtype == nyala.float16

    def test_complex_gradients_point_uphill(self) -> None:
        z = nyala.tensor(3 + 4j, requires_grad=True)
        abs(z).backward()
        assert z.grad.item() == pytest.approx(0.6 + 0.8j)


class TestGrad:
    def test_leaves_and_results(self) -> None:
        x = leaf(3)
        y = x * x
        z = y * x
        gx, gy = grad(z, [x, y])
        assert (values(gx), values(gy)) == ([27], [3])
        assert x.grad is None

    def test_higher_order(self) -> None:
        x = leaf(2)
        y = x**4
        orders = []
        for _ in range(4):
            (y,) = grad(y, x, create_graph=True)
            orders += values(y)
        assert orders == [32, 48, 48, 24]

    def test_backward_with_create_graph_can_be_differentiated(self) -> None:
        x = leaf(3)
        (x**3).backward(create_graph=True)
        first = x.grad
        x.grad = None
        first.backward()
        assert values(x.grad) == [18]

    def test_unused_inputs(self) -> None:
        x, other = leaf(1), leaf(2)
        with pytest.raises(GradError, match=r"input 1 of shape.*allow_unused=True"):
            grad(x * 2, [x, other])
        assert grad(x * 2, [x, other], allow_unused=True)[1] is None
        assert values(grad(x * 2, [x, other], materialize_grads=True)[1]) == [0]
        with pytest.raises(GradError, match="does not require a gradient"):
            grad(x * 2, nyala.ones(1))

    def test_the_same_input_twice_and_the_output_itself(self) -> None:
        x = leaf(2)
        a, b = grad(x * x, [x, x])
        assert values(a) == values(b) == [4]
        y = x * 3
        assert values(grad(y, y)[0]) == [1]

    def test_only_the_way_to_the_inputs_is_walked(self) -> None:
        calls = []

        class Watched(Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                return x * 1

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                calls.append(1)
                return g

        x, w = leaf(1), leaf(2)
        grad(x * 2 + Watched.apply(w), x)
        assert not calls

    def test_grad_outputs(self) -> None:
        x = leaf(1, 2)
        (g,) = grad([x * 2, x * 3], x, [nyala.ones(2, dtype="float64"), nyala.tensor([1.0, 0.0], dtype="float64")])
        assert values(g) == [5, 2]


class TestHooks:
    def test_a_hook_sees_and_replaces_the_gradient(self) -> None:
        x = leaf(1, 2)
        y = x * 2
        seen = []
        y.register_hook(lambda g: seen.append(values(g)))
        y.register_hook(lambda g: g * 10)
        x.register_hook(lambda g: g + 1)
        y.sum().backward()
        assert seen == [[1, 1]] and values(x.grad) == [21, 21]

    def test_a_removed_hook_is_silent(self) -> None:
        x = leaf(1)
        calls = []
        handles = [x.register_hook(calls.append), x.register_post_accumulate_grad_hook(calls.append)]
        for h in handles:
            h.remove()
            h.remove()
        (x * 2).backward()
        assert not calls

    def test_a_hook_runs_once_on_the_whole_gradient(self) -> None:
        x = leaf(1)
        y = x * 1
        seen = []
        y.register_hook(lambda g: seen.append(g.item()))
        (y + y * y).backward()
        assert seen == [3]

    def test_post_accumulate_hooks(self) -> None:
        x = leaf(1)
        seen = []
        x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.item()))
        (x * 2).backward()
        (x * 3).backward()
        grad(x * 4, x)
        assert seen == [2, 5]
        with pytest.raises(GradError, match="leaves"):
            (x * 2).register_post_accumulate_grad_hook(print)

    def test_hooks_need_a_gradient(self) -> None:
        for method in ("register_hook", "retain_grad"):
            with pytest.raises(GradError, match="requires no gradient"):
                getattr(nyala.ones(1), method)(*[print][: method == "register_hook"])

    def test_hooks_on_leaves_run_in_grad_too(self) -> None:
        x = leaf(1)
        x.register_hook(lambda g: g * 5)
        assert values(grad(x * 2, x)[0]) == [10]


class TestFunction:
    def test_arguments_that_are_no_tensors(self) -> None:
        x = leaf(1, 2)
        assert gradcheck(lambda t: Scaled.apply(t, 3.0), x) and gradgradcheck(lambda t: Scaled.apply(t, 3.0), x)
        assert repr(Scaled.apply(x, 2.0).grad_fn) == "<ScaledBackward>"

    def test_a_saved_output_carries_its_graph(self) -> None:
        class Exp(Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                y = x.exp()
                ctx.save_for_backward(y)
                return y

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return g * ctx.saved_tensors[0]

        x = leaf(0.3, -1)
        assert gradcheck(Exp.apply, x) and gradgradcheck(Exp.apply, x)
        y = Exp.apply(x)
        y.mul_(2)
        with pytest.raises(GradError, match="changed in place"):
            y.sum().backward()

    def test_several_outputs_of_which_one_is_unused(self) -> None:
        class Pair(Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                return x * 2, x * 3

            @staticmethod
            def backward(ctx: Any, a: Any, b: Any) -> Any:
                seen.append((a is None, b is None))
                return a * 2 if b is None else a * 2 + b * 3

        seen: list[Any] = []
        x = leaf(1)
        first, _ = Pair.apply(x)
        first.backward()
        assert values(x.grad) == [2] and seen == [(False, False)]

    def test_missing_gradients_may_stay_none(self) -> None:
        class Pair(Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                ctx.set_materialize_grads(False)
                return x * 2, x * 3

            @staticmethod
            def backward(ctx: Any, a: Any, b: Any) -> Any:
                assert b is None
                return a * 2

        x = leaf(1)
        Pair.apply(x)[0].backward()
        assert values(x.grad) == [2]

    def test_outputs_without_gradient(self) -> None:
        class Split(Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                rank = x.argsort()
                rounded = x.floor()
                ctx.mark_non_differentiable(rounded)
                return x * 2, rank, rounded, "text"

            @staticmethod
            def backward(ctx: Any, g: Any, *others: Any) -> Any:
                assert others == (None, None, None)
                return g * 2

        x = leaf(1, 2)
        out, rank, rounded, text = Split.apply(x)
        assert out.requires_grad and not rank.requires_grad and not rounded.requires_grad and text == "text"
        out.sum().backward()
        assert values(x.grad) == [2, 2]

    def test_once_differentiable(self) -> None:
        class Cube(Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                ctx.save_for_backward(x)
                return x**3

            @staticmethod
            @once_differentiable
            def backward(ctx: Any, g: Any) -> Any:
                assert not nyala.is_grad_enabled()
                return nyala.from_numpy(3 * ctx.saved_tensors[0].detach().numpy() ** 2 * g.detach().numpy())

        x = leaf(2, 3)
        assert gradcheck(Cube.apply, x)
        (first,) = grad(Cube.apply(x).sum(), x, create_graph=True)
        assert values(first) == [12, 27]
        with pytest.raises(GradError, match="once_differentiable"):
            first.sum().backward()

    def test_setup_context(self) -> None:
        class Square(Function):
            @staticmethod
            def forward(x: Any) -> Any:
                return x * x

            @staticmethod
            def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
                ctx.save_for_backward(*inputs)

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return g * 2 * ctx.saved_tensors[0]

        assert gradcheck(Square.apply, leaf(1, 2)) and gradgradcheck(Square.apply, leaf(1, 2))

    @pytest.mark.parametrize(
        ("result", "message"),
        [
            (lambda g: (g, g), r"2 gradient\(s\) for 1 argument"),
            (lambda g: g.sum(), r"shape \(\) for argument 0, which has shape \(2,\)"),
            (lambda g: g.numpy(), "an array for argument 0"),
        ],
    )
    def test_wrong_results_of_backward_are_named(self, result: Any, message: str) -> None:
        class Wrong(Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                return x * 1

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return result(g)

        with pytest.raises(GradError, match=message):
            Wrong.apply(leaf(1, 2)).sum().backward()

    def test_needs_input_grad(self) -> None:
        class Needs(Function):
            @staticmethod
            def forward(ctx: Any, a: Any, b: Any, c: int) -> Any:
                return a + b

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                assert ctx.needs_input_grad == (True, False, False)
                return g, None, None

        Needs.apply(leaf(1), nyala.ones((), dtype="float64"), 3).backward()

    def test_an_input_handed_through_keeps_its_memory_and_gets_a_new_place(self) -> None:
        class Same(Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                return x

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return g * 7

        x = leaf(1, 2)
        y = Same.apply(x)
        assert y is not x and y.data_ptr() == x.data_ptr()
        y.sum().backward()
        assert values(x.grad) == [7, 7]

    def test_a_dirty_input_is_counted_and_takes_the_new_place(self) -> None:
        class Double(Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                x.array *= 2
                ctx.mark_dirty(x)
                return x

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return g * 2

        x = leaf(1, 2)
        y = x * 1
        kept = y * y
        assert Double.apply(y) is y
        y.sum().backward()
        assert values(x.grad) == [2, 2]
        with pytest.raises(GradError, match="changed in place"):
            kept.sum().backward()
        with pytest.raises(GradError, match="leaf"):
            Double.apply(x)

    def test_a_gradient_returned_from_kept_memory_is_copied(self) -> None:
        class Times(Function):
            @staticmethod
            def forward(ctx: Any, x: Any, w: Any) -> Any:
                ctx.save_for_backward(w)
                return (x * w).sum()

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return ctx.saved_tensors[0], None

        x, w = leaf(1, 2), nyala.tensor([5.0, 6.0], dtype="float64")
        Times.apply(x, w).backward()
        x.grad.mul_(0)
        assert values(w) == [5, 6]

    def test_nothing_is_recorded_without_need(self) -> None:
        out = Scaled.apply(nyala.ones(2), 2.0)
        assert out.grad_fn is None and not out.requires_grad


class TestSwitches:
    def test_no_grad_and_enable_grad(self) -> None:
        x = leaf(1)
        with nyala.no_grad():
            assert not (x * 2).requires_grad
            with nyala.enable_grad():
                assert (x * 2).requires_grad
            assert not nyala.is_grad_enabled()
        assert nyala.is_grad_enabled()

    def test_an_exception_puts_the_switch_back(self) -> None:
        with pytest.raises(KeyError), nyala.no_grad():
            raise KeyError
        assert nyala.is_grad_enabled()

    def test_decorators(self) -> None:
        x = leaf(1)

        @nyala.no_grad()
        def off(n: int) -> bool:
            return (x * 2).requires_grad or (n > 0 and off(n - 1))

        @nyala.set_grad_enabled(False)
        def set_off() -> bool:
            return (x * 2).requires_grad

        @nyala.inference_mode()
        def infer() -> bool:
            return (x * 2).requires_grad

        assert nyala.is_grad_enabled()
        assert not off(3) and not set_off() and not infer()
        assert nyala.is_grad_enabled()
        assert off.__name__ == "off"

    def test_set_grad_enabled_works_at_once_and_in_with(self) -> None:
        with nyala.set_grad_enabled(False):
            assert not nyala.is_grad_enabled()
        assert nyala.is_grad_enabled()
        nyala.set_grad_enabled(False)
        try:
            assert not nyala.is_grad_enabled()
        finally:
            nyala.set_grad_enabled(True)

    def test_inference_mode(self) -> None:
        x = leaf(1, 2)
        with nyala.inference_mode():
            y = x[0]
            assert not y.requires_grad and y.grad_fn is None
            with nyala.inference_mode(False):
                assert (x * 2).requires_grad

    def test_each_thread_has_its_own_switch(self) -> None:
        x = leaf(1)
        off, done = threading.Event(), threading.Event()
        seen = {}

        def other() -> None:
            with nyala.no_grad():
                off.set()
                done.wait(10)
                seen["other"] = (x * 2).requires_grad

        thread = threading.Thread(target=other)
        thread.start()
        assert off.wait(10)
        seen["mine"] = (x * 2).requires_grad
        done.set()
        thread.join()
        assert seen == {"mine": True, "other": False}

    def test_threads_may_go_back_through_graphs_of_their_own_at_once(self) -> None:
        leaves = [leaf(float(i), 2) for i in range(4)]

        def work(x: nyala.Tensor) -> None:
            for _ in range(50):
                (x * x).sum().backward()

        threads = [threading.Thread(target=work, args=(x,)) for x in leaves]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert [values(x.grad) for x in leaves] == [[100.0 * i, 200.0] for i in range(4)]


def test_a_second_derivative_through_every_part_of_a_small_network() -> None:
    key = nyala.random.key(0, "test")
    x = nyala.tensor(key.normal((3, 4), dtype=np.float64), requires_grad=True)
    w = nyala.tensor(key.fold(1).normal((5, 4), dtype=np.float64), requires_grad=True)

    def penalty(x: nyala.Tensor, w: nyala.Tensor) -> nyala.Tensor:
        hidden = (x @ w.t()).tanh()
        (g,) = grad(hidden.softmax(-1).max(-1).values.sum(), x, create_graph=True)
        return (g.norm(dim=-1) - 1) ** 2

    assert gradcheck(penalty, (x, w))
    assert_close(penalty(x, w).sum(), penalty(x.clone(), w).sum())

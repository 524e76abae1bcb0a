"""Products that wait: the same numbers as without waiting, nothing that outlives the forward, nothing that sees later writes."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.core.graph import state
from nyala.core.unfinished import Unfinished
from nyala.nn import functional as F


def _array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _t(*shape: int, seed: int = 0) -> nyala.Tensor:
    return nyala.from_numpy(_array(*shape, seed=seed))


class Calls(nn.Module):
    """A module whose forward is the function it is given."""

    def __init__(self, function, **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *args):
        return self.function(self, *args)


def _lively(norm: nn.Module) -> nn.Module:
    """A norm with statistics that are not 0 and 1."""
    for i, t in enumerate((norm.weight, norm.bias, norm.running_mean)):
        t.array[...] = _array(*t.shape, seed=i + 5)
    norm.running_var.array[...] = np.abs(_array(*norm.running_var.shape, seed=9)) + 0.5
    return norm


def _factors(size: int) -> nn.LayerScale:
    layer = nn.LayerScale(size)
    layer.gamma.array[...] = _array(size, seed=11)
    return layer


CHAINS = {
    "linear": (lambda m, x: m.fc(x), {"fc": lambda: nn.Linear(12, 20)}, (5, 12)),
    "linear gelu": (lambda m, x: F.gelu(m.fc(x)), {"fc": lambda: nn.Linear(12, 20)}, (5, 12)),
    "linear gelu tanh": (lambda m, x: F.gelu(m.fc(x), approximate="tanh"), {"fc": lambda: nn.Linear(12, 20)}, (2, 5, 12)),
    "linear gelu quick": (lambda m, x: F.gelu(m.fc(x), approximate="quick"), {"fc": lambda: nn.Linear(12, 20)}, (2, 5, 12)),
    "linear silu": (lambda m, x: F.silu(m.fc(x)), {"fc": lambda: nn.Linear(12, 20, bias=False)}, (5, 12)),
    "linear residual": (lambda m, x: m.fc(x) + x, {"fc": lambda: nn.Linear(12, 12)}, (3, 4, 12)),
    "residual on the left": (lambda m, x: x + m.fc(x), {"fc": lambda: nn.Linear(12, 12)}, (3, 4, 12)),
    "residual of another shape": (lambda m, x: m.fc(x) + x[:1], {"fc": lambda: nn.Linear(12, 12)}, (3, 12)),
    "residual twice": (lambda m, x: m.fc(x) + x + x, {"fc": lambda: nn.Linear(12, 12)}, (3, 12)),
    "itself twice": (lambda m, x: (y := m.fc(x)) + y, {"fc": lambda: nn.Linear(12, 12)}, (3, 12)),
    "factors": (lambda m, x: m.scale(m.fc(x)), {"fc": lambda: nn.Linear(12, 20), "scale": lambda: _factors(20)}, (30, 12)),
    "factors residual": (
        lambda m, x: x + m.scale(m.fc(x)),
        {"fc": lambda: nn.Linear(12, 12), "scale": lambda: _factors(12)},
        (3, 4, 12),
    ),
    "factors of a product of few rows": (
        lambda m, x: F.relu(m.scale(m.fc(x)) + x),
        {"fc": lambda: nn.Linear(512, 512), "scale": lambda: _factors(512)},
        (2, 512),
    ),
    "factors twice": (
        lambda m, x: m.scale(m.scale(m.fc(x))),
        {"fc": lambda: nn.Linear(12, 20), "scale": lambda: _factors(20)},
        (5, 12),
    ),
    "factors after an activation": (
        lambda m, x: m.scale(F.relu(m.fc(x))),
        {"fc": lambda: nn.Linear(12, 20), "scale": lambda: _factors(20)},
        (5, 12),
    ),
    "factors of a convolution's last dimension": (
        lambda m, x: m.scale(m.conv(x)),
        {"conv": lambda: nn.Conv2d(4, 7, 3, padding=1), "scale": lambda: _factors(7)},
        (2, 4, 9, 7),
    ),
    "one factor": (
        lambda m, x: m.fc(x) * m.scale.gamma,
        {"fc": lambda: nn.Linear(12, 20), "scale": lambda: _factors(1)},
        (5, 12),
    ),
    "norm of another dimension": (
        lambda m, x: F.relu(m.norm(m.fc(x))),
        {"fc": lambda: nn.Linear(12, 5), "norm": lambda: _lively(nn.BatchNorm1d(5)).eval()},
        (3, 5, 12),
    ),
    "norm of another size": (
        lambda m, x: m.norm(m.fc(x)),
        {"fc": lambda: nn.Linear(12, 7), "norm": lambda: _lively(nn.BatchNorm1d(5)).eval()},
        (3, 5, 12),
    ),
    "two that wait": (
        lambda m, x: F.relu(m.a(x) + m.b(x)),
        {"a": lambda: nn.Linear(12, 9), "b": lambda: nn.Linear(12, 9)},
        (3, 12),
    ),
    "activation before residual": (lambda m, x: F.relu(m.fc(x)) + x, {"fc": lambda: nn.Linear(12, 12)}, (3, 12)),
    "activation twice": (lambda m, x: F.relu6(F.silu(m.fc(x))), {"fc": lambda: nn.Linear(12, 12)}, (3, 12)),
    "conv": (lambda m, x: m.conv(x), {"conv": lambda: nn.Conv2d(4, 8, 3, padding=1)}, (2, 4, 9, 7)),
    "conv norm": (
        lambda m, x: m.bn(m.conv(x)),
        {"conv": lambda: nn.Conv2d(4, 8, 3, padding=1, bias=False), "bn": lambda: _lively(nn.BatchNorm2d(8))},
        (2, 4, 9, 7),
    ),
    "conv bias norm relu": (
        lambda m, x: F.relu(m.bn(m.conv(x))),
        {"conv": lambda: nn.Conv2d(4, 8, 1), "bn": lambda: _lively(nn.BatchNorm2d(8))},
        (2, 4, 9, 7),
    ),
    "conv norm residual relu": (
        lambda m, x: F.relu(m.bn(m.conv(x)) + x),
        {"conv": lambda: nn.Conv2d(8, 8, 3, padding=1, bias=False), "bn": lambda: _lively(nn.BatchNorm2d(8))},
        (2, 8, 9, 7),
    ),
    "strided depthwise norm relu6": (
        lambda m, x: F.relu6(m.bn(m.conv(x))),
        {"conv": lambda: nn.Conv2d(8, 8, 5, 2, 2, groups=8, bias=False), "bn": lambda: _lively(nn.BatchNorm2d(8))},
        (2, 8, 9, 7),
    ),
    "grouped norm silu": (
        lambda m, x: F.silu(m.bn(m.conv(x))),
        {"conv": lambda: nn.Conv2d(32, 16, 3, groups=2, bias=False), "bn": lambda: _lively(nn.BatchNorm2d(16))},
        (2, 32, 9, 7),
    ),
    "conv1d gelu": (lambda m, x: F.gelu(m.conv(x)), {"conv": lambda: nn.Conv1d(4, 8, 3, padding=1)}, (2, 4, 19)),
    "relu before norm": (
        lambda m, x: m.bn(F.relu(m.conv(x))),
        {"conv": lambda: nn.Conv2d(4, 8, 3), "bn": lambda: _lively(nn.BatchNorm2d(8))},
        (2, 4, 9, 7),
    ),
    "one without batch": (lambda m, x: F.relu(m.conv(x)), {"conv": lambda: nn.Conv2d(4, 8, 3)}, (4, 9, 7)),
    "norm without parameters": (
        lambda m, x: m.bn(m.conv(x)),
        {"conv": lambda: nn.Conv2d(4, 8, 3), "bn": lambda: nn.BatchNorm2d(8, affine=False)},
        (2, 4, 9, 7),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_waiting_changes_no_bit(name: str) -> None:
    function, layers, shape = CHAINS[name]
    nyala.manual_seed(0)
    model = Calls(function, **{k: make() for k, make in layers.items()}).eval()
    x = _t(*shape)
    recorded = model(x)
    assert recorded.requires_grad
    with nyala.no_grad():
        waited = model(x)
    assert type(waited) is nyala.Tensor
    np.testing.assert_array_equal(waited.numpy(), recorded.detach().numpy())


def test_what_waits_knows_its_shape_and_is_computed_once() -> None:
    seen = []

    def look(module, x):
        y = module.fc(x)
        seen.append((type(y), y.shape, y.dtype, y.ndim, y.device, y.size(-1), y.dim()))
        first, second = y.array, y.array
        seen.append((first is second, type(y)))
        return y

    with nyala.no_grad():
        Calls(look, fc=nn.Linear(3, 5))(_t(2, 3))
    assert seen == [(Unfinished, (2, 5), np.float32, 2, "cpu", 5, 2), (True, nyala.Tensor)]


def test_a_layer_scale_joins_the_product_before_it() -> None:
    kinds = []
    layers = {"fc": nn.Linear(3, 5), "scale": _factors(5)}
    model = Calls(lambda m, x: (kinds.append(type(y := m.scale(m.fc(x)))), y)[1], **layers)
    with nyala.no_grad():
        model(_t(2, 3))
    for p in model.fc.parameters():
        p.requires_grad_(False)
    assert model(_t(2, 3)).requires_grad, "its factors are learnt"
    assert kinds == [Unfinished, nyala.Tensor]


def test_nothing_waits_outside_a_module_or_where_a_graph_is_recorded() -> None:
    x, w = _t(2, 3), _t(5, 3)
    with nyala.no_grad():
        assert type(F.linear(x, w)) is nyala.Tensor
    kinds = []
    model = Calls(lambda m, x: kinds.append(type(m.fc(x))) or x, fc=nn.Linear(3, 5))
    model(x)
    with nyala.no_grad():
        model(x)
    assert kinds == [nyala.Tensor, Unfinished]


def test_what_the_forward_gives_back_is_finished_wherever_it_is_kept() -> None:
    kept = {}

    def forward(module, x):
        kept["hidden"] = module.fc(x)
        return {"out": F.relu(kept["hidden"])}

    model, buffer = Calls(forward, fc=nn.Linear(3, 3)), _array(2, 3)
    with nyala.no_grad():
        out = model(nyala.from_numpy(buffer))["out"]
    expected = kept["hidden"].numpy().copy()
    buffer[:] = 100.0
    assert type(kept["hidden"]) is nyala.Tensor and type(out) is nyala.Tensor
    np.testing.assert_array_equal(out.numpy(), np.maximum(expected, 0))


def test_a_write_in_place_comes_after_what_reads_the_old_values() -> None:
    def forward(module, x):
        y = module.fc(x)
        x.add_(1.0)
        return y

    model, x = Calls(forward, fc=nn.Linear(3, 4)), _t(2, 3)
    with nyala.no_grad():
        expected = model.fc(x.clone())
        np.testing.assert_array_equal(model(x).numpy(), expected.numpy())


def test_hooks_see_plain_values() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    seen = []
    handle = model[0].register_forward_hook(lambda *given: seen.append(given[-1].numpy().copy()))
    with nyala.no_grad():
        out = model(_t(2, 3))
    handle.remove()
    np.testing.assert_array_equal(out.numpy(), np.maximum(seen[0], 0))


def test_an_error_in_the_forward_leaves_nothing_behind() -> None:
    def forward(module, x):
        module.kept = [module.fc(x)]
        raise ValueError("a mistake")

    with nyala.no_grad(), pytest.raises(ValueError, match="a mistake"):
        Calls(forward, fc=nn.Linear(3, 4))(_t(2, 3))
    assert state.unfinished is None


def test_what_nobody_reads_is_never_computed_and_its_inputs_are_let_go() -> None:
    gone = []

    def forward(module, x):
        hidden = _t(2, 3)
        gone.append(weakref.ref(hidden.array))
        module.fc(hidden)
        return x

    with nyala.no_grad():
        Calls(forward, fc=nn.Linear(3, 4))(_t(2, 3))
    gc.collect()
    assert gone[0]() is None


def test_threads_wait_each_on_their_own() -> None:
    nyala.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)).eval()
    inputs = [_t(4, 16, seed=i) for i in range(8)]
    expected = [model(x).detach().numpy() for x in inputs]
    results: list[np.ndarray | None] = [None] * 8

    def work(i: int) -> None:
        with nyala.no_grad():
            for _ in range(20):
                results[i] = model(inputs[i]).numpy()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for got, want in zip(results, expected, strict=True):
        np.testing.assert_array_equal(got, want)


# ---- weights in the kernels' own layout


WRITES = {
    "in place": lambda p, new: p.copy_(nyala.from_numpy(new)),
    "through data": lambda p, new: setattr(p, "data", nyala.from_numpy(new.copy())),
    "through a detached tensor": lambda p, new: p.detach().copy_(nyala.from_numpy(new)),
    "through the array": lambda p, new: p.array.__setitem__(Ellipsis, new),
    "through numpy()": lambda p, new: p.detach().numpy().__setitem__(Ellipsis, new),
    "another array": lambda p, new: setattr(p, "array", new.copy()),
}


@pytest.mark.parametrize("how", WRITES)
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_a_changed_weight_is_packed_anew(kind: str, how: str) -> None:
    layer = nn.Linear(40, 70) if kind == "linear" else nn.Conv2d(16, 24, 3, padding=1)
    x = _t(3, 40) if kind == "linear" else _t(1, 16, 5, 5)
    with nyala.no_grad():
        layer(x)
        WRITES[how](layer.weight, _array(*layer.weight.shape, seed=3))
        got = layer(x).numpy()
        fresh = type(layer)(*((40, 70) if kind == "linear" else (16, 24, 3)), **({} if kind == "linear" else {"padding": 1}))
        fresh.load_state_dict(layer.state_dict())
        np.testing.assert_array_equal(got, fresh(x).numpy())


def test_packed_weights_follow_an_optimizer() -> None:
    layer, x = nn.Linear(8, 8), _t(4, 8)
    optimizer = nyala.optim.SGD(layer.parameters(), lr=0.5)
    for _ in range(3):
        with nyala.no_grad():
            before = layer(x).numpy()
        np.testing.assert_array_equal(before, layer(x).detach().numpy())
        optimizer.zero_grad()
        layer(x).sum().backward()
        optimizer.step()


def test_copies_of_a_layer_pack_for_themselves() -> None:
    import copy

    layer, x = nn.Linear(8, 8), _t(4, 8)
    with nyala.no_grad():
        layer(x)
        other = copy.deepcopy(layer)
        other.weight.zero_()
        other.bias.zero_()
        assert not other(x).numpy().any()
        assert layer(x).numpy().any()


# ---- half precision, on a GPU

_STEPS = {
    "few rows": (lambda m, x, y: F.relu(m.a(x) + y), lambda: {"a": nn.Linear(24, 9)}, (3, 24), (3, 9)),
    "rows": (lambda m, x, y: F.gelu(m.a(x) + y), lambda: {"a": nn.Linear(24, 9)}, (20, 24), (20, 9)),
    "no residual": (lambda m, x, _: F.silu(m.a(x)), lambda: {"a": nn.Linear(24, 9)}, (20, 24), (1,)),
    "factors": (
        lambda m, x, y: y + m.scale(m.a(x)),
        lambda: {"a": nn.Linear(24, 9), "scale": _factors(9)},
        (20, 24),
        (20, 9),
    ),
    "norm": (
        lambda m, x, y: F.relu6(m.norm(m.a(x)) + y),
        lambda: {"a": nn.Conv2d(4, 5, 3, bias=False), "norm": _lively(nn.BatchNorm2d(5))},
        (2, 4, 6, 6),
        (2, 5, 4, 4),
    ),
    "depthwise": (
        lambda m, x, _: F.silu(m.norm(m.a(x))),
        lambda: {"a": nn.Conv2d(5, 5, 3, groups=5), "norm": _lively(nn.BatchNorm2d(5))},
        (2, 5, 6, 6),
        (1,),
    ),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", _STEPS)
def test_halves_on_a_gpu_wait_and_have_the_bits_of_single_kernels(cuda: str, case: str, dtype: str) -> None:
    function, layers, shape, other = _STEPS[case]
    seen = []

    def followed(m: Calls, *given: nyala.Tensor) -> nyala.Tensor:
        seen.append(type(y := function(m, *given)))
        return y

    model = Calls(followed, **layers()).eval().to(cuda).to(dtype)
    x, y = _t(*shape, seed=3).to(cuda).to(dtype), _t(*other, seed=4).to(cuda).to(dtype)
    with nyala.no_grad():
        waited, plain = model(x, y), function(model, x, y)
    assert seen == [Unfinished] and waited.dtype == plain.dtype == x.dtype
    assert waited.cpu().array.tobytes() == plain.cpu().array.tobytes()


def test_a_norm_of_float32_joins_halves_on_a_gpu(cuda: str) -> None:
    conv, norm = nn.Conv2d(4, 5, 3).to(cuda).to("bfloat16"), _lively(nn.BatchNorm2d(5)).eval().to(cuda)
    x, kinds = _t(2, 4, 6, 6).to(cuda).to("bfloat16"), []
    model = Calls(lambda m, x: (kinds.append(type(y := m.norm(m.conv(x)))), y)[1], conv=conv, norm=norm)
    with nyala.no_grad():
        assert model(x).cpu().array.tobytes() == norm(conv(x)).cpu().array.tobytes()
    assert kinds == [Unfinished]

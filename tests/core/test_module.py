"""``Module``: registration, state, hooks, freezing, modes, error texts."""

from __future__ import annotations

import copy
from typing import Any

import ml_dtypes
import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.errors import ArgumentError, CheckpointError, ModuleError, NyalaError, ShapeError, UnknownNameError


class Head(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 2)

    def forward(self, x: nyala.Tensor) -> nyala.Tensor:
        return self.fc(x)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.blocks = nn.ModuleList([nn.Linear(3, 3) for _ in range(2)])
        self.scale = nn.Parameter(nyala.ones(3))
        self.register_buffer("count", nyala.zeros(1))
        self.register_buffer("scratch", nyala.ones(2), persistent=False)
        self.head = Head()

    def forward(self, x: nyala.Tensor) -> nyala.Tensor:
        x = self.norm(self.stem(x))
        for block in self.blocks:
            x = block(x).relu()
        return self.head(x * self.scale)


NAMES = [
    "scale", "count", "stem.weight", "stem.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
    "norm.num_batches_tracked", "blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias",
    "head.fc.weight", "head.fc.bias",
]  # fmt: skip


@pytest.fixture
def net() -> Net:
    nyala.manual_seed(0)
    return Net()


# ---- registration


def test_names_come_in_torchs_order(net: Net) -> None:
    assert list(net.state_dict()) == NAMES
    assert [n for n, _ in net.named_parameters()] == [n for n in NAMES if "running" not in n and "num_" not in n and n != "count"]
    assert {n for n, _ in net.named_buffers()} == {
        "count",
        "scratch",
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    }
    assert [n for n, _ in net.named_modules()] == ["", "stem", "norm", "blocks", "blocks.0", "blocks.1", "head", "head.fc"]
    assert [n for n, _ in net.named_children()] == ["stem", "norm", "blocks", "head"]
    assert len(list(net.parameters(recurse=False))) == 1


def test_shared_parameters_come_once_and_are_in_the_state_under_both_names(net: Net) -> None:
    net.blocks[1].weight = net.blocks[0].weight
    names = [n for n, _ in net.named_parameters()]
    assert "blocks.1.weight" not in names
    assert "blocks.1.weight" in dict(net.named_parameters(remove_duplicate=False))
    assert list(net.state_dict()) == NAMES


def test_attributes_and_registries_stay_one(net: Net) -> None:
    assert net.scale is net._parameters["scale"]
    net.scale = None
    assert net.scale is None and "scale" not in net.state_dict()
    net.scale = nn.Parameter(nyala.zeros(3))
    assert net.state_dict()["scale"].tolist() == [0, 0, 0]
    net.count = nyala.full((1,), 5.0)
    assert net.state_dict()["count"].tolist() == [5]
    del net.head
    assert not hasattr(net, "head") and "head.fc.weight" not in net.state_dict()
    net.head = nn.Identity()
    assert isinstance(net.get_submodule("head"), nn.Identity)


def test_buffer_class_registers_itself() -> None:
    module = nn.Module()
    module.seen = nn.Buffer(nyala.ones(2))
    module.hidden = nn.Buffer(nyala.ones(2), persistent=False)
    assert list(module.state_dict()) == ["seen"]
    assert [n for n, _ in module.named_buffers()] == ["seen", "hidden"]


def test_a_plain_attribute_may_become_a_module() -> None:
    module = nn.Module()
    module.down = None
    module.down = nn.Linear(1, 1)
    assert list(module.state_dict()) == ["down.weight", "down.bias"]


def test_get_and_set_by_path(net: Net) -> None:
    assert net.get_submodule("blocks.1") is net.blocks[1]
    assert net.get_submodule("") is net
    assert net.get_parameter("head.fc.bias") is net.head.fc.bias
    assert net.get_buffer("norm.running_mean") is net.norm.running_mean
    net.set_submodule("head.fc", nn.Identity())
    assert isinstance(net.head.fc, nn.Identity)


class Forgetful(nn.Module):
    def __init__(self) -> None:
        self.weight = nn.Parameter(nyala.ones(1))


class Silent(nn.Module):
    pass


ERRORS: list[tuple[str, Any, type[NyalaError], list[str]]] = [
    ("forgotten super", lambda _: Forgetful(), ModuleError, ["Forgetful.weight", "before Module.__init__()", "super()"]),
    ("no forward", lambda _: Silent()(1), ModuleError, ["Silent has no forward", "define forward"]),
    ("dot in a name", lambda n: n.register_buffer("a.b", nyala.ones(1)), ArgumentError, ["'a.b'", "dot"]),
    ("method's name", lambda n: n.add_module("train", nn.Identity()), ArgumentError, ["'train'", "another name"]),
    ("tensor for a parameter", lambda n: setattr(n, "scale", nyala.ones(3)), ArgumentError, ["Net.scale is a param", "Tensor"]),
    ("number for a module", lambda n: setattr(n, "head", 3), ArgumentError, ["Net.head is a module", "int"]),
    ("result as a parameter", lambda n: n.register_parameter("p", n.stem.weight * 2), ArgumentError, ["'p' is a Tensor"]),
    ("no such module", lambda n: n.get_submodule("heat.fc"), UnknownNameError, ["Net has no module 'heat.fc'", "'head.fc'"]),
    ("no such parameter", lambda n: n.get_parameter("head.fc.wait"), UnknownNameError, ["'head.fc.weight'"]),
    ("freeze nothing", lambda n: n.freeze("blocks.7"), UnknownNameError,
     ["'blocks.7'", "mean 'blocks.1' or 'blocks.0'", "? [E201]"]),
    ("freeze far off", lambda n: n.freeze("zzz"), UnknownNameError, ["'zzz'", "names begin with scale, stem"]),
    ("train with a number", lambda n: n.train(1), ArgumentError, ["train(1)"]),
    ("to an integer dtype", lambda n: n.to("int64"), ArgumentError, ["int64", "floating dtype"]),
    ("hook without a function", lambda n: n.register_forward_hook(3), ArgumentError, ["forward hook", "int"]),
    (
        "wrong width inside", lambda n: n.head(nyala.ones(2, 5)), ShapeError,
        ["at fc (Linear): linear: input (..., in=5)", "expects in=3", "[E101]"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("act", "kind", "texts"), [e[1:] for e in ERRORS], ids=[e[0] for e in ERRORS])
def test_errors_say_what_why_and_what_to_do(net: Net, act: Any, kind: type[NyalaError], texts: list[str]) -> None:
    with pytest.raises(kind) as caught:
        act(net)
    for text in texts:
        assert text in str(caught.value)


def test_an_error_names_its_path_from_the_outermost_module(net: Net) -> None:
    net.head.fc = nn.Linear(7, 2)
    with pytest.raises(ShapeError, match=r"^at head\.fc \(Linear\): linear: input"):
        net(nyala.ones(2, 4))
    net.blocks[1] = nn.Linear(9, 3)
    with pytest.raises(ShapeError, match=r"^at blocks\.1 \(Linear\): linear: input"):
        net(nyala.ones(2, 4))
    with pytest.raises(ShapeError, match=r"^at model \(Linear\): linear: input"):
        net.stem(nyala.ones(2, 5))


def test_a_missing_attribute_is_an_attribute_error(net: Net) -> None:
    assert not hasattr(net, "tail")
    with pytest.raises(AttributeError, match="tail"):
        _ = net.tail


# ---- state


def test_state_shares_memory_and_loads_back(net: Net) -> None:
    state = net.state_dict()
    assert not state["scale"].requires_grad
    state["scale"].fill_(2.0)
    assert net.scale.tolist() == [2, 2, 2]
    assert net.state_dict(keep_vars=True)["scale"] is net.scale
    assert next(iter(net.state_dict(prefix="model."))) == "model.scale"


@pytest.mark.parametrize("assign", [False, True])
def test_a_loaded_module_gives_the_same_bits(net: Net, assign: bool) -> None:
    nyala.manual_seed(1)
    other = Net()
    x = nyala.randn(5, 4)
    net(x)  # moves the running statistics
    before = other.stem.weight
    result = other.load_state_dict({k: v.numpy().copy() for k, v in net.state_dict().items()}, assign=assign)
    assert result == ([], [])
    assert other.stem.weight is before, "optimizers hold the parameters themselves"
    np.testing.assert_array_equal(other.eval()(x).detach().numpy(), net.eval()(x).detach().numpy())


def test_assign_takes_the_array_itself_and_its_dtype() -> None:
    layer, given = nn.Linear(2, 2), np.ones((2, 2), np.float16)
    layer.load_state_dict({"weight": given, "bias": np.zeros(2, np.float32)}, assign=True)
    assert layer.weight.array is given or layer.weight.array.base is given
    assert layer.weight.dtype == nyala.float16 and layer.weight.requires_grad


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_loading_converts_to_the_modules_dtype(dtype: Any) -> None:
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": np.array([[0.5, 2.0]], dtype), "bias": np.ones(1, dtype)})
    assert layer.weight.dtype == nyala.float32 and layer.weight.tolist() == [[0.5, 2.0]]


def test_everything_that_does_not_fit_is_in_one_error(net: Net) -> None:
    state = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    del state["stem.weight"]
    state["head.fc.wight"] = state.pop("head.fc.weight")
    state["blocks.0.weight"] = np.zeros((3, 5))
    before = net.scale.tolist()
    state["scale"] = np.full(3, 9.0)
    with pytest.raises(CheckpointError) as caught:
        net.load_state_dict(state)
    text = str(caught.value)
    assert "the state does not fit Net: 2 missing, 1 unexpected, 1 of another shape" in text
    assert "stem.weight (3, 4)" in text
    assert "head.fc.wight (2, 3) (did you mean 'head.fc.weight'" in text
    assert "blocks.0.weight: given (3, 5), the model has (3, 3)" in text
    assert net.scale.tolist() == before, "nothing is loaded where something does not fit"


def test_without_strict_only_shapes_must_agree(net: Net) -> None:
    result = net.load_state_dict({"scale": np.full(3, 4.0), "other": np.zeros(1)}, strict=False)
    assert result.unexpected_keys == ["other"]
    assert result.missing_keys == [n for n in NAMES if n != "scale"]
    assert net.scale.tolist() == [4, 4, 4]
    with pytest.raises(CheckpointError, match=r"scale: given \(2,\), the model has \(3,\)"):
        net.load_state_dict({"scale": np.zeros(2)}, strict=False)


def test_complex_numbers_are_not_cut_to_their_real_part(net: Net) -> None:
    before = net.scale.tolist()
    with pytest.raises(CheckpointError, match=r"scale is complex64, the model's is float32: the imaginary part would be lost"):
        net.load_state_dict({"scale": np.full(3, 4j, np.complex64)}, strict=False)
    assert net.scale.tolist() == before


def test_long_lists_are_cut() -> None:
    with pytest.raises(CheckpointError) as caught:
        nn.Identity().load_state_dict({f"layer{i}": np.zeros(1) for i in range(30)})
    assert "... and 10 more" in str(caught.value)


def test_old_files_hold_single_numbers_as_vectors() -> None:
    norm = nn.BatchNorm1d(2)
    state: dict[str, Any] = {**norm.state_dict(), "num_batches_tracked": np.array([7])}
    norm.load_state_dict(state)
    assert norm.num_batches_tracked.shape == () and int(norm.num_batches_tracked) == 7


def test_deep_copies_are_independent_and_keep_ties(net: Net) -> None:
    net.blocks[1].weight = net.blocks[0].weight
    net(nyala.ones(3, 4)).sum().backward()
    other = copy.deepcopy(net)
    assert other.blocks[1].weight is other.blocks[0].weight is not net.blocks[0].weight
    assert type(other.scale) is nn.Parameter and other.scale is other._parameters["scale"]
    np.testing.assert_array_equal(other.scale.grad.numpy(), net.scale.grad.numpy())
    other.scale.data.fill_(3.0)
    assert net.scale.tolist() == [1, 1, 1]
    with pytest.raises(nyala.errors.GradError, match=r"copy t\.detach"):
        copy.deepcopy(net.scale * 2)


# ---- hooks


def test_hooks_run_in_order_and_change_what_passes() -> None:
    layer, log = nn.Identity(), []

    def pre(name: str, add: float) -> Any:
        def hook(_module: Any, args: Any) -> Any:
            log.append(name)
            return args[0] + add

        return hook

    def post(name: str, factor: float) -> Any:
        def hook(_module: Any, args: Any, output: Any) -> Any:
            log.append(f"{name}:{args[0].item():g}")
            return output * factor

        return hook

    layer.register_forward_pre_hook(pre("b", 1))
    layer.register_forward_pre_hook(pre("a", 10), prepend=True)
    handle = layer.register_forward_hook(post("c", 2))
    layer.register_forward_hook(post("d", 3))
    assert layer(nyala.tensor(1.0)).item() == 72
    assert log == ["a", "b", "c:12", "d:12"]
    handle.remove()
    handle.remove()
    assert layer(nyala.tensor(1.0)).item() == 36


def test_hooks_with_keywords_and_after_errors() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Any, by: float = 1.0) -> Any:
            if by < 0:
                raise ArgumentError("by is negative")
            return x * by

    layer, seen = Scaled(), []
    layer.register_forward_pre_hook(lambda _m, args, kwargs: (args, {"by": kwargs["by"] + 1}), with_kwargs=True)
    layer.register_forward_hook(
        lambda _m, _args, kwargs, out: seen.append((kwargs["by"], out)), with_kwargs=True, always_call=True
    )
    assert layer(nyala.tensor(2.0), by=2.0).item() == 6
    with pytest.raises(ArgumentError):
        layer(nyala.tensor(2.0), by=-5.0)
    assert seen[0][0] == 3 and seen[1] == (-4.0, None)


def test_a_hook_used_as_context_leaves() -> None:
    layer, calls = nn.Identity(), []
    with layer.register_forward_hook(lambda *_: calls.append(1)):
        layer(1)
    layer(1)
    assert calls == [1]


def test_backward_hooks_see_and_change_gradients() -> None:
    layer, log = nn.Linear(2, 1, bias=False), []
    layer.weight.data.copy_([[2.0, 3.0]])

    def seen(_module: Any, grad_input: Any, grad_output: Any) -> Any:
        log.append((grad_input[0].tolist(), grad_output[0].tolist()))
        return (grad_input[0] * 10,)

    layer.register_full_backward_hook(seen)
    x = nyala.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    assert log == [([[2.0, 3.0]], [[1.0]])]
    assert x.grad.tolist() == [[20.0, 30.0]]
    assert layer.weight.grad.tolist() == [[1.0, 1.0]]
    layer.register_full_backward_pre_hook(lambda _m, grad_output: (grad_output[0] * 5,))
    layer.zero_grad()
    layer(x).sum().backward()
    assert layer.weight.grad.tolist() == [[5.0, 5.0]]


def test_backward_hooks_run_where_no_input_wants_a_gradient() -> None:
    layer, log = nn.Linear(2, 1), []
    layer.register_full_backward_hook(lambda _m, gi, go: log.append((gi, go[0].tolist())))
    layer(nyala.ones(1, 2)).sum().backward()
    assert log == [((None,), [[1.0]])]
    with nyala.no_grad():
        layer(nyala.ones(1, 2))
    assert len(log) == 1


def test_anomaly_mode_knows_the_modules(net: Net) -> None:
    with nyala.autograd.detect_anomaly():
        out = net.head(nyala.ones(1, 3))
        out.sum().backward()
        assert out.grad_fn.place.startswith("module fc")
        net.scale.data.fill_(float("nan"))
        with pytest.raises(nyala.errors.NumericError, match=r"module head\.fc"):
            net(nyala.randn(3, 4)).sum().backward()


def test_checkpointing_gives_the_same_gradients(net: Net) -> None:
    x = nyala.randn(3, 4)

    def gradients() -> dict[str, np.ndarray]:
        net.zero_grad()
        with nyala.random.ambient_scope((5, 0, 0)):
            (net(x) ** 2).sum().backward()
        return {n: p.grad.numpy() for n, p in net.named_parameters()}

    net.head = nn.Sequential(nn.Dropout(0.5), Head())
    plain = gradients()
    net.head.checkpoint_()
    again = gradients()
    assert all((plain[n] == again[n]).all() for n in plain)
    assert net(x).grad_fn.name == "_Recomputed"
    net.head.checkpoint_(False)
    assert net(x).grad_fn.name != "_Recomputed"


# ---- freezing, modes, dtypes


@pytest.mark.parametrize(
    ("patterns", "frozen"),
    [
        (("stem",), {"stem.weight", "stem.bias"}),
        (("blocks.[01].weight",), {"blocks.0.weight", "blocks.1.weight"}),
        (("*.bias", "scale"), {n for n in NAMES if n.endswith("bias")} | {"scale"}),
        ((r"blocks\.\d+",), {"blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias"}),
        ((), {n for n in NAMES if "running" not in n and "num_" not in n and n != "count"}),
    ],
)
def test_freeze_and_unfreeze(net: Net, patterns: tuple[str, ...], frozen: set[str]) -> None:
    assert set(net.freeze(*patterns)) == frozen
    assert {n for n, p in net.named_parameters() if not p.requires_grad} == frozen
    net(nyala.randn(3, 4)).sum().backward() if len(frozen) < 8 else None
    assert all((p.grad is None) for n, p in net.named_parameters() if n in frozen)
    net.unfreeze(*patterns)
    assert all(p.requires_grad for p in net.parameters())


def test_train_and_eval_reach_everything(net: Net) -> None:
    assert all(m.training for m in net.modules())
    assert not any(m.training for m in net.eval().modules())
    net.blocks.train()
    assert net.blocks[0].training and not net.head.training
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_to_keeps_the_parameters_and_casts_what_floats(net: Net) -> None:
    p = net.stem.weight
    net(nyala.ones(2, 4)).sum().backward()
    net.double()
    assert net.stem.weight is p and p.dtype == p.grad.dtype == nyala.float64
    assert net.norm.running_mean.dtype == nyala.float64 and net.norm.num_batches_tracked.dtype == nyala.int64
    assert net.to(nyala.float16).stem.weight.dtype == nyala.float16
    assert net.bfloat16().stem.weight.dtype == nyala.bfloat16
    assert net.float().to("cpu").to(nyala.ones(1)).stem.weight.dtype == nyala.float32


def test_zero_grad_and_apply(net: Net) -> None:
    net(nyala.ones(2, 4)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert all((p.grad.numpy() == 0).all() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    order: list[str] = []
    net.apply(lambda m: order.append(type(m).__name__))
    assert order[-1] == "Net" and order.index("Linear") < order.index("ModuleList")


def test_repr_is_torchs() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Conv2d(1, 2, 3, bias=False)]), nn.Identity())
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Linear(in_features=4, out_features=3, bias=True)\n"
        "  (1): ModuleList(\n"
        "    (0-1): 2 x ReLU()\n"
        "    (2): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), bias=False)\n"
        "  )\n"
        "  (2): Identity()\n"
        ")"
    )

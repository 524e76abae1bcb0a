"""Every layer: its shape, gradients that reach every parameter, save and load identity, printing, bad arguments."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.errors import ArgumentError, IndexRangeError, NyalaError, ShapeError, UnknownNameError
from nyala.nn import functional as F

# what to build, the shapes of its inputs, the shape of its result
LAYERS: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(4, 3), [(2, 5, 4)], (2, 5, 3)),
    "linear without bias": (lambda: nn.Linear(4, 3, bias=False), [(4,)], (3,)),
    "bilinear": (lambda: nn.Bilinear(4, 2, 3), [(5, 4), (5, 2)], (5, 3)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding="same", groups=2), [(2, 4, 9)], (2, 6, 9)),
    "conv1d unbatched": (lambda: nn.Conv1d(4, 6, 3), [(4, 9)], (6, 7)),
    "conv2d": (lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1), [(2, 3, 8, 8)], (2, 4, 4, 4)),
    "conv2d reflect": (lambda: nn.Conv2d(3, 4, (3, 1), padding=(1, 0), padding_mode="reflect"), [(2, 3, 5, 5)], (2, 4, 5, 5)),
    "conv2d circular same": (lambda: nn.Conv2d(1, 1, 4, padding="same", padding_mode="circular"), [(1, 1, 6, 6)], (1, 1, 6, 6)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2, dilation=2), [(1, 2, 5, 5, 5)], (1, 3, 3, 3, 3)),
    "conv transpose1d": (lambda: nn.ConvTranspose1d(4, 2, 3, stride=2, output_padding=1, padding=1), [(2, 4, 5)], (2, 2, 10)),
    "conv transpose2d": (lambda: nn.ConvTranspose2d(4, 2, 2, stride=2, groups=2), [(2, 4, 3, 3)], (2, 2, 6, 6)),
    "conv transpose3d": (lambda: nn.ConvTranspose3d(2, 1, 2), [(1, 2, 3, 3, 3)], (1, 1, 4, 4, 4)),
    "batch norm 1d": (lambda: nn.BatchNorm1d(3), [(4, 3)], (4, 3)),
    "batch norm 2d": (lambda: nn.BatchNorm2d(3), [(4, 3, 2, 2)], (4, 3, 2, 2)),
    "batch norm 3d": (lambda: nn.BatchNorm3d(3), [(2, 3, 2, 2, 2)], (2, 3, 2, 2, 2)),
    "layer norm": (lambda: nn.LayerNorm((3, 4)), [(2, 3, 4)], (2, 3, 4)),
    "rms norm": (lambda: nn.RMSNorm(4, 1e-6), [(2, 3, 4)], (2, 3, 4)),
    "group norm": (lambda: nn.GroupNorm(2, 4), [(2, 4, 3)], (2, 4, 3)),
    "instance norm 1d": (lambda: nn.InstanceNorm1d(3, affine=True), [(2, 3, 5)], (2, 3, 5)),
    "instance norm 2d": (lambda: nn.InstanceNorm2d(3, affine=True), [(3, 4, 4)], (3, 4, 4)),
    "instance norm 3d": (lambda: nn.InstanceNorm3d(3), [(2, 3, 2, 2, 2)], (2, 3, 2, 2, 2)),
    "local response norm": (lambda: nn.LocalResponseNorm(3), [(2, 5, 4)], (2, 5, 4)),
    "max pool 1d": (lambda: nn.MaxPool1d(2), [(2, 3, 6)], (2, 3, 3)),
    "max pool 2d": (lambda: nn.MaxPool2d(3, stride=2, padding=1), [(2, 3, 6, 6)], (2, 3, 3, 3)),
    "max pool 3d": (lambda: nn.MaxPool3d(2), [(1, 1, 4, 4, 4)], (1, 1, 2, 2, 2)),
    "avg pool 1d": (lambda: nn.AvgPool1d(3, stride=1, padding=1), [(2, 3, 6)], (2, 3, 6)),
    "avg pool 2d": (lambda: nn.AvgPool2d(2, ceil_mode=True), [(2, 3, 5, 5)], (2, 3, 3, 3)),
    "avg pool 3d": (lambda: nn.AvgPool3d(2), [(1, 1, 4, 4, 4)], (1, 1, 2, 2, 2)),
    "lp pool 1d": (lambda: nn.LPPool1d(2, 2), [(1, 2, 6)], (1, 2, 3)),
    "lp pool 2d": (lambda: nn.LPPool2d(2, 2), [(1, 2, 6, 6)], (1, 2, 3, 3)),
    "adaptive avg pool 1d": (lambda: nn.AdaptiveAvgPool1d(4), [(2, 3, 6)], (2, 3, 4)),
    "adaptive avg pool 2d": (lambda: nn.AdaptiveAvgPool2d((1, None)), [(2, 3, 6, 5)], (2, 3, 1, 5)),
    "adaptive avg pool 3d": (lambda: nn.AdaptiveAvgPool3d(1), [(2, 3, 2, 2, 2)], (2, 3, 1, 1, 1)),
    "adaptive max pool 1d": (lambda: nn.AdaptiveMaxPool1d(2), [(2, 3, 6)], (2, 3, 2)),
    "adaptive max pool 2d": (lambda: nn.AdaptiveMaxPool2d(2), [(2, 3, 6, 6)], (2, 3, 2, 2)),
    "adaptive max pool 3d": (lambda: nn.AdaptiveMaxPool3d(1), [(2, 3, 2, 2, 2)], (2, 3, 1, 1, 1)),
    "prelu": (lambda: nn.PReLU(3), [(2, 3, 4)], (2, 3, 4)),
    "glu": (lambda: nn.GLU(1), [(2, 6)], (2, 3)),
    "flatten": (lambda: nn.Flatten(), [(2, 3, 4)], (2, 12)),
    "unflatten": (lambda: nn.Unflatten(1, (3, -1)), [(2, 12)], (2, 3, 4)),
    "upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), [(1, 2, 3, 3)], (1, 2, 6, 6)),
    "upsampling nearest": (lambda: nn.UpsamplingNearest2d(size=(4, 6)), [(1, 2, 2, 3)], (1, 2, 4, 6)),
    "upsampling bilinear": (lambda: nn.UpsamplingBilinear2d(scale_factor=2), [(1, 2, 2, 3)], (1, 2, 4, 6)),
    "pixel shuffle": (lambda: nn.PixelShuffle(2), [(1, 8, 3, 3)], (1, 2, 6, 6)),
    "pixel unshuffle": (lambda: nn.PixelUnshuffle(2), [(1, 2, 6, 6)], (1, 8, 3, 3)),
    "unfold": (lambda: nn.Unfold(2, stride=2), [(1, 3, 4, 4)], (1, 12, 4)),
    "fold": (lambda: nn.Fold(4, 2, stride=2), [(1, 12, 4)], (1, 3, 4, 4)),
    "zero pad": (lambda: nn.ZeroPad2d((1, 2, 0, 1)), [(1, 1, 3, 3)], (1, 1, 4, 6)),
    "constant pad": (lambda: nn.ConstantPad1d(2, 3.5), [(1, 1, 3)], (1, 1, 7)),
    "reflection pad": (lambda: nn.ReflectionPad2d(1), [(1, 1, 3, 3)], (1, 1, 5, 5)),
    "replication pad": (lambda: nn.ReplicationPad3d(1), [(1, 1, 2, 2, 2)], (1, 1, 4, 4, 4)),
    "circular pad": (lambda: nn.CircularPad1d(1), [(1, 1, 3)], (1, 1, 5)),
    "cosine similarity": (lambda: nn.CosineSimilarity(), [(4, 3), (4, 3)], (4,)),
    "pairwise distance": (lambda: nn.PairwiseDistance(), [(4, 3), (4, 3)], (4,)),
    "sequential": (lambda: nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)), [(5, 3)], (5, 2)),
    "dropout": (lambda: nn.Dropout(0.3), [(4, 5)], (4, 5)),
    "dropout1d": (lambda: nn.Dropout1d(0.3), [(4, 5, 3)], (4, 5, 3)),
    "dropout2d": (lambda: nn.Dropout2d(0.3), [(4, 5, 3, 3)], (4, 5, 3, 3)),
    "dropout3d": (lambda: nn.Dropout3d(0.3), [(4, 5, 2, 2, 2)], (4, 5, 2, 2, 2)),
    "alpha dropout": (lambda: nn.AlphaDropout(0.3), [(4, 5)], (4, 5)),
    "drop path": (lambda: nn.DropPath(0.3), [(4, 5)], (4, 5)),
    "rrelu": (lambda: nn.RReLU(), [(4, 5)], (4, 5)),
}


def inputs_of(shapes: list[tuple[int, ...]]) -> list[nyala.Tensor]:
    key = nyala.random.key(3, "test")
    return [nyala.tensor(key.fold(i).normal(s), requires_grad=True) for i, s in enumerate(shapes)]


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_reach_everything(name: str) -> None:
    build, shapes, expected = LAYERS[name]
    layer, inputs = build(), inputs_of(shapes)
    out = layer(*inputs)
    assert out.shape == expected
    (out * nyala.tensor(np.cos(np.arange(out.numel())).reshape(out.shape), dtype=out.dtype)).sum().backward()
    for key, p in (*layer.named_parameters(), *((f"input {i}", x) for i, x in enumerate(inputs))):
        assert p.grad is not None and p.grad.shape == p.shape, key
        assert np.isfinite(p.grad.numpy()).all() and (p.grad.numpy() != 0).any(), key


@pytest.mark.parametrize("name", LAYERS)
def test_save_load_and_copy_are_identities(name: str) -> None:
    build, shapes, _ = LAYERS[name]
    layer, inputs = build(), inputs_of(shapes)
    layer(*inputs)  # moves running statistics
    fresh = build()
    fresh.load_state_dict({k: v.numpy().copy() for k, v in layer.state_dict().items()})
    expected = layer.eval()(*inputs).detach().numpy()
    np.testing.assert_array_equal(fresh.eval()(*inputs).detach().numpy(), expected)
    np.testing.assert_array_equal(copy.deepcopy(layer)(*inputs).detach().numpy(), expected)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ReLU": lambda x: np.maximum(x, 0),
    "ReLU6": lambda x: np.clip(x, 0, 6),
    "LeakyReLU": lambda x: np.where(x > 0, x, 0.01 * x),
    "ELU": lambda x: np.where(x > 0, x, np.expm1(x)),
    "CELU": lambda x: np.where(x > 0, x, np.expm1(x)),
    "SELU": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "SiLU": lambda x: x / (1 + np.exp(-x)),
    "Mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "Hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "Hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "Hardtanh": lambda x: np.clip(x, -1, 1),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "Softplus": lambda x: np.log1p(np.exp(x)),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Tanhshrink": lambda x: x - np.tanh(x),
    "Hardshrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "Softshrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "LogSigmoid": lambda x: -np.log1p(np.exp(-x)),
    "Softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "Softmin": lambda x: np.exp(-x) / np.exp(-x).sum(-1, keepdims=True),
    "LogSoftmax": lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_their_derivatives(name: str) -> None:
    settings = {"dim": -1} if "oft" in name and ("max" in name or "min" in name) else {}
    layer = getattr(nn, name)(**settings)
    x = np.linspace(-7.3, 7.1, 24).reshape(2, 12)
    t = nyala.tensor(x, requires_grad=True)
    np.testing.assert_allclose(layer(t).detach().numpy(), ACTIVATIONS[name](x), rtol=1e-9, atol=1e-12)
    assert nyala.testing.gradcheck(layer, t)


def test_inplace_modules_leave_their_input_and_functions_write_to_it() -> None:
    x = nyala.tensor([-1.0, 2.0])
    assert nn.ReLU(inplace=True)(x).tolist() == [0, 2] and x.tolist() == [-1, 2]
    assert F.relu(x, inplace=True) is x and x.tolist() == [0, 2]
    w = nyala.tensor([-1.0, 2.0], requires_grad=True)
    F.hardtanh(w * 3, inplace=True).sum().backward()
    assert w.grad.tolist() == [0, 0]


def test_threshold_and_prelu_by_channel() -> None:
    assert nn.Threshold(1.0, 9.0)(nyala.tensor([0.5, 2.0])).tolist() == [9, 2]
    layer = nn.PReLU(2)
    layer.weight.data.copy_([0.5, 2.0])
    assert layer(nyala.full((1, 2, 1), -1.0)).tolist() == [[[-0.5], [-2.0]]]


@pytest.mark.parametrize("shape", [(3, 2, 5), (0, 2), (), (4, 3, 80, 90)])
def test_prelu_with_one_slope_is_what_it_says(shape: tuple[int, ...]) -> None:
    x, slope = nyala.randn(*shape, requires_grad=True), nyala.tensor([-0.3], requires_grad=True)
    found = F.prelu(x, slope)
    plain = nyala.where(x.detach() > 0, x, x * slope).reshape(shape)
    assert found.equal(plain)
    weights = nyala.randn(*shape)
    (gx, gw), (px, pw) = (nyala.autograd.grad((y * weights).sum(), [x, slope]) for y in (found, plain))
    assert gx.equal(px) and gw.shape == (1,)
    np.testing.assert_allclose(gw.numpy(), pw.numpy(), rtol=1e-4, atol=1e-4)


def test_the_gradient_of_prelu_has_one_too() -> None:
    x, slope = nyala.tensor([-2.0, 3.0], requires_grad=True), nyala.tensor([0.5], requires_grad=True)
    (first,) = nyala.autograd.grad((F.prelu(x, slope) ** 2).sum(), [slope], create_graph=True)
    assert first.tolist() == [4.0]  # 2 * slope * x^2
    assert nyala.autograd.grad(first.sum(), [slope])[0].tolist() == [8.0]


def test_dropout_modules_are_quiet_in_eval_and_drop_in_training() -> None:
    x = nyala.ones(50, 40)
    for layer in (nn.Dropout(0.5), nn.AlphaDropout(0.5), nn.DropPath(0.5)):
        assert not layer(x).equal(x)
        assert layer.eval()(x).equal(x)
    dropped = nn.DropPath(0.5)(x).numpy()
    assert set(np.unique(dropped)) == {0, 2} and (dropped == dropped[:, :1]).all()


# ---- norms


def test_batch_norm_counts_and_averages() -> None:
    layer, x = nn.BatchNorm1d(2, momentum=None), nyala.randn(8, 2)
    layer(x)
    np.testing.assert_allclose(layer.running_mean.numpy(), x.numpy().mean(0), rtol=1e-5, atol=1e-6)
    layer(x + 4)
    np.testing.assert_allclose(layer.running_mean.numpy(), x.numpy().mean(0) + 2, rtol=1e-5, atol=1e-6)
    assert int(layer.num_batches_tracked) == 2
    layer.reset_parameters()
    assert int(layer.num_batches_tracked) == 0 and layer.running_mean.tolist() == [0, 0]
    layer.eval()(x)
    assert int(layer.num_batches_tracked) == 0


def test_batch_norm_without_statistics_uses_the_batch_in_eval_too() -> None:
    layer = nn.BatchNorm2d(3, track_running_stats=False, affine=False).eval()
    out = layer(nyala.randn(4, 3, 5, 5) * 3 + 1).numpy()
    np.testing.assert_allclose(out.mean((0, 2, 3)), 0, atol=1e-5)
    assert list(layer.state_dict()) == []


def test_layer_norm_without_bias() -> None:
    assert list(nn.LayerNorm(3, bias=False).state_dict()) == ["weight"]
    assert list(nn.LayerNorm(3, elementwise_affine=False).state_dict()) == []


# ---- embeddings and containers


def test_embedding_padding_row_is_zero_and_stays() -> None:
    layer = nn.Embedding(5, 3, padding_idx=-1)
    assert layer.padding_idx == 4 and layer.weight[4].tolist() == [0, 0, 0]
    layer(nyala.tensor([[1, 4], [4, 1]])).sum().backward()
    assert layer.weight.grad.tolist() == [[0] * 3, [2] * 3, [0] * 3, [0] * 3, [0] * 3]
    table = nn.Embedding.from_pretrained(nyala.arange(6.0).reshape(3, 2))
    assert table(nyala.tensor([2])).tolist() == [[4, 5]] and not table.weight.requires_grad


def test_containers_behave_as_lists_and_dicts() -> None:
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Linear(1, 1)
    items = nn.ModuleList([a, b])
    items.append(c).insert(0, c)
    assert list(items) == [c, a, b, c] and len(items) == 4 and items[-1] is c and a in items
    del items[0]
    assert list(items[1:]) == [b, c] and list(items.state_dict()) == ["2.weight", "2.bias"]
    assert items.pop() is c and len(items) == 2
    items[0] = c
    assert items[0] is c and list(items + nn.ModuleList([a]))[-1] is a
    chain = nn.Sequential({"first": c, "second": b})
    assert chain.first is c and isinstance(chain[1:], nn.Sequential) and list(chain[1:]._modules) == ["second"]
    named = nn.ModuleDict({"x": a})
    named["y"] = c
    assert list(named) == ["x", "y"] and "y" in named and named.pop("x") is a and list(named.values()) == [c]
    values = nn.ParameterList([nyala.ones(2), nn.Parameter(nyala.zeros(1))])
    values.append(nyala.ones(3))
    assert list(values.state_dict()) == ["0", "1", "2"] and values[-1].shape == (3,) and len(values[1:]) == 2
    table = nn.ParameterDict({"a": nyala.ones(1)})
    table["b"] = nyala.ones(2)
    assert list(table.state_dict()) == ["a", "b"] and table["b"].requires_grad


# ---- losses


def test_losses_are_their_functions() -> None:
    scores, target = inputs_of([(4, 3)])[0], nyala.tensor([0, 2, 1, 2])
    weight = nyala.tensor([0.2, 0.3, 0.5])
    layer = nn.CrossEntropyLoss(weight, label_smoothing=0.1, reduction="sum")
    assert layer(scores, target).item() == F.cross_entropy(scores, target, weight, label_smoothing=0.1, reduction="sum").item()
    assert list(layer.state_dict()) == ["weight"]
    assert nn.NLLLoss()(F.log_softmax(scores, 1), target).item() == pytest.approx(F.cross_entropy(scores, target).item())
    other = inputs_of([(4, 3), (4, 3)])[1].detach()
    unit = other.sigmoid()
    sign = other.sign()
    pairs = [
        (nn.MSELoss(), other, F.mse_loss(scores, other)),
        (nn.L1Loss(reduction="none"), other, F.l1_loss(scores, other, reduction="none")),
        (nn.SmoothL1Loss(beta=0.5), other, F.smooth_l1_loss(scores, other, beta=0.5)),
        (nn.HuberLoss(delta=0.5), other, F.huber_loss(scores, other, delta=0.5)),
        (nn.BCEWithLogitsLoss(pos_weight=weight), unit, F.binary_cross_entropy_with_logits(scores, unit, pos_weight=weight)),
        (nn.KLDivLoss("batchmean"), unit, F.kl_div(scores, unit, reduction="batchmean")),
        (nn.PoissonNLLLoss(), unit, F.poisson_nll_loss(scores, unit)),
        (nn.SoftMarginLoss(), sign, F.soft_margin_loss(scores, sign)),
        (nn.HingeEmbeddingLoss(0.5), sign, F.hinge_embedding_loss(scores, sign, 0.5)),
    ]
    for loss, given, expected in pairs:
        np.testing.assert_array_equal(loss(scores, given).detach().numpy(), expected.detach().numpy(), err_msg=repr(loss))
    assert nn.BCELoss()(scores.sigmoid(), unit).item() == pytest.approx(nn.BCEWithLogitsLoss()(scores, unit).item(), rel=1e-5)
    assert nn.MultiMarginLoss(margin=0.5)(scores, target).item() == F.multi_margin_loss(scores, target, margin=0.5).item()
    assert nn.GaussianNLLLoss()(scores, other, unit).item() == F.gaussian_nll_loss(scores, other, unit).item()
    sign = nyala.tensor([1.0, -1.0, 1.0, -1.0])
    assert nn.CosineEmbeddingLoss(0.1)(scores, other, sign).item() == F.cosine_embedding_loss(scores, other, sign, 0.1).item()
    assert nn.TripletMarginLoss(0.3)(scores, other, unit).item() == F.triplet_margin_loss(scores, other, unit, 0.3).item()
    ranked = nn.MarginRankingLoss(0.2)(scores[:, 0], other[:, 0], sign)
    assert ranked.item() == F.margin_ranking_loss(scores[:, 0], other[:, 0], sign, 0.2).item()
    frames = F.log_softmax(nyala.randn(6, 2, 4), -1)
    labels, lengths = nyala.tensor([[1, 2], [3, 0]]), ([6, 5], [2, 1])
    assert nn.CTCLoss()(frames, labels, *lengths).item() == F.ctc_loss(frames, labels, *lengths).item()


# ---- bad arguments and inputs

BAD: list[tuple[str, Callable[[], Any], type[NyalaError], list[str]]] = [
    ("groups", lambda: nn.Conv2d(3, 4, 3, groups=2), ArgumentError, ["3 input and 4 output channels in 2 groups", "divisor"]),
    ("padding mode", lambda: nn.Conv2d(1, 1, 3, padding_mode="mirror"), ArgumentError, ["'mirror'", "reflect"]),
    ("same with stride", lambda: nn.Conv1d(1, 1, 3, stride=2, padding="same"), ArgumentError, ["'same'", "stride (2,)"]),
    ("padding word", lambda: nn.Conv1d(1, 1, 3, padding="full"), ArgumentError, ["'full'"]),
    ("kernel numbers", lambda: nn.Conv2d(1, 1, (3, 3, 3)), ArgumentError, ["kernel_size=(3, 3, 3)"]),
    (
        "output size", lambda: nn.ConvTranspose1d(1, 1, 3, stride=2)(nyala.ones(1, 1, 4), output_size=[20]), ShapeError,
        ["output_size=(20,)", "9 to 10"],
    ),
    ("norm rank", lambda: nn.BatchNorm2d(3)(nyala.ones(2, 3)), ShapeError, ["BatchNorm2d", "4 dimensions"]),
    ("norm channels", lambda: nn.Sequential(nn.BatchNorm1d(3))(nyala.ones(2, 4)), ShapeError, ["at 0 (BatchNorm1d)"]),
    ("group norm", lambda: nn.GroupNorm(3, 4), ArgumentError, ["4 channels in 3 groups"]),
    ("dropout", lambda: nn.Dropout(1.5), ArgumentError, ["p=1.5", "probability"]),
    ("padding row", lambda: nn.Embedding(3, 2, padding_idx=3), ArgumentError, ["padding_idx=3 of 3 rows"]),
    ("embedding option", lambda: nn.Embedding(3, 2, sparse=True), ArgumentError, ["sparse"]),
    ("token", lambda: nn.Embedding(3, 2)(nyala.tensor([3])), IndexRangeError, ["3"]),
    ("softmax2d", lambda: nn.Softmax2d()(nyala.ones(2, 2)), ArgumentError, ["(N, C, H, W)"]),
    ("prelu", lambda: nn.PReLU(3)(nyala.ones(2, 4)), ShapeError, ["(3,) slopes", "give 1 slope or 4"]),
    ("bilinear", lambda: nn.Bilinear(2, 3, 4)(nyala.ones(1, 2), nyala.ones(1, 2)), ShapeError, ["bilinear", "(4, 2, 3)"]),
    ("hardtanh", lambda: F.hardtanh(nyala.ones(1), 1, -1), ArgumentError, ["min_val=1"]),
    ("list index", lambda: nn.ModuleList([nn.ReLU()])[1], IndexRangeError, ["index 1 of a ModuleList with 1 member"]),
    ("dict name", lambda: nn.ModuleDict({"relu": nn.ReLU()})["rely"], UnknownNameError, ["'rely'", "'relu'"]),
    ("list of numbers", lambda: nn.ParameterList([3]), ArgumentError, ["int among parameters"]),
    ("list of functions", lambda: nn.ModuleList([len]), ArgumentError, ["not a Module"]),
]  # fmt: skip


@pytest.mark.parametrize(("act", "kind", "texts"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_arguments_are_named(act: Callable[[], Any], kind: type[NyalaError], texts: list[str]) -> None:
    with pytest.raises(kind) as caught:
        act()
    for text in texts:
        assert text in str(caught.value)


def test_activation_names_of_configs() -> None:
    from nyala.nn.activation import NAMES, activation

    x = nyala.tensor([-1.0, 0.5, 2.0])
    assert all(activation(name)(x).shape == (3,) for name in NAMES)
    assert activation("gelu_new")(x).equal(F.gelu(x, "tanh")) and activation(F.relu) is F.relu
    with pytest.raises(ArgumentError, match=r"unknown activation 'gelo'.*'gelu'"):
        activation("gelo")

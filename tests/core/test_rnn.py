"""Recurrent layers against loops written out, and what they do with sequences of different lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.core.ops.recurrent import MODES, recurrence
from nyala.errors import ArgumentError, NyalaError, ShapeError
from nyala.nn.utils import rnn as tools

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def naive_step(mode: str, x: Array, h: Array, c: Array, w: dict[str, Array]) -> tuple[Array, Array]:
    """One step of one sample, from the definitions."""
    own, new = w["weight_ih"] @ x + w["bias_ih"], w["weight_hh"] @ h + w["bias_hh"]
    if mode == "GRU":
        (xr, xz, xn), (hr, hz, hn) = np.split(own, 3), np.split(new, 3)
        z = sigmoid(xz + hz)
        return (1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn) + z * h, c
    if mode == "LSTM":
        i, f, g, o = np.split(own + new, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    return np.tanh(own + new) if mode == "RNN_TANH" else np.maximum(own + new, 0), c


def naive(layer: Any, x: Array, lengths: list[int]) -> tuple[Array, Array, Array]:
    """The whole network by loops: outputs (T, N, D H) and last h and c, all starting at 0."""
    weights = {k: v.detach().numpy() for k, v in layer.named_parameters()}
    width, last_h, last_c = layer.hidden_size, [], []
    for number in range(layer.num_layers):
        out = np.zeros((*x.shape[:2], layer.num_directions * width))
        for d, suffix in enumerate(layer._suffixes(number)):
            w = {k: weights[k + suffix] for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
            hs, cs = [], []
            for n, length in enumerate(lengths):
                h = c = np.zeros(width)
                for t in range(length)[:: -1 if d else 1]:
                    h, c = naive_step(layer.mode, x[t, n], h, c, w)
                    out[t, n, d * width : (d + 1) * width] = h
                hs.append(h)
                cs.append(c)
            last_h.append(np.stack(hs))
            last_c.append(np.stack(cs))
        x = out
    return x, np.stack(last_h), np.stack(last_c)


BUILD: dict[str, Callable[..., nn.Module]] = {
    "tanh": nn.RNN,
    "relu": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}


@pytest.fixture(autouse=True)
def seed() -> None:
    nyala.manual_seed(0)


@pytest.mark.parametrize("lengths", [None, [6, 2, 4]])
@pytest.mark.parametrize("name", BUILD)
def test_equals_the_loops(name: str, lengths: list[int] | None) -> None:
    layer = BUILD[name](3, 4, num_layers=2, bidirectional=True).double()
    x = nyala.randn(6, 3, 3, dtype="float64")
    out, last = layer(x, lengths=lengths)
    h = last[0] if name == "lstm" else last
    expected, expected_h, expected_c = naive(layer, x.numpy(), lengths or [6, 6, 6])
    np.testing.assert_allclose(out.detach().numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(h.detach().numpy(), expected_h, atol=1e-12)
    if name == "lstm":
        np.testing.assert_allclose(last[1].detach().numpy(), expected_c, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_first_and_second_derivatives(mode: str, masked: bool, reverse: bool) -> None:
    steps, batch, width = 3, 2, 2
    gates = {"LSTM": 4, "GRU": 3}.get(mode, 1) * width
    key = nyala.random.key(1, "test")
    shapes = [(steps, batch, gates), (gates, width), *([(gates,)] if mode == "GRU" else [])]
    shapes += [(batch, width)] * MODES[mode].states
    inputs = [nyala.tensor(key.fold(i).normal(s, np.float64), requires_grad=True) for i, s in enumerate(shapes)]
    mask = np.array([[1, 1], [1, 0], [1, 0]], bool)[..., None] if masked else None

    def run(x: Any, weight: Any, *rest: Any) -> tuple[Any, ...]:
        bias, state = (rest[0], rest[1:]) if mode == "GRU" else (None, rest)
        out, last = recurrence(mode, x, weight, bias, tuple(state), mask, reverse)
        return (out, *last)

    assert nyala.testing.gradcheck(run, inputs)
    if not (reverse and masked):
        assert nyala.testing.gradgradcheck(run, inputs)


def test_lengths_equal_shorter_runs_and_padding_does_not_matter() -> None:
    layer = nn.LSTM(3, 4, bidirectional=True, batch_first=True)
    x = nyala.randn(2, 5, 3)
    out, (h, c) = layer(x, lengths=nyala.tensor([5, 3]))
    short, (sh, sc) = layer(x[1:, :3])
    np.testing.assert_allclose(out[1:, :3].detach().numpy(), short.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(h[:, 1:].detach().numpy(), sh.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(c[:, 1:].detach().numpy(), sc.detach().numpy(), atol=1e-6)
    assert (out[1, 3:].detach().numpy() == 0).all()
    noisy = x.clone()
    noisy[1, 3:] = 99.0
    assert layer(noisy, lengths=[5, 3])[0].equal(out)


@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_packed_sequences_are_lengths(enforce_sorted: bool) -> None:
    layer = nn.GRU(3, 4, num_layers=2, bidirectional=True)
    x, lengths = nyala.randn(5, 3, 3), [5, 4, 2] if enforce_sorted else [2, 5, 4]
    packed = tools.pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
    assert packed.batch_sizes.tolist() == [3, 3, 2, 2, 1] and packed.data.shape == (11, 3)
    out, h = layer(packed)
    padded, found = tools.pad_packed_sequence(out)
    expected, last = layer(x, lengths=lengths)
    assert found.tolist() == lengths and padded.equal(expected) and h.equal(last)


def test_packing_there_and_back_keeps_values_and_gradients() -> None:
    x = nyala.randn(2, 4, 3, requires_grad=True)
    packed = tools.pack_padded_sequence(x, [2, 4], batch_first=True, enforce_sorted=False)
    back, lengths = tools.pad_packed_sequence(packed, batch_first=True, padding_value=-1.0, total_length=5)
    assert back.shape == (2, 5, 3) and lengths.tolist() == [2, 4]
    assert back[0, :2].equal(x[0, :2]) and (back[0, 2:].detach().numpy() == -1).all()
    back.sum().backward()
    assert x.grad[..., 0].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]


def test_padding_and_packing_lists() -> None:
    items = [nyala.ones(2, 3), nyala.ones(4, 3) * 2]
    padded = tools.pad_sequence(items, batch_first=True, padding_side="left")
    assert padded.shape == (2, 4, 3) and padded[0, :, 0].tolist() == [0, 0, 1, 1]
    assert [t.shape for t in tools.unpad_sequence(tools.pad_sequence(items), [2, 4])] == [(2, 3), (4, 3)]
    assert tools.pack_sequence(items, enforce_sorted=False).data.shape == (6, 3)


@pytest.mark.parametrize(("cell", "layer"), [(nn.RNNCell, nn.RNN), (nn.LSTMCell, nn.LSTM), (nn.GRUCell, nn.GRU)])
def test_cells_are_single_steps(cell: Any, layer: Any) -> None:
    one, whole = cell(3, 4), layer(3, 4)
    whole.load_state_dict({f"{k}_l0": v for k, v in one.state_dict().items()})
    x, state = nyala.randn(3, 2, 3), None
    for t in range(3):
        state = one(x[t], state)
    last = whole(x)[1]
    pairs = zip(state, last, strict=True) if isinstance(state, tuple) else [(state, last)]
    for a, b in pairs:
        np.testing.assert_allclose(a.detach().numpy(), b[0].detach().numpy(), atol=1e-6)
    single = one(x[0, 0])
    assert (single[0] if isinstance(single, tuple) else single).shape == (4,)


def test_gradients_reach_every_parameter_and_the_initial_state() -> None:
    layer = nn.LSTM(3, 4, num_layers=2, bidirectional=True, dropout=0.2)
    h = nyala.randn(4, 2, 4, requires_grad=True)
    c = nyala.randn(4, 2, 4, requires_grad=True)
    out, (hn, cn) = layer(nyala.randn(5, 2, 3), (h, c))
    (out.sum() + (hn * cn).sum()).backward()
    for name, p in (*layer.named_parameters(), ("h", h), ("c", c)):
        assert (p.grad.numpy() != 0).any(), name


def test_dropout_lies_between_layers_only() -> None:
    x = nyala.randn(5, 2, 3)
    one, two = nn.GRU(3, 4, dropout=0.9), nn.GRU(3, 4, num_layers=2, dropout=0.9)
    assert one(x)[0].equal(one(x)[0]) and not two(x)[0].equal(two(x)[0])
    assert two.eval()(x)[0].equal(two(x)[0])


def test_half_precision_is_storage() -> None:
    layer = nn.LSTM(3, 4)
    x = nyala.randn(5, 2, 3)
    expected = layer(x)[0].detach().numpy()
    out = layer.half()(x.half())[0]
    assert out.dtype == nyala.float16
    np.testing.assert_allclose(out.detach().numpy().astype(np.float32), expected, atol=2e-3)


def test_results_do_not_share_memory_with_what_backward_keeps() -> None:
    layer = nn.RNN(2, 2)
    x = nyala.randn(3, 1, 2)
    layer(x)[0].sum().backward()
    expected = layer.weight_ih_l0.grad.numpy().copy()
    layer.zero_grad()
    out, last = layer(x)
    last.data.fill_(9.0)
    out.sum().backward()
    np.testing.assert_array_equal(layer.weight_ih_l0.grad.numpy(), expected)


def test_names_and_printing() -> None:
    layer = nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True)
    assert list(layer.state_dict())[:6] == [
        "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_ih_l0_reverse", "weight_hh_l0_reverse",
    ]  # fmt: skip
    assert layer.weight_ih_l1.shape == (16, 8) and len(layer.all_weights) == 4
    assert repr(layer) == "LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True)"
    assert repr(nn.GRUCell(3, 4, bias=False)) == "GRUCell(3, 4, bias=False)"
    assert float(layer.weight_hh_l0.abs().max()) <= 0.5


BAD: list[tuple[str, Callable[[], Any], type[NyalaError], list[str]]] = [
    ("width", lambda: nn.LSTM(3, 4)(nyala.ones(5, 2, 4)), ShapeError, ["LSTM", "(T, N, C)", "input_size = 3"]),
    ("rank", lambda: nn.GRU(3, 4, batch_first=True)(nyala.ones(1, 5, 2, 3)), ShapeError, ["(N, T, C)"]),
    ("state shape", lambda: nn.GRU(3, 4)(nyala.ones(5, 2, 3), nyala.ones(2, 1, 4)), ShapeError, ["(1, 2, 4)"]),
    ("state count", lambda: nn.LSTM(3, 4)(nyala.ones(5, 2, 3), nyala.ones(1, 2, 4)), ArgumentError, ["pass (h, c)"]),
    ("lengths count", lambda: nn.GRU(3, 4)(nyala.ones(5, 2, 3), lengths=[5]), ShapeError, ["2 sequence(s)"]),
    ("lengths range", lambda: nn.GRU(3, 4)(nyala.ones(5, 2, 3), lengths=[6, 0]), ArgumentError, ["[6, 0]", "1 to 5"]),
    (
        "order",
        lambda: tools.pack_padded_sequence(nyala.ones(5, 2), [2, 5]),
        ArgumentError,
        ["do not fall", "enforce_sorted=False"],
    ),
    ("nonlinearity", lambda: nn.RNN(3, 4, nonlinearity="sin"), ArgumentError, ["'sin'"]),
    ("dropout", lambda: nn.GRU(3, 4, dropout=2), ArgumentError, ["dropout=2"]),
    ("projection", lambda: nn.LSTM(3, 4, proj_size=2), ArgumentError, ["proj_size=2"]),
    ("cell width", lambda: nn.GRUCell(3, 4)(nyala.ones(2, 2)), ShapeError, ["(N, 3)"]),
    (
        "total length",
        lambda: tools.pad_packed_sequence(tools.pack_sequence([nyala.ones(3)]), total_length=2),
        ArgumentError,
        ["2", "3"],
    ),
]


@pytest.mark.parametrize(("act", "kind", "texts"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_is_named(act: Callable[[], Any], kind: type[NyalaError], texts: list[str]) -> None:
    with pytest.raises(kind) as caught:
        act()
    for text in texts:
        assert text in str(caught.value)

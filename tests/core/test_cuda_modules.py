"""``device="cuda"`` for modules, optimizers, averages, loaders and files: as on the CPU, and moved without loss."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import checkpoint, nn, optim
from nyala.core import devices
from nyala.data import DataLoader, PadCollate, TensorDataset
from nyala.errors import DeviceError
from nyala.testing import assert_close
from nyala.utils.checkpoint import checkpoint as recomputed

pytestmark = pytest.mark.usefixtures("cuda")

spec = importlib.util.spec_from_file_location("goldens_modules", Path(__file__).with_name("test_goldens_modules.py"))
assert spec is not None and spec.loader is not None
goldens = importlib.util.module_from_spec(spec)
spec.loader.exec_module(goldens)


class GoldenOnGpu(goldens.Golden):
    """A golden case whose module and inputs are moved; the leaves stay where they were made."""

    def value(self, given: Any) -> Any:
        found = super().value(given)
        return found.cuda() if isinstance(found, nyala.Tensor) else found


@pytest.mark.parametrize("case", goldens.CASES, ids=lambda case: case["name"])
def test_a_module_equals_torch(case: dict[str, Any], cuda: str) -> None:
    golden = GoldenOnGpu(case, "float64")
    golden.module.to("cuda")
    outputs, buffers = golden.run()
    assert {out.device for out in outputs} == {cuda}
    for out, key in zip(outputs, case["outputs"], strict=True):
        goldens.assert_close(out.detach().numpy(), golden.arrays[key], 1e-6, key)
    for key, value in buffers.items():
        goldens.assert_close(value, golden.arrays[key], 1e-6, key)
    goldens.objective([out.cpu() for out in outputs]).backward()
    for key in case["grads"]:
        goldens.assert_close(golden.leaves[key].grad.numpy(), golden.arrays[f"grad.{key}"], 1e-6, f"gradient of {key}")


def far() -> str:
    """The last GPU: where there are several it is not the current one, and CuPy computes there only if it is told to."""
    return f"cuda:{devices.cupy().cuda.runtime.getDeviceCount() - 1}"


def both(build: Callable[[], nn.Module], *inputs: np.ndarray) -> None:
    """The module's results, gradients and buffers on the GPU are those on the CPU, dropout and all."""
    seen = []
    for device in ("cpu", far()):
        nyala.manual_seed(1)
        module = build().to(dtype="float64").to(device)
        given = [nyala.tensor(x, device=device, requires_grad=x.dtype.kind == "f") for x in inputs]
        nyala.manual_seed(2)
        out = module(*given)
        out = out[0] if isinstance(out, tuple) else out
        (out * nyala.cos(nyala.arange(out.numel(), dtype="float64", device=device)).reshape(out.shape)).sum().backward()
        found = {"result": out.detach(), **dict(module.named_buffers())}
        found |= {f"gradient of {k}": p.grad for k, p in module.named_parameters() if p.grad is not None}
        found |= {f"gradient of input {i}": x.grad for i, x in enumerate(given) if x.requires_grad}
        seen.append({k: v.cpu() for k, v in found.items()})
    assert_close(seen[1], seen[0], 1e-9, 1e-9)


def wave(*shape: int) -> np.ndarray:
    return np.sin(np.arange(float(np.prod(shape))) * 1.3).reshape(shape)


@pytest.mark.parametrize(("build", "inputs"), [
    (lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                           nn.Linear(36, 2)), (wave(2, 3, 6, 6),)),
    (lambda: nn.Sequential(nn.ConvTranspose2d(3, 2, 3, stride=2), nn.SiLU(), nn.AdaptiveAvgPool2d(3)), (wave(2, 3, 4, 4),)),
    (lambda: nn.Sequential(nn.Embedding(7, 6, padding_idx=0), nn.LayerNorm(6), nn.Dropout(0.3), nn.Linear(6, 2)),
     (np.array([[1, 2, 0], [6, 1, 1]]),)),
    (lambda: nn.LSTM(4, 3, num_layers=2, bidirectional=True, dropout=0.5), (wave(5, 2, 4),)),
    (lambda: nn.GRU(4, 3, batch_first=True), (wave(2, 5, 4),)),
    (lambda: nn.RNN(4, 3, nonlinearity="relu"), (wave(5, 2, 4),)),
    (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True), 2), (wave(2, 5, 8),)),
    (lambda: nn.TransformerDecoderLayer(8, 2, 16, dropout=0.1, batch_first=True), (wave(2, 5, 8), wave(2, 3, 8))),
    (lambda: nn.TransformerBlock(8, 2, 16), (wave(2, 5, 8),)),
    (lambda: nn.utils.weight_norm(nn.Linear(4, 3)), (wave(2, 4),)),
    (lambda: nn.utils.spectral_norm(nn.Linear(4, 3)), (wave(2, 4),)),
    (lambda: nn.Sequential(nn.DropPath(0.4), nn.LayerScale(4), nn.GroupNorm(2, 4), nn.PReLU()), (wave(3, 4),)),
    (lambda: nn.Sequential(nn.Unfold(2), nn.Fold(4, 2)), (wave(2, 3, 4, 4),)),
    (lambda: nn.Sequential(nn.Upsample(scale_factor=2, mode="bicubic"), nn.PixelUnshuffle(2), nn.ReflectionPad2d(1)),
     (wave(1, 2, 4, 4),)),
])  # fmt: skip
def test_a_module_computes_what_it_does_on_the_cpu(build: Callable[[], nn.Module], inputs: tuple[np.ndarray, ...]) -> None:
    both(build, *inputs)


@pytest.mark.parametrize("interleaved", [False, True])
def test_attention_with_rotary_positions_and_a_cache(interleaved: bool) -> None:
    position = nn.Rotary(4, interleaved=interleaved)
    both(lambda: nn.Attention(8, 2, num_kv_heads=1, position=position, is_causal=True), wave(2, 5, 8))
    layer = nn.Attention(8, 2, position=position, is_causal=True).to(dtype="float64").to(far())
    x, cache = nyala.tensor(wave(1, 4, 8), device=far()), nn.KVCache()
    steps = nyala.cat([layer(x[:, t : t + 1], cache=cache) for t in range(4)], 1)
    assert_close(steps, layer(x), 1e-9, 1e-9)


class TestMoving:
    def net(self) -> nn.Module:
        nyala.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))

    def test_takes_parameters_buffers_and_gradients_along(self, cuda: str) -> None:
        net = self.net()
        net(nyala.ones(2, 3)).sum().backward()
        weight = net[0].weight
        assert net.to("cuda") is net and net[0].weight is weight
        assert {t.device for t in (*net.parameters(), *net.buffers(), *(p.grad for p in net.parameters()))} == {cuda}
        assert net.cpu()[0].weight.device == "cpu"
        assert {t.device for t in net.cuda().parameters()} == {cuda} == {t.device for t in net.cuda(0).buffers()}

    def test_goes_there_and_back_bit_for_bit(self) -> None:
        net = self.net()
        before = {k: v.numpy().copy() for k, v in net.state_dict().items()}
        after = net.cuda().cpu().state_dict()
        assert all(np.array_equal(after[k].numpy(), v) for k, v in before.items())

    def test_state_goes_in_and_out_across_devices(self, cuda: str, tmp_path: Path) -> None:
        ours, theirs = self.net().cuda(), nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        theirs.load_state_dict(ours.state_dict())
        assert theirs[0].weight.device == "cpu"
        checkpoint.save_file(ours.state_dict(), tmp_path / "net.safetensors")
        again = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).cuda()
        again.load_state_dict(checkpoint.load_file(tmp_path / "net.safetensors"))
        assert again[0].weight.device == cuda
        for state in (theirs.state_dict(), again.state_dict()):
            assert_close(state, ours.state_dict(), 0, 0)

    def test_a_deepcopy_stays_there(self, cuda: str) -> None:
        assert copy.deepcopy(self.net().cuda())[0].weight.device == cuda

    def test_initialisers_fill_memory_there(self) -> None:
        for fill in (nn.init.xavier_uniform_, nn.init.kaiming_normal_, nn.init.orthogonal_, nn.init.trunc_normal_,
                     lambda t: nn.init.constant_(t, 3.0)):  # fmt: skip
            found = []
            for device in ("cpu", far()):
                nyala.manual_seed(4)
                found.append(fill(nyala.empty(4, 3, dtype="float64", device=device)).cpu())
            assert_close(found[1], found[0], 1e-12, 1e-12)


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda p: optim.Adam(p, lr=0.1, weight_decay=0.01, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, lr=0.1),
    "Lion": lambda p: optim.Lion(p, lr=0.1, weight_decay=0.1),
    "LAMB": lambda p: optim.LAMB(p, lr=0.1, weight_decay=0.01),
    "Adafactor": lambda p: optim.Adafactor(p, lr=0.1),
    # it makes all singular values alike and so enlarges the roundings of the least: a smaller step has as much noise
    "Muon": lambda p: optim.Muon([t for t in p if t.ndim == 2], lr=0.05),
}


class TestOptimizers:
    def trained(self, make: Callable[[Any], Any], device: str, dtype: str, steps: int = 3) -> tuple[nn.Module, Any]:
        nyala.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).to(dtype).to(device)
        optimizer = make(list(net.parameters()))
        self.step(net, optimizer, steps)
        return net, optimizer

    def step(self, net: nn.Module, optimizer: Any, steps: int) -> None:
        p = net[0].weight
        x = nyala.tensor(wave(5, 4), dtype=p.dtype, device=p.device)
        labels = nyala.tensor([0, 2, 1, 1, 0], device=p.device)
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(net(x), labels).backward()
            optim.clip_grad_norm_(net.parameters(), 0.5)
            optimizer.step()

    @pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_steps_as_on_the_cpu(self, name: str, dtype: str) -> None:
        expected, _ = self.trained(OPTIMIZERS[name], "cpu", dtype)
        got, optimizer = self.trained(OPTIMIZERS[name], far(), dtype)
        places = {v.device for state in optimizer.state.values() for v in state.values() if isinstance(v, nyala.Tensor)}
        assert places <= {far()}
        tolerance = 1e-9 if dtype == "float64" else 3e-2
        assert_close(got.state_dict(), expected.state_dict(), tolerance, tolerance, check_dtype=True)

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_goes_on_where_it_stood_on_another_device(self, name: str) -> None:
        expected, _ = self.trained(OPTIMIZERS[name], "cpu", "float64", steps=4)
        net, optimizer = self.trained(OPTIMIZERS[name], "cpu", "float64", steps=2)
        net.cuda()
        other = OPTIMIZERS[name](list(net.parameters()))
        other.load_state_dict(optimizer.state_dict())
        self.step(net, other, 2)
        assert_close(net.state_dict(), expected.state_dict(), 1e-9, 1e-9)

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_its_state_follows_a_model_that_is_moved(self, name: str) -> None:
        expected, _ = self.trained(OPTIMIZERS[name], "cpu", "float64", steps=4)
        net, optimizer = self.trained(OPTIMIZERS[name], "cpu", "float64", steps=2)
        self.step(net.to(far()), optimizer, 2)
        assert_close(net.state_dict(), expected.state_dict(), 1e-9, 1e-9)

    def test_a_gradient_from_elsewhere_is_named(self) -> None:
        p = nn.Parameter(nyala.ones(2, device="cuda"))
        p.grad = nyala.ones(2)
        with pytest.raises(DeviceError, match=r"gradient of shape .* is on cpu, parameter"):
            optim.SGD([p], lr=0.1).step()

    def test_named_state_lies_on_the_cpu_and_fits_either(self) -> None:
        net, optimizer = self.trained(OPTIMIZERS["AdamW"], "cuda", "float64")
        named = optimizer.named_state(net.named_parameters())
        assert all(type(v) is np.ndarray for v in named.values())
        other = OPTIMIZERS["AdamW"](list(net.parameters()))
        other.load_named_state(named, net.named_parameters())
        assert_close(other.named_state(net.named_parameters()), named, 0, 0)

    def test_gradients_are_clipped_there(self) -> None:
        for clip in (lambda p: optim.clip_grad_value_(p, 0.1), lambda p: optim.clip_grad_norm_(p, 0.1, norm_type=1.0)):
            found = []
            for device in ("cpu", far()):
                net = nn.Linear(2, 1).to(dtype="float64").to(device)
                net(nyala.tensor(wave(3, 2), device=device)).sum().backward()
                clip(net.parameters())
                found.append([p.grad.cpu() for p in net.parameters()])
            assert_close(found[1], found[0], 1e-12, 1e-12)

    def test_the_average_follows_there(self) -> None:
        averages = []
        for device in ("cpu", far()):
            nyala.manual_seed(0)
            net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).to(dtype="float64").to(device)
            ema = optim.EMA(net, decay=0.5)
            with nyala.no_grad():
                net[0].weight.add_(1.0)
            ema.update()
            with ema.swapped():
                averages.append({k: v.cpu().clone() for k, v in net.state_dict().items()})
        assert_close(averages[1], averages[0], 1e-12, 1e-12)


def test_batches_of_a_loader_are_moved(cuda: str) -> None:
    data = TensorDataset(nyala.tensor(wave(6, 2)), nyala.arange(6))
    for inputs, numbers in DataLoader(data, batch_size=4, shuffle=True, seed=0):
        there, labels = inputs.to("cuda"), numbers.cuda()
        assert there.device == labels.device == cuda
        assert_close(there, inputs, 0, 0)


def test_rows_of_different_lengths_are_padded_wherever_they_lie() -> None:
    rows = [nyala.tensor([1, 2, 3], device="cuda"), nyala.tensor([4], device="cuda")]
    assert PadCollate(-1)(rows).tolist() == [[1, 2, 3], [4, -1, -1]]


def test_samples_that_lie_there_are_collated_there(cuda: str) -> None:
    data = TensorDataset(nyala.tensor(wave(6, 2)).cuda(), nyala.arange(6).cuda())
    inputs, numbers = next(iter(DataLoader(data, batch_size=3)))
    assert inputs.device == numbers.device == cuda and inputs.shape == (3, 2)


def test_a_block_computed_again_draws_the_same_dropout() -> None:
    grads = []
    for run in (lambda f, x: f(x), lambda f, x: recomputed(f, x)):
        nyala.manual_seed(0)
        x = nyala.tensor(wave(4, 5), device="cuda", requires_grad=True)
        run(lambda t: F.dropout(t * t, 0.5), x).sum().backward()
        grads.append(x.grad)
    assert_close(grads[1], grads[0], 0, 0)

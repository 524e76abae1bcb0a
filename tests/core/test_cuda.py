"""``device="cuda"`` beyond single operations: tensors, their memory, random numbers, modules, optimizers, data."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import nn
from nyala.core import devices, random
from nyala.errors import DeviceError, DtypeError, GradError, IndexRangeError, NumericError
from nyala.testing import assert_close

pytestmark = pytest.mark.usefixtures("cuda")


def on_gpu(data: Any, **kwargs: Any) -> nyala.Tensor:
    return nyala.tensor(data, device="cuda", **kwargs)


class TestTensor:
    def test_knows_where_it_is(self, cuda: str) -> None:
        x = on_gpu([[1.0, 2.0]])
        assert (x.device, x.is_cuda, x.cpu().device) == (cuda, True, "cpu")
        assert x.cuda() is x and x.to(cuda) is x
        assert x.cpu().cuda().device == cuda

    def test_prints_its_values_and_its_place(self) -> None:
        assert repr(on_gpu([1.5, 2.0])) == "tensor([1.5000, 2.0000], device='cuda:0')"
        assert f"{on_gpu(2.0):.1f}" == "2.0"

    def test_gives_its_values_to_python(self) -> None:
        x = on_gpu([[1.0, 2.0], [3.0, 4.0]])
        assert x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert x.sum().item() == 10.0 and float(x[1, 1]) == 4.0 and int(x[0, 1]) == 2 and bool(x[0, 0])
        assert type(x.numpy()) is np.ndarray and type(np.asarray(x)) is np.ndarray
        assert [row.tolist() for row in x] == x.tolist() and len(x) == 2

    def test_bfloat16_gives_its_values_to_python(self) -> None:
        x = on_gpu([1.0, 2.5], dtype="bfloat16")
        assert x.tolist() == [1.0, 2.5] and x[1].item() == 2.5 and "2.5" in repr(x)

    def test_numpy_of_a_tensor_with_a_gradient_is_refused(self) -> None:
        with pytest.raises(GradError, match="detach"):
            on_gpu([1.0], requires_grad=True).numpy()

    @pytest.mark.parametrize("make", [
        lambda device: nyala.zeros(2, 3, device=device), lambda device: nyala.ones(2, device=device),
        lambda device: nyala.full((2,), 7, device=device), lambda device: nyala.arange(5, device=device),
        lambda device: nyala.linspace(0, 1, 3, device=device), lambda device: nyala.eye(2, device=device),
        lambda device: nyala.tensor([1, 2], device=device), lambda device: nyala.as_tensor(np.ones(3), device=device),
    ])  # fmt: skip
    def test_is_made_where_it_is_asked_for(self, make: Any, cuda: str) -> None:
        x, expected = make("cuda"), make("cpu")
        assert x.device == cuda and x.dtype == expected.dtype
        assert_close(x, expected, 0, 0)

    def test_is_made_like_another(self, cuda: str) -> None:
        x = on_gpu([[1.0, 2.0]])
        for y in (nyala.zeros_like(x), nyala.ones_like(x), nyala.full_like(x, 3.0), nyala.empty_like(x), x.new_zeros(2),
                  nyala.rand_like(x), nyala.randn_like(x), nyala.tensor(x)):  # fmt: skip
            assert y.device == cuda

    def test_nested_lists_of_tensors_become_one(self, cuda: str) -> None:
        x = nyala.tensor([[on_gpu(1.0), on_gpu(2.0)]], device="cuda")
        assert x.device == cuda and x.tolist() == [[1.0, 2.0]]

    def test_exchanges_memory_by_dlpack(self, cuda: str) -> None:
        x = on_gpu([1.0, 2.0])
        assert x.__dlpack_device__()[0] == 2
        y = nyala.from_dlpack(x)
        y[0] = 5.0
        assert y.device == cuda and x.tolist() == [5.0, 2.0]

    def test_deepcopy_has_memory_of_its_own(self, cuda: str) -> None:
        x = on_gpu([1.0, 2.0], requires_grad=True)
        (x * x).sum().backward()
        y = copy.deepcopy(x)
        with nyala.no_grad():
            y.zero_()
        assert x.tolist() == [1.0, 2.0] and y.device == cuda and y.grad.tolist() == [2.0, 4.0]

    def test_moving_is_differentiable(self) -> None:
        x = nyala.tensor([1.0, 2.0], requires_grad=True)
        (x.cuda() ** 2).sum().cpu().backward()
        assert x.grad.device == "cpu" and x.grad.tolist() == [2.0, 4.0]


def test_bfloat16_is_sorted_though_cupy_cannot() -> None:
    x = on_gpu([3.0, 1.0, 2.0, 1.0], dtype="bfloat16")
    assert (x.median().item(), x.sort().values.tolist(), x.unique().tolist()) == (1.0, [1.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert x.topk(2).indices.tolist() == [0, 2] and x.unique().dtype == x.median().dtype == x.dtype


class TestWriting:
    def test_in_place_operations_and_assignments(self) -> None:
        x = on_gpu([[1.0, 2.0], [3.0, 4.0]])
        x += 1
        x.mul_(2)
        x[0] = 0
        x[:, 1] = on_gpu([7.0, 8.0])
        x[x > 7.5] = -1
        x[1, 0] = nyala.tensor(5.0)  # from the CPU: a copy, as everywhere in assignment
        assert x.tolist() == [[0.0, 7.0], [5.0, -1.0]]

    def test_views_write_to_one_memory(self) -> None:
        x = on_gpu(np.arange(6.0))
        x.view(2, 3)[1, 0] = 9
        x.unfold(0, 2, 2)[0, 0] = 4
        assert x.tolist() == [4.0, 1.0, 2.0, 9.0, 4.0, 5.0]

    @pytest.mark.parametrize("view", [lambda t: t.view(3, 2), lambda t: t.unfold(0, 3, 3), lambda t: t[1:]])
    def test_a_write_through_a_view_is_seen_by_the_graph(self, view: Any) -> None:
        x = on_gpu(np.arange(6.0))
        w = on_gpu(np.ones(6), requires_grad=True)
        y = (x * w).sum()
        view(x)[0] = 5
        with pytest.raises(GradError, match="changed in place"):
            y.backward()

    def test_of_values_written_to_one_place_the_last_stays(self) -> None:
        x, index = on_gpu([0.0, 0.0, 0.0]), on_gpu([1, 0, 1])
        assert x.scatter(0, index, on_gpu([1.0, 2.0, 3.0])).tolist() == [2.0, 3.0, 0.0]
        x[index] = on_gpu([4.0, 5.0, 6.0])
        assert x.tolist() == [5.0, 6.0, 0.0]

    def test_an_index_may_be_a_list_an_array_or_a_tensor_from_the_cpu(self) -> None:
        x = on_gpu([1.0, 2.0, 3.0])
        for index in ([2, 0], np.array([2, 0]), nyala.tensor([2, 0]), on_gpu([2, 0])):
            assert x[index].tolist() == [3.0, 1.0]

    @pytest.mark.parametrize("read", [
        lambda x, i: x[i], lambda x, i: x[0, i], lambda x, i: x[..., i], lambda x, i: x.index_put((i,), 1.0),
        lambda x, i: x.__setitem__(i, 1.0), lambda x, i: x.index_select(0, i), lambda x, i: F.embedding(i, x),
        lambda x, i: x.gather(1, i[:, None]),
    ])  # fmt: skip
    def test_an_index_outside_is_an_error_though_cupy_wraps_it_around(self, read: Any) -> None:
        with pytest.raises(IndexRangeError):
            read(on_gpu(np.ones((3, 3))), on_gpu([0, 3]))


class TestTwoDevices:
    def test_the_error_names_both_tensors_and_the_remedy(self, cuda: str) -> None:
        with pytest.raises(DeviceError) as caught:
            nn.Linear(3, 4).to("cuda")(nyala.ones(2, 3))
        text = str(caught.value)
        for part in ("(2, 3)", "is on cpu", "(4, 3)", f"on {cuda}", f".to('{cuda}')"):
            assert part in text, text

    @pytest.mark.parametrize("mix", [
        lambda a, b: a + b, lambda a, b: b * a, lambda a, b: a < b, lambda a, b: a @ b, lambda a, b: nyala.cat([a, b]),
        lambda a, b: nyala.where(a > 0, a, b), lambda a, b: a.maximum(b), lambda a, b: F.mse_loss(a, b),
        lambda a, b: F.cross_entropy(a, b.long()[0]), lambda a, b: F.nll_loss(a, b.long()[0]),
        lambda a, b: F.embedding(b.long() * 0, a), lambda a, b: a.gather(0, b.long() * 0), lambda a, b: nyala.isclose(a, b),
        lambda a, b: nyala.logical_and(a, b), lambda a, b: a.index_select(0, b.long()[0]), lambda a, b: F.linear(a, b),
        lambda a, b: F.batch_norm(a, b[0], b[0]), lambda a, b: F.layer_norm(a, (2,), b[0]),
        lambda a, b: F.scaled_dot_product_attention(a, a, a, attn_mask=b > 0), lambda a, b: nyala.einsum("ij,jk->ik", a, b),
        lambda a, b: F.multi_margin_loss(a, b.long()[0]), lambda a, b: F.conv1d(a[None], b[None]),
    ])  # fmt: skip
    def test_no_operation_mixes_them(self, mix: Any) -> None:
        ours, theirs = on_gpu([[1.0, 1.0], [1.0, 1.0]]), nyala.ones(2, 2)
        for a, b in ((ours, theirs), (theirs, ours)):
            with pytest.raises(DeviceError, match=r"\.to\('cuda:0'\)"):
                mix(a, b)

    def test_a_number_without_dimensions_follows_the_other(self, cuda: str) -> None:
        y = on_gpu([1.0, 2.0]) * nyala.tensor(2.0) + np.float32(1)
        assert y.device == cuda and y.tolist() == [3.0, 5.0]
        assert (nyala.tensor(2.0) - on_gpu([1.0])).tolist() == [1.0]


class TestRandomNumbers:
    @pytest.mark.parametrize("draw", [
        lambda k, xp: k.bits(10, xp), lambda k, xp: k.uniform((3, 4), xp=xp), lambda k, xp: k.uniform(5, -1, 2, np.float64, xp),
        lambda k, xp: k.integers(0, 1000, (3, 4), xp), lambda k, xp: k.integers(0, 1 << 40, 7, xp),
        lambda k, xp: k.permutation(9, xp), lambda k, xp: k.bernoulli(0.3, (5, 5), xp),
    ])  # fmt: skip
    def test_a_key_gives_the_same_bits_everywhere(self, draw: Any) -> None:
        key = random.key(7, "test", 1)
        expected, got = draw(key, np), devices.move(draw(key, devices.cupy()), "cpu")
        assert expected.dtype == got.dtype
        np.testing.assert_array_equal(got, expected)

    def test_normal_numbers_agree_to_the_last_digits(self) -> None:
        key = random.key(7, "test", 2)
        got = devices.move(key.normal((20,), np.float64, devices.cupy()), "cpu")
        np.testing.assert_allclose(got, key.normal((20,), np.float64), rtol=1e-13, atol=1e-14)

    def test_ambient_draws_are_the_same_on_both(self, cuda: str) -> None:
        for draw in (nyala.rand, nyala.randn, lambda n, device: nyala.randint(0, 50, (n,), device=device), nyala.randperm):
            nyala.manual_seed(3)
            expected = draw(20, device="cpu")
            nyala.manual_seed(3)
            got = draw(20, device="cuda")
            assert got.device == cuda
            assert_close(got, expected, 1e-6, 1e-6)

    @pytest.mark.parametrize("drop", [F.dropout, F.dropout2d, F.alpha_dropout])
    def test_dropout_draws_the_same_mask(self, drop: Any) -> None:
        x, masks = nyala.ones(4, 6, 5), []
        for device in ("cpu", "cuda"):
            nyala.manual_seed(11)
            masks.append(drop(x.to(device), 0.4, training=True).cpu())
        assert_close(masks[1], masks[0], 1e-6, 1e-6)
        assert 0 < int((masks[0] == masks[0].min()).sum()) < masks[0].numel()

    def test_multinomial_and_bernoulli(self, cuda: str) -> None:
        weights = nyala.tensor([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
        for draw in (lambda w: nyala.multinomial(w, 2), nyala.bernoulli):
            nyala.manual_seed(5)
            expected = draw(weights)
            nyala.manual_seed(5)
            got = draw(weights.cuda())
            assert got.device == cuda
            assert_close(got, expected, 0, 0)


def test_float8_is_refused_by_name() -> None:
    with pytest.raises(DtypeError, match="float8"):
        nyala.ones(2).to("float8_e4m3fn").to("cuda")
    with pytest.raises(DtypeError, match="float8"):
        nyala.ones(2).to("cuda").to("float8_e5m2")


def ctc(x: nyala.Tensor) -> nyala.Tensor:
    targets = nyala.tensor([[1, 2, 2], [3, 1, 0]], device=x.device)
    return F.ctc_loss(x.log_softmax(-1), targets, nyala.tensor([6, 5]), nyala.tensor([3, 2]), reduction="none")


CALLS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "ctc_loss": (ctc, (6, 2, 4)),
    "ctc_loss concatenated": (
        lambda x: F.ctc_loss(x.log_softmax(-1), nyala.tensor([1, 2, 2, 3, 1], device=x.device), (6, 5), (3, 2)),
        (6, 2, 4),
    ),
    "selu": (F.selu, (3, 4)),
    "celu": (F.celu, (3, 4)),
    "softsign": (F.softsign, (3, 4)),
    "tanhshrink": (F.tanhshrink, (3, 4)),
    "hardshrink": (F.hardshrink, (3, 4)),
    "softshrink": (F.softshrink, (3, 4)),
    "rrelu": (lambda x: F.rrelu(x, training=True), (3, 4)),
    "threshold": (lambda x: F.threshold(x, 0.2, -1.0), (3, 4)),
    "relu_squared": (F.relu_squared, (3, 4)),
    "gumbel_softmax": (lambda x: F.gumbel_softmax(x, hard=True) * x, (3, 4)),
    "affine_grid": (lambda x: F.affine_grid(x, [2, 1, 3, 4], align_corners=False), (2, 2, 3)),
    "prod of zeros": (lambda x: (x * (x > 0)).prod(1), (3, 4)),
    "cumprod of zeros": (lambda x: (x * (x > 0)).cumprod(1), (3, 4)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 1), (2, 3, 5, 5)),
    "lp_pool1d": (lambda x: F.lp_pool1d(x.abs() + 1, 2, 2), (2, 3, 6)),
    "median": (lambda x: x.median(), (3, 5)),
    "nonzero": (lambda x: (x > 0).nonzero(), (3, 4)),
    "unique": (lambda x: x.round().unique(return_counts=True)[1], (3, 4)),
    "bincount": (lambda x: x.abs().long().bincount(), (12,)),
    "new_full": (lambda x: x.new_ones(2) + x.new_zeros(2), (1,)),
    "type_as": (lambda x: x.float().type_as(x), (3,)),
    "meshgrid": (lambda x: nyala.meshgrid(x, x)[0], (3,)),
    "repeat_interleave": (lambda x: x.repeat_interleave(nyala.tensor([1, 0, 2], device=x.device), 0), (3, 2)),
    "normalize": (F.normalize, (3, 4)),
    "cosine_similarity": (lambda x: F.cosine_similarity(x, x.flip(0)), (3, 4)),
    "rfft": (lambda x: nyala.fft.irfft(nyala.fft.rfft(x) * 2, n=6), (2, 6)),
    "stft": (
        lambda x: nyala.view_as_real(
            nyala.stft(x, 8, 4, window=nyala.hann_window(8, dtype="float64", device=x.device), return_complex=True)
        ),
        (2, 32),
    ),
    "complex": (lambda x: ((x + 1j).conj() * 1j).imag, (3,)),
}


@pytest.mark.parametrize("name", CALLS)
def test_further_functions_compute_what_they_do_on_the_cpu(name: str, cuda: str) -> None:
    function, shape = CALLS[name]
    values = np.sin(np.arange(float(np.prod(shape))) * 1.7).reshape(shape)
    found = []
    for device in ("cpu", cuda):
        nyala.manual_seed(8)
        x = nyala.tensor(values, device=device, requires_grad=True)
        out = function(x)
        assert out.device == device
        found.append([out.detach().cpu()])
        if out.requires_grad:
            (g,) = nyala.autograd.grad((out * out.cos()).sum(), x, create_graph=True)
            found[-1].append(g.detach().cpu())
            if g.requires_grad:
                found[-1].append(nyala.autograd.grad((g * g).sum(), x)[0].cpu())
    assert len(found[0]) == len(found[1])
    assert_close(found[1], found[0], 1e-9, 1e-9)


class TestGraph:
    def test_hooks_and_kept_gradients(self, cuda: str) -> None:
        x, seen = on_gpu([1.0, 2.0], requires_grad=True), []
        x.register_hook(lambda g: g * 2)
        x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.device))
        y = x * 3
        y.retain_grad()
        y.sum().backward()
        assert x.grad.tolist() == [6.0, 6.0] and y.grad.tolist() == [1.0, 1.0] and seen == [cuda]

    def test_a_function_of_ones_own(self) -> None:
        class Cube(nyala.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: nyala.Tensor) -> nyala.Tensor:
                ctx.save_for_backward(x)
                return x**3

            @staticmethod
            def backward(ctx: Any, g: nyala.Tensor) -> nyala.Tensor:
                return g * 3 * ctx.saved_tensors[0] ** 2

        x = on_gpu([1.0, 2.0], requires_grad=True)
        Cube.apply(x).sum().backward()
        assert x.grad.tolist() == [3.0, 12.0]

    def test_anomaly_mode_looks_there_too(self) -> None:
        x = on_gpu([0.0], requires_grad=True)
        with nyala.autograd.detect_anomaly(), np.errstate(all="ignore"), pytest.raises(NumericError, match=r"(?i)sqrt"):
            (x.sqrt() * 0).sum().backward()

    def test_unused_outputs_get_zeros_there(self, cuda: str) -> None:
        x = on_gpu([[3.0, 1.0]], requires_grad=True)
        x.split(1, dim=1)[0].sum().backward()
        assert x.grad.tolist() == [[1.0, 0.0]] and x.grad.device == cuda


class TestSecondGpu:
    """Where there are two, CuPy computes on the current one alone: nyala follows the tensors."""

    @pytest.fixture(autouse=True)
    def _two(self, cuda: str) -> None:  # noqa: ARG002 - its module must be in place
        if devices.cupy().cuda.runtime.getDeviceCount() < 2:
            pytest.skip("one CUDA device")

    def test_results_and_gradients_stay_with_their_tensors(self) -> None:
        leaves = [nyala.tensor([1.0, 2.0], device=f"cuda:{n}", requires_grad=True) for n in (0, 1)]
        totals = [(x * x).sum() for x in leaves]
        (totals[0] + totals[1].to("cuda:0")).backward()
        assert [x.grad.device for x in leaves] == [x.device for x in leaves] == ["cuda:0", "cuda:1"]
        assert [copy.deepcopy(x).device for x in leaves] == ["cuda:0", "cuda:1"]
        assert [x.to("cuda:1").device for x in leaves] == ["cuda:1", "cuda:1"]

    def test_what_is_made_is_made_there(self) -> None:
        x = nyala.zeros(3, device="cuda:1")
        made = [x, nyala.rand(2, device="cuda:1"), nyala.randn_like(x), x.new_ones(2), nyala.tensor(x), nyala.full_like(x, 2.0),
                nyala.as_tensor(x.array), nyala.tensor(x.array), nyala.arange(2, device="cuda:1"), x.clone()]  # fmt: skip
        assert {t.device for t in made} == {"cuda:1"}
        assert nyala.zeros(1, device="cuda").device == "cuda:0"

    def test_the_two_do_not_mix(self) -> None:
        with pytest.raises(DeviceError, match=r"on cuda:0.*on cuda:1.*\.to\('cuda:0'\)"):
            on_gpu([1.0]) * nyala.ones(1, device="cuda:1")

"""Fourier transforms and spectrograms against sums of exponentials."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import nyala
import nyala.fft
import pytest
from nyala.core.ops import spectrogram as ops
from nyala.errors import ArgumentError, DtypeError, NumericError, ShapeError
from nyala.testing import Bad, OpCase, check_op

FACTOR = {"backward": (0.0, 1.0), "ortho": (0.5, 0.5), "forward": (1.0, 0.0), None: (0.0, 1.0)}


def fitted(x: Any, n: int | None, axis: int) -> Any:
    if n is None or n == x.shape[axis]:
        return x
    x = np.moveaxis(x, axis, -1)
    x = x[..., :n] if n < x.shape[-1] else np.concatenate([x, np.zeros((*x.shape[:-1], n - x.shape[-1]))], -1)
    return np.moveaxis(x, -1, axis)


def dft(x: Any, n: int | None = None, dim: int = -1, norm: str | None = None, sign: int = -1) -> Any:
    """The transform as a sum, O(n^2)."""
    x = np.moveaxis(fitted(x, n, dim), dim, -1)
    n = x.shape[-1]
    waves = np.exp(sign * 2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n)
    return np.moveaxis(x @ waves / n ** FACTOR[norm][sign > 0], -1, dim)


def half(x: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Any:
    whole = dft(x, n, dim, norm)
    return np.take(whole, np.arange(whole.shape[dim] // 2 + 1), dim)


def real(z: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Any:
    """The signal whose bins are z and, behind them, their conjugates."""
    n = 2 * (z.shape[dim] - 1) if n is None else n
    z = np.moveaxis(fitted(z, n // 2 + 1, dim), dim, -1).copy()
    z[..., 0] = z[..., 0].real
    if n % 2 == 0:
        z[..., -1] = z[..., -1].real
    mirrored = z[..., 1 : (n + 1) // 2][..., ::-1].conj()
    return np.moveaxis(dft(np.concatenate([z, mirrored], -1), norm=norm, sign=1).real, -1, dim)


def inverse(z: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Any:
    return dft(z, n, dim, norm, sign=1)


PRECISION: dict[str, Any] = {"dtypes": ("float32",), "rtol": 4}
TRANSFORMS = [
    OpCase(f"{name} {kwargs}", getattr(nyala.fft, name), inputs, reference, kwargs, **PRECISION)
    for name, inputs, reference in [
        ("fft", lambda s: (s.complex(2, 6),), dft),
        ("ifft", lambda s: (s.complex(2, 6),), inverse),
        ("rfft", lambda s: (s.normal(2, 6),), half),
        ("irfft", lambda s: (s.complex(2, 6),), real),
    ]
    for kwargs in [{}, {"norm": "ortho"}, {"norm": "forward"}, {"n": 9}, {"n": 5}, {"n": 8, "dim": 0}]
] + [
    OpCase("fft real", nyala.fft.fft, lambda s: (s.normal(2, 5),), dft, **PRECISION),
    OpCase("ifft real", nyala.fft.ifft, lambda s: (s.normal(2, 5),), inverse, **PRECISION),
    OpCase("rfft odd", nyala.fft.rfft, lambda s: (s.normal(2, 7),), half, **PRECISION),
    OpCase("fft2", nyala.fft.fft2, lambda s: (s.complex(2, 3, 4),), lambda z: dft(dft(z, dim=2), dim=1), **PRECISION),
    OpCase("ifft2", nyala.fft.ifft2, lambda s: (s.complex(2, 3, 4),), lambda z: inverse(inverse(z, dim=2), dim=1), **PRECISION),
    OpCase("fftshift", nyala.fft.fftshift, lambda s: (s.normal(3, 4),), np.fft.fftshift, **PRECISION),
    OpCase("ifftshift", nyala.fft.ifftshift, lambda s: (s.normal(3, 5),), np.fft.ifftshift, **PRECISION),
    OpCase(
        "rfft errors",
        nyala.fft.rfft,
        lambda s: (s.normal(4),),
        half,
        errors=[
            Bad(lambda: nyala.fft.rfft(nyala.tensor([1j])), DtypeError, "complex.*use fft"),
            Bad(lambda: nyala.fft.fft(nyala.ones(2).half()), DtypeError, "float16.*float()"),
            Bad(lambda: nyala.fft.fft(nyala.ones(2), norm="unit"), ArgumentError, "'backward', 'ortho', 'forward'"),
            Bad(lambda: nyala.fft.rfft(nyala.ones(2), n=0), ArgumentError, "length 0"),
            Bad(lambda: nyala.fft.rfft(nyala.tensor(1.0)), ShapeError, "without dimensions"),
            Bad(lambda: nyala.fft.irfft(nyala.tensor([1j])), ArgumentError, "pass n"),
        ],
        **PRECISION,
    ),
]  # fmt: skip


def pieces(x: Any, n_fft: int, hop: int, window: Any, center: str | None) -> Any:
    """(B, T) -> (B, frames, n_fft), windowed, one piece after the other."""
    if center:
        mode = {"reflect": "reflect", "constant": "constant", "replicate": "edge", "circular": "wrap"}[center]
        x = np.pad(x, ((0, 0), (n_fft // 2, n_fft // 2)), mode)
    starts = range(0, x.shape[1] - n_fft + 1, hop)
    return np.stack([x[:, s : s + n_fft] * window for s in starts], 1)


def spectrogram(x: Any, window: Any, n_fft: int, hop: int, center: str | None = "reflect", normalized: bool = False) -> Any:
    window = np.pad(window, ((n_fft - len(window)) // 2, (n_fft - len(window) + 1) // 2))
    return half(pieces(x, n_fft, hop, window, center), norm="ortho" if normalized else None).transpose(0, 2, 1)


def stft(x: Any, w: Any, n_fft: int, hop: int, center: str | None = "reflect", normalized: bool = False) -> nyala.Tensor:
    mode = center or "reflect"
    return nyala.stft(x, n_fft, hop, w.shape[0], w, center is not None, mode, normalized, return_complex=True)


SPECTROGRAMS = (
    [
        OpCase(
            f"stft {kwargs}", stft, lambda s, width=width: (s.normal(2, 23), s.positive(width)), spectrogram, kwargs, **PRECISION
        )
        for width, kwargs in [
            (8, {"n_fft": 8, "hop": 2}),
            (8, {"n_fft": 8, "hop": 3, "center": None}),
            (5, {"n_fft": 8, "hop": 3, "center": "constant"}),
            (7, {"n_fft": 7, "hop": 5, "center": "replicate"}),
            (6, {"n_fft": 6, "hop": 6, "normalized": True}),
        ]
    ]
    + [
        OpCase(
            f"power_spectrogram {kwargs}",
            lambda x, w, hop, center=True: ops.power_spectrogram(x, w, hop, center=center),
            lambda s, width=width: (s.normal(2, 47), s.positive(width)),
            lambda x, w, hop, center=True: abs(spectrogram(x, w, len(w), hop, "reflect" if center else None)) ** 2,
            kwargs,
            **PRECISION,
            errors=[
                Bad(lambda: ops.power_spectrogram(nyala.tensor([1j]), nyala.ones(1), 1), DtypeError, "complex"),
                Bad(lambda: ops.power_spectrogram(nyala.ones(9), nyala.ones(4).double(), 1), ShapeError, "float64.*float32"),
                Bad(lambda: ops.power_spectrogram(nyala.ones(3), nyala.ones(4), 1, center=False), ShapeError, "one whole piece"),
            ],
        )
        for width, kwargs in [(8, {"hop": 2}), (20, {"hop": 7, "center": False}), (24, {"hop": 5}), (7, {"hop": 3})]
    ]
    + [
        OpCase(
            "frame",
            lambda x: ops.Frame(4, 3).apply(x),
            lambda s: (s.normal(2, 12),),
            lambda x: np.stack([x[:, i : i + 4] for i in (0, 3, 6)], 1),
            **PRECISION,
        ),
        OpCase(
            "overlap_add",
            lambda x: ops.OverlapAdd(3, 12).apply(x),
            lambda s: (s.normal(2, 3, 4),),
            lambda f: sum(np.pad(f[:, i], ((0, 0), (3 * i, 8 - 3 * i))) for i in range(3)),
            **PRECISION,
        ),
        OpCase(
            "overlap_add far apart",
            lambda x: ops.OverlapAdd(5, 13).apply(x),
            lambda s: (s.normal(1, 2, 4),),
            lambda f: sum(np.pad(f[:, i], ((0, 0), (5 * i, 9 - 5 * i))) for i in range(2)),
            **PRECISION,
        ),
        OpCase(
            "istft", lambda z, w: nyala.istft(z, 8, 3, 8, w), lambda s: (s.complex(2, 5, 6), s.positive(8)), None, **PRECISION
        ),
        OpCase(
            "view_as_real",
            nyala.view_as_real,
            lambda s: (s.complex(2, 3),),
            lambda z: np.stack([z.real, z.imag], -1),
            **PRECISION,
            errors=[Bad(lambda: nyala.view_as_real(nyala.ones(2)), DtypeError, "float32")],
        ),
        OpCase(
            "view_as_complex",
            nyala.view_as_complex,
            lambda s: (s.normal(3, 2),),
            lambda x: x[:, 0] + 1j * x[:, 1],
            **PRECISION,
            errors=[Bad(lambda: nyala.view_as_complex(nyala.ones(3)), ShapeError, r"\(3,\).*pairs")],
        ),
    ]
)


@pytest.mark.parametrize("case", [*TRANSFORMS, *SPECTROGRAMS], ids=lambda case: case.name)
def test_operation(case: OpCase) -> None:
    check_op(case)


def test_single_precision_stays_single() -> None:
    x = nyala.randn(2, 16)
    assert nyala.fft.rfft(x).dtype == nyala.fft.fft(x).dtype == np.complex64
    assert nyala.fft.irfft(nyala.fft.rfft(x)).dtype == np.float32
    assert nyala.stft(x, 8, return_complex=True).dtype == np.complex64
    assert (
        nyala.istft(nyala.stft(x, 8, window=nyala.hann_window(8), return_complex=True), 8, window=nyala.hann_window(8)).dtype
        == np.float32
    )


@pytest.mark.parametrize("options", [{}, {"normalized": True}, {"onesided": False}, {"hop_length": 5, "win_length": 12}])
@pytest.mark.parametrize("length", [160, 163])
def test_istft_gives_the_signal_back(options: dict[str, Any], length: int) -> None:
    x = nyala.tensor(np.random.default_rng(0).normal(size=(2, length)))
    window = nyala.hann_window(options.get("win_length", 16), dtype="float64")
    bins = nyala.stft(x, 16, window=window, return_complex=True, **options)
    back = nyala.istft(bins, 16, window=window, length=length, **options)
    assert back.shape == x.shape
    frames = bins.shape[-1]
    covered = options.get("hop_length", 4) * (frames - 1)  # beyond the last frame's centre the padding fills the window
    np.testing.assert_allclose(back.numpy()[:, :covered], x.numpy()[:, :covered], atol=1e-12)


def test_a_vector_and_a_complex_signal() -> None:
    x = nyala.randn(40)
    one = nyala.stft(x, 8, return_complex=True)
    np.testing.assert_array_equal(one.numpy(), nyala.stft(x.unsqueeze(0), 8, return_complex=True)[0].numpy())
    assert nyala.stft(x, 8, return_complex=False).shape == (*one.shape, 2)
    both = nyala.stft(nyala.view_as_complex(nyala.randn(40, 2)), 8)
    assert both.shape == (8, one.shape[1])
    back = nyala.istft(both, 8, window=nyala.ones(8), return_complex=True)
    assert back.is_complex() and back.shape == (40,)


@pytest.mark.parametrize(("name", "formula"), [
    ("hann", lambda a: 0.5 - 0.5 * np.cos(a)),
    ("hamming", lambda a: 0.54 - 0.46 * np.cos(a)),
    ("blackman", lambda a: 0.42 - 0.5 * np.cos(a) + 0.08 * np.cos(2 * a)),
])  # fmt: skip
def test_windows(name: str, formula: Any) -> None:
    window = getattr(nyala, f"{name}_window")
    np.testing.assert_allclose(window(10, dtype="float64").numpy(), formula(2 * np.pi * np.arange(10) / 10), atol=1e-15)
    np.testing.assert_allclose(window(10, False, dtype="float64").numpy(), formula(2 * np.pi * np.arange(10) / 9), atol=1e-15)
    assert window(1).tolist() == [1.0] and window(0).shape == (0,) and window(4).dtype == np.float32


def test_frequencies() -> None:
    assert nyala.fft.fftfreq(4, 0.5).tolist() == [0.0, 0.5, -1.0, -0.5]
    assert nyala.fft.rfftfreq(5, 0.2, dtype="float64").tolist() == [0.0, 1.0, 2.0]


ERRORS = [
    (lambda: nyala.stft(nyala.ones(20), 8), ArgumentError, "return_complex=True"),
    (lambda: nyala.stft(nyala.ones(3), 8, return_complex=True), ShapeError, "3 sample.*pad_mode='constant'"),
    (lambda: nyala.stft(nyala.ones(6), 8, center=False, return_complex=True), ShapeError, "6 sample.*n_fft=8"),
    (lambda: nyala.stft(nyala.ones(1, 2, 3), 2, return_complex=True), ShapeError, r"\(T,\) or \(B, T\)"),
    (lambda: nyala.stft(nyala.ones(20), 8, win_length=9, return_complex=True), ArgumentError, "win_length=9"),
    (lambda: nyala.stft(nyala.ones(20), 8, window=nyala.ones(7), return_complex=True), ShapeError, r"window of shape \(7,\)"),
    (lambda: nyala.stft(nyala.ones(20), 8, hop_length=0, return_complex=True), ArgumentError, "hop_length=0"),
    (lambda: nyala.stft(nyala.tensor([1j] * 20), 8, onesided=True), ArgumentError, "onesided=True"),
    (lambda: nyala.istft(nyala.ones(5, 3), 8), ShapeError, "complex"),
    (lambda: nyala.istft(nyala.tensor([[1j]] * 6), 8), ShapeError, "6 bins.*n_fft=8 has 5"),
    (lambda: nyala.istft(nyala.tensor([[1j] * 4] * 5), 8, window=nyala.hann_window(8), center=False), NumericError, "no window"),
    (lambda: nyala.istft(nyala.tensor([[1j] * 4] * 5), 8, hop_length=9), ArgumentError, "hop_length=9"),
    (lambda: nyala.istft(nyala.tensor([[1j] * 4] * 5), 8, return_complex=True), ArgumentError, "onesided=False"),
    (lambda: nyala.hann_window(-1), ArgumentError, "length -1"),
]


@pytest.mark.parametrize(("call", "error", "text"), ERRORS)
def test_errors_name_what_is_wrong(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_a_tone_stands_at_its_bin() -> None:
    t = np.arange(1600) / 16000
    x = nyala.tensor(np.sin(2 * math.pi * 1000 * t), dtype="float32")
    power = nyala.stft(x, 400, 160, window=nyala.hann_window(400), return_complex=True).abs().numpy()
    assert (power[:, 1:-1].argmax(0) == 25).all()  # 1000 Hz at 40 Hz a bin

"""How loud a sound is to people: EBU R 128, that is ITU-R BS.1770-4 with EBU Tech 3341 (integrated) and 3342 (range).

Example:
    >>> import nyala
    >>> tone = nyala.sin(nyala.arange(96_000.0) * (2 * math.pi * 997 / 48_000))
    >>> round(loudness(0.1 * tone, 48_000), 1)  # a sine of -20 dB on one channel
    -23.0
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import ArgumentError, DataError, DtypeError, ShapeError, kind_of
from ...core.ops.shape import cat
from ...core.tensor import Tensor
from .filters import Section, sosfilt

Array = np.ndarray[Any, Any]
SILENT = -math.inf  # LUFS of what no gate lets through
_OFFSET, _ABSOLUTE, _RELATIVE, _RANGE_GATE = -0.691, -70.0, -10.0, -20.0  # LU and LUFS
_STEPS, _LONG = 4, 30  # tenths of a second in a momentary and in a short-term block
_SETTLED = 1.0  # seconds after which the filters have forgotten what was before, to 1e-60
_WEIGHTS = (1.0, 1.0, 1.0, 0.0, 1.41, 1.41)  # left, right, centre, low frequencies, both surrounds


def k_weighting(sample_rate: int) -> list[Section]:
    """The two sections of BS.1770: a shelf for the head, and a high-pass. At 48 kHz they are the standard's table.

    Raises:
        ArgumentError: a rate so low that the shelf lies above half of it.
    """
    if not isinstance(sample_rate, int) or sample_rate < 4_000:
        raise ArgumentError(
            f"loudness at {sample_rate} Hz", why="the weighting reaches to 2 kHz", fix="use a whole number, 4000 Hz or more"
        )
    # The analogue filters behind the standard's numbers, as libebur128 gives them
    k, q = math.tan(math.pi * 1681.974450955533 / sample_rate), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    shelf = (
        high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k,
        1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k,
    )  # fmt: skip
    k, q = math.tan(math.pi * 38.13547087602444 / sample_rate), 0.5003270373238773
    size = 1 + k / q + k * k
    # its numerator is 1 -2 1 as it stands in the standard: not divided by a0
    return [shelf, (size, -2 * size, size, size, 2 * (k * k - 1), 1 - k / q + k * k)]


class LoudnessMeter:
    """Loudness of a sound that comes in pieces; a tenth of a second is kept as one number.

    Args:
        sample_rate: in Hz, 4000 or more.
        channels: 1 to 6; of six the fourth counts for nothing, and surrounds count 1.5 dB more. One counts once: a mono sound
            that will come from two loudspeakers is 3 LU louder than it says.

    Example:
        >>> meter = LoudnessMeter(48_000, channels=2)
        >>> for _ in range(5):
        ...     meter.push(np.zeros((2, 48_000)))
        >>> meter.integrated() == SILENT
        True
    """

    def __init__(self, sample_rate: int, channels: int = 1) -> None:
        if not 1 <= channels <= len(_WEIGHTS):
            raise ArgumentError(f"loudness of {channels} channels", fix="pass 1 to 6, in the order L R C LFE Ls Rs")
        self.sample_rate, self.channels = sample_rate, channels
        self._sections = k_weighting(sample_rate)
        weights = (1.0, 1.0, 1.41, 1.41) if channels == 4 else (1.0, 1.0, 1.0, 1.41, 1.41) if channels == 5 else _WEIGHTS
        self._weights = np.array(weights[:channels])
        self._powers: list[float] = []  # weighted sums of squares of each tenth of a second
        self._taken = 0
        self._before = from_numpy(np.zeros((channels, 0)))
        self._open = np.zeros(0)  # what belongs to the tenth that is not full yet: squares, channels added

    def push(self, samples: Any) -> None:
        """More samples: (channels, T), or (T,) of one channel; an array or a tensor, about -1 to 1.

        Raises:
            DtypeError: integers.
            ShapeError: another number of channels.
            DataError: a sample that is NaN or infinite.
        """
        wave = from_numpy(checked_block("loudness", samples, self.channels, self._taken))
        self._taken += wave.shape[-1]
        if not wave.shape[-1]:
            return
        known = cat([self._before, wave], -1)
        heard = sosfilt(self._sections, known).numpy()[:, self._before.shape[-1] :]
        self._before = known[:, -math.ceil(_SETTLED * self.sample_rate) :]
        squares = np.concatenate([self._open, self._weights @ np.square(heard)])
        start = self._edge(len(self._powers))
        while (end := self._edge(len(self._powers) + 1)) - start <= len(squares):
            self._powers.append(float(squares[: end - start].sum()))
            squares, start = squares[end - start :], end
        self._open = squares

    def momentary(self) -> Array:
        """LUFS of blocks of 0.4 s, one every 0.1 s."""
        return self._lufs(self._blocks(_STEPS))

    def short_term(self) -> Array:
        """LUFS of blocks of 3 s, one every 0.1 s."""
        return self._lufs(self._blocks(_LONG))

    def integrated(self) -> float:
        """LUFS of the whole: blocks of 0.4 s that are above -70 LUFS, and no more than 10 LU below the mean of those.

        ``SILENT``, minus infinity, where there are none.

        Raises:
            DataError: less than 0.4 s.
        """
        if len(self._powers) < _STEPS:
            raise DataError(
                f"loudness of less than 0.4 s ({len(self._powers) / 10:g} s)", why="it is measured in blocks of 0.4 s",
                fix="pass a longer sound",
            )  # fmt: skip
        blocks = self._gated(self._blocks(_STEPS), _RELATIVE)
        return float(self._lufs(blocks.mean())) if len(blocks) else SILENT

    def range(self) -> float:
        """LU between the 10th and the 95th of a hundred short-term blocks, those more than 20 LU below the mean left out.

        0 where there is no block of 3 s, or only silence.
        """
        blocks = self._gated(self._blocks(_LONG), _RANGE_GATE)
        if not len(blocks):
            return 0.0
        low, high = np.percentile(self._lufs(np.sort(blocks)), [10, 95], method="nearest")
        return float(high - low)

    def _edge(self, tenth: int) -> int:
        return tenth * self.sample_rate // 10

    def _blocks(self, tenths: int) -> Array:
        count = len(self._powers) - tenths + 1
        if count < 1:
            return np.zeros(0)
        sums = np.lib.stride_tricks.sliding_window_view(np.array(self._powers), tenths).sum(1)
        edges = np.arange(len(self._powers) + 1) * self.sample_rate // 10
        return np.asarray(sums / (edges[tenths:] - edges[:count]))

    def _gated(self, blocks: Array, relative: float) -> Array:
        heard = blocks[self._lufs(blocks) > _ABSOLUTE]
        return heard[self._lufs(heard) > self._lufs(heard.mean()) + relative] if len(heard) else heard

    @staticmethod
    def _lufs(powers: Any) -> Array:
        with np.errstate(divide="ignore"):
            return np.asarray(_OFFSET + 10 * np.log10(powers))


def checked_block(what: str, samples: Any, channels: int, taken: int) -> Array:
    """Samples (channels, T) float64 of an array or a tensor, (channels, T), or (T,) of one channel.

    Args:
        what: what the caller measures.
        samples: what it was given.
        channels: how many there are to be.
        taken: samples that came before, for the place of a bad one.

    Raises:
        ArgumentError: neither an array nor a tensor.
        DtypeError: integers.
        ShapeError: another number of channels.
        DataError: a sample that is NaN or infinite.
    """
    values = samples.detach().to("cpu").numpy() if isinstance(samples, Tensor) else samples
    if not isinstance(values, np.ndarray):
        raise ArgumentError(f"{what} was given {kind_of(values)}", fix="pass samples: an array or a tensor")
    if not np.issubdtype(values.dtype, np.floating):
        raise DtypeError(f"{what} of samples of {values.dtype}", fix="for 16-bit samples: samples / 32768")
    values = values[None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != channels:
        raise ShapeError(
            f"{what}: samples of shape {values.shape}, {channels} channel(s)", fix="pass (channels, T), or (T,) of one"
        )
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        place = taken + int(bad[0, 1])
        raise DataError(f"sample {place} of channel {int(bad[0, 0])} is {values[tuple(bad[0])]}", fix="mend the sound")
    return np.ascontiguousarray(values, np.float64)


def loudness(waveform: Any, sample_rate: int) -> float:
    """Integrated loudness in LUFS; minus infinity for silence.

    Args:
        waveform: (T,) or (channels, T), about -1 to 1; an array or a tensor.
        sample_rate: in Hz.

    Raises:
        DataError: less than 0.4 s, or a sample that is not finite.
        ArgumentError, DtypeError, ShapeError: as :class:`LoudnessMeter`.
    """
    return measured([waveform], sample_rate).integrated()


def measured(blocks: Iterable[Any], sample_rate: int) -> LoudnessMeter:
    """A meter that has heard all blocks, for instance those of ``io.SoundReader``."""
    meter: LoudnessMeter | None = None
    for block in blocks:
        if meter is None:
            meter = LoudnessMeter(sample_rate, block.shape[0] if getattr(block, "ndim", 1) == 2 else 1)
        meter.push(block)
    return meter or LoudnessMeter(sample_rate)


def normalize_loudness(waveform: Tensor, sample_rate: int, target: float = -23.0, *, true_peak: float | None = None) -> Tensor:
    """The sound made louder or softer until it is as loud as ``target``, in LUFS.

    Args:
        waveform: (T,) or (channels, T).
        sample_rate: in Hz.
        target: LUFS; -23 for broadcasts (EBU R 128).
        true_peak: where peaks would go beyond this, in dBTP, the sound stays softer than ``target``; -1 for broadcasts.
            None lets peaks go beyond full scale.

    Raises:
        DataError: silence, which stays silent whatever it is multiplied by.
    """
    from .peaks import limit_gain, measured_peaks

    found = loudness(waveform, sample_rate)
    if found == SILENT:
        raise DataError("normalize_loudness of silence", why="no part is above -70 LUFS", fix="leave silent sounds out")
    made = waveform * 10 ** ((target - found) / 20)
    return made if true_peak is None else made * limit_gain(measured_peaks([made]).peak(), true_peak)

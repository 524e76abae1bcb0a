"""From samples to what models look at: sample rates, mel filters, front ends; and from sounds to sounds.

Example:
    >>> import nyala
    >>> from nyala.audio.transforms import whisper_mel
    >>> whisper_mel(nyala.zeros(2, 4800)).shape
    (2, 80, 30)
"""

from .cepstrum import inverse_mel, kaldi_mfcc, mel_spectrogram, mfcc, to_decibels
from .constant_q import cqt
from .editing import mix, sounding, trim
from .filters import lfilter, sosfilt
from .kaldi import kaldi_fbank
from .loudness import LoudnessMeter, loudness, normalize_loudness
from .peaks import PeakMeter, true_peak
from .resample import FINE, Filter, Resampler, resample
from .stretching import griffin_lim, phase_vocoder, pitch_shift, speed, time_stretch
from .whisper import whisper_mel

__all__ = [
    "FINE", "Filter", "LoudnessMeter", "PeakMeter", "Resampler", "cqt", "griffin_lim", "inverse_mel", "kaldi_fbank", "kaldi_mfcc",
    "lfilter", "loudness", "mel_spectrogram", "mfcc", "mix", "normalize_loudness", "phase_vocoder", "pitch_shift", "resample",
    "sosfilt", "sounding", "speed", "time_stretch", "to_decibels", "trim", "true_peak", "whisper_mel",
]  # fmt: skip

"""From samples to what models look at: sample rates, mel filters and front ends.

Example:
    >>> import nyala
    >>> from nyala.audio.transforms import whisper_mel
    >>> whisper_mel(nyala.zeros(2, 4800)).shape
    (2, 80, 30)
"""

from .kaldi import kaldi_fbank
from .resample import FINE, Filter, Resampler, resample
from .whisper import whisper_mel

__all__ = ["FINE", "Filter", "Resampler", "kaldi_fbank", "resample", "whisper_mel"]

"""From samples to what models look at: mel filters and front ends.

Example:
    >>> import nyala
    >>> from nyala.audio.transforms import whisper_mel
    >>> whisper_mel(nyala.zeros(2, 4800)).shape
    (2, 80, 30)
"""

from .whisper import whisper_mel as whisper_mel

__all__ = ["whisper_mel"]

"""Random changes of sounds. Every draw is made from a key of the counter-based generator: the same key, the same change."""

from .frames import spec_augment
from .waveform import add_noise, gain, room, speed, time_shift

__all__ = ["add_noise", "gain", "room", "spec_augment", "speed", "time_shift"]

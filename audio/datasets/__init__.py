"""Sound datasets: folders and manifests of recordings, telephone prompts, and the layouts that published sets lie in."""

from .files import SOUNDS
from .layouts import Layout, Recording, recognise
from .prompts import SpokenNumbers, Voices, voice_folder

__all__ = ["SOUNDS", "Layout", "Recording", "SpokenNumbers", "Voices", "recognise", "voice_folder"]

"""Sound datasets: folders and manifests of recordings, and the layouts that published sets lie in."""

from .files import SOUNDS

__all__ = ["SOUNDS"]

"""Where files come from: one module a kind of source, all with the interface of :class:`.base.Source`."""

from __future__ import annotations

from pathlib import Path

from ..cards import SourceSpec
from .base import Source


def open_source(spec: SourceSpec, cache: Path, beside: Path | None = None) -> Source:
    """The source that ``spec`` describes.

    Args:
        spec: from a card, or made up for a hub id or a folder.
        cache: nyala's cache folder.
        beside: the card's folder, for a relative ``folder``.
    """
    if spec.kind == "hub":
        from .model_hub import ModelHub

        return ModelHub(spec, cache)
    if spec.kind == "package":
        from .package import PythonPackage

        return PythonPackage(spec, cache)
    if spec.kind == "bundle":
        from .bundle import BundleFile

        return BundleFile(spec, cache, beside)
    from .folder import LocalFolder

    return LocalFolder(spec, cache, beside)


__all__ = ["Source", "open_source"]

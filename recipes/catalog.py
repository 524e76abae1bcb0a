"""Finds recipes: the built-in ones are ``.toml`` files in the domain folders beside this module."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import RecipeError, UnknownNameError, did_you_mean

ROOT = Path(__file__).parent
_DOMAINS = ("vision", "audio", "text")


def names() -> list[str]:
    """The built-in recipes by name.

    Example:
        >>> "vision/fashion-lite0" in names()
        True
    """
    return sorted(f"{domain}/{path.stem}" for domain in _DOMAINS for path in (ROOT / domain).glob("*.toml"))


def name_of(path: Path) -> str:
    """``vision/fashion-lite0`` for a built-in recipe's file, the file's stem for any other."""
    inside = path.parent.parent == ROOT and path.parent.name in _DOMAINS
    return f"{path.parent.name}/{path.stem}" if inside else path.stem


def find(source: str | Path, beside: Path | None = None) -> Path:
    """The file of a recipe.

    Args:
        source: a built-in name, or a path to a ``.toml`` file.
        beside: the folder that a relative path counts from; the current one by default.

    Raises:
        UnknownNameError: no built-in recipe has this name.
        RecipeError: a path that is not there, or is a folder.
    """
    text = str(source)
    if text in names():
        return ROOT / f"{text}.toml"
    path = ((beside or Path.cwd()) / Path(text).expanduser()).resolve()
    if path.is_file():
        return path
    if path.is_dir():
        raise RecipeError(
            f"{path} is a folder", why="a recipe is a .toml file", fix=f"give the file, or for a run: nyala resume {text}"
        )
    if text.endswith(".toml"):
        raise RecipeError(f"there is no file {path}", fix="check the path; `nyala list` shows the built-in recipes")
    known = ", ".join(names())
    raise UnknownNameError(
        f"no recipe is called {text!r}", fix=did_you_mean(text, names()) or f"built-in recipes: {known}; or give a .toml file"
    )

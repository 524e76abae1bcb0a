"""``--device``: where a command computes."""

from __future__ import annotations

import argparse

from ....core import devices


def add_device(parser: argparse.ArgumentParser) -> None:
    """The option itself."""
    parser.add_argument("--device", help="where to compute: cpu, cuda, cuda:1")


def check_device(args: argparse.Namespace) -> None:
    """The device is there: before any work, not after it.

    Raises:
        DeviceError: it is not.
    """
    if args.device is not None:
        devices.parse(args.device)


def with_device(args: argparse.Namespace) -> list[str]:
    """The overrides of a recipe, with the device among them.

    Raises:
        DeviceError: it is not there.

    Example:
        >>> with_device(argparse.Namespace(overrides=["seed=3"], device="cpu"))
        ['seed=3', 'train.device=cpu']
    """
    check_device(args)
    return [*args.overrides, *([] if args.device is None else [f"train.device={args.device}"])]

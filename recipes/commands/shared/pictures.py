"""What commands on pictures share: whether inputs may be addresses on the network."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext


def add_allow_url(parser: argparse.ArgumentParser) -> None:
    """The option ``--allow-url``."""
    parser.add_argument("--allow-url", action="store_true", help="fetch pictures that are given as http:// or https:// addresses")


def addresses(args: argparse.Namespace) -> AbstractContextManager[None]:
    """The block in which the command works: with addresses only where the user allowed them."""
    if not args.allow_url:
        return nullcontext()
    from ....vision.addresses import urls_allowed

    return urls_allowed()

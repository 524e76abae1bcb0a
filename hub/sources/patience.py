"""Trying again: how often, how long to wait, and when not to."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from ...core.errors import ArgumentError
from ..storage import logger
from . import huggingface


def deadline(patient: bool) -> float:
    """Seconds a hub may take for its first answer, name lookup included: a dead one must not keep the next source waiting.

    Raises:
        ArgumentError: ``NYALA_HUB_TIMEOUT`` is no number of seconds.
    """
    given = os.environ.get("NYALA_HUB_TIMEOUT", "")
    if not re.fullmatch(r"(\d+(\.\d+)?)?", given):
        raise ArgumentError(f"NYALA_HUB_TIMEOUT={given}", fix="set it to seconds, e.g. 10, or unset it")
    return float(given) if given else 10.0 if patient else 4.0


class Patience:
    """What is left of the readiness to try again: 1, 2, 4 and 8 seconds, longer where the server asks for it.

    Args:
        label: whose answers they are, for the log.
        patient: False where there is another source to turn to: one short wait.
    """

    def __init__(self, label: str, patient: bool) -> None:
        self.label = label
        self.longest = 60.0 if patient else 3.0
        self._all = [1.0, 2.0, 4.0, 8.0] if patient else [1.0]
        self.renew()

    def renew(self) -> None:
        """Something has arrived: be as ready as at first."""
        self._left = list(self._all)

    def wait(self, error: BaseException) -> bool:
        """Wait for the next try; False, at once, where there is to be none."""
        if not self._left or not huggingface.is_passing(error):
            return False
        wait = max(self._left.pop(0), huggingface.retry_after(error))
        if wait > self.longest:
            return False
        logger.info("%s: %s; trying again in %.0f s", self.label, huggingface.in_short(error), wait)
        time.sleep(wait)
        return True


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """Call, and give up after ``seconds``: the lookup of a host's name has no timeout of its own, and a host with several
    addresses is tried at each of them in turn.

    Raises:
        TimeoutError: no answer yet.
    """
    result: dict[str, Any] = {}

    def run() -> None:
        try:
            result["value"] = call()
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            result["error"] = error

    thread = threading.Thread(target=run, daemon=True, name="nyala-hub")
    thread.start()
    thread.join(seconds)
    if "error" in result:
        raise result["error"]
    if "value" not in result:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return result["value"]

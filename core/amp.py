"""Mixed precision under torch's names: ``nyala.amp.autocast`` and ``nyala.amp.GradScaler``.

Example:
    >>> import nyala
    >>> net = nyala.nn.Linear(4, 1)
    >>> optimizer, scaler = nyala.optim.SGD(net.parameters(), lr=0.1), nyala.amp.GradScaler("cpu")
    >>> with nyala.amp.autocast("cpu", nyala.float16):
    ...     loss = (net(nyala.ones(2, 4)) ** 2).mean()
    >>> scaler.scale(loss).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from . import devices, dtypes, kernels
from .autocast import autocast, get_autocast_dtype, is_autocast_enabled
from .errors import ArgumentError, CheckpointError, GradError
from .optim import Optimizer, checks
from .tensor import Tensor
from .tracing import again, as_one, here, unready

__all__ = ["GradScaler", "autocast", "get_autocast_dtype", "is_autocast_enabled"]

_READY, _UNSCALED, _STEPPED = "ready", "unscaled", "stepped"


class _Turn:
    """What happened to an optimizer since the last ``update``: its stage, and a flag for each device, above 0 for infinities."""

    def __init__(self) -> None:
        self.stage = _READY
        self.found: dict[str, Any] = {}
        self.recorder: Any = None  # who recorded the unscaling, if anybody did


class GradScaler:
    """Scales the loss so that small gradients do not vanish in float16, and leaves out steps whose gradients overflowed.

    torch's algorithm: the scale falls by ``backoff_factor`` after a step with an infinity or NaN among its gradients, and rises
    by ``growth_factor`` after ``growth_interval`` steps in a row without. Each optimizer is judged by its own gradients.

    Scale and flags live on the device of the loss. No method waits for a GPU where the optimizer is one of nyala's: their steps
    look at the flag there and leave themselves out. In the first steps, and for other optimizers, ``step`` reads one flag an
    optimizer, unless the optimizer says ``_step_supports_amp_scaling`` (as torch's fused ones do): then it is handed
    ``grad_scale`` and ``found_inf`` as attributes.

    Args:
        device: where the loss will be: "cuda", "cpu" or a device's name.
        init_scale: the first scale.
        growth_factor: above 1.
        backoff_factor: in (0, 1).
        growth_interval: steps without overflow before the scale rises.
        enabled: False makes every method do nothing but pass on: ``step`` is then the optimizer's.

    Raises:
        ArgumentError: a factor out of range.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        checks.number("init_scale", init_scale, above=0.0)
        checks.number("growth_factor", growth_factor, above=1.0)
        checks.number("backoff_factor", backoff_factor, above=0.0, below=1.0)
        checks.whole("growth_interval", growth_interval)
        self._device, self._enabled = str(device), bool(enabled)
        self._growth_factor, self._backoff_factor = float(growth_factor), float(backoff_factor)
        self._growth_interval = int(growth_interval)
        self._first, self._first_tracker = float(init_scale), 0
        self._scale: Any = None  # float32 () on the device, as is the count of steps without overflow
        self._tracker: Any = None
        self._turns: dict[int, tuple[Optimizer, _Turn]] = {}

    # ---- the four calls of a step

    def scale(self, outputs: Any) -> Any:
        """The loss times the scale; of a list or tuple, each."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if here.tracer is not None and isinstance(outputs.array, np.ndarray):
                here.tracer.refuse("a GradScaler keeps its scale in Python")
            self._place(outputs.array)
            return outputs * Tensor(self._on(outputs.array, self._scale).copy())  # ``update`` writes to the scale itself
        if isinstance(outputs, (list, tuple)):
            return type(outputs)([self.scale(o) for o in outputs])
        raise ArgumentError("scale() takes a tensor, or a list or tuple of tensors", fix="pass the loss")

    def _why_outside(self, optimizer: Optimizer | None = None) -> str:  # noqa: ARG002 - as unscale_
        """Why a call cannot be part of a CUDA graph; nothing where it can."""
        if self._scale is None or isinstance(self._scale, np.ndarray):
            return "a GradScaler has its scale on the CPU"
        if any(turn.stage != _READY and turn.recorder is not here.tracer for _, turn in self._turns.values()):
            return "a GradScaler has unscaled gradients before the call"
        return ""

    @as_one(inside=_why_outside)
    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of the optimizer's parameters by the scale, before they are clipped or looked at.

        ``step`` does it where it was not done.

        Raises:
            GradError: a second time since the last ``update``, or after ``step``; no gradient was ever scaled; or a gradient
                of float16, which cannot be unscaled without loss.
        """
        if not self._enabled:
            return
        turn = self._turn(optimizer)
        if turn.stage != _READY:
            what = "unscale_ a second time" if turn.stage == _UNSCALED else "unscale_ after step"
            raise GradError(f"{what} for one optimizer", why="its gradients are unscaled already", fix="call update() in between")
        found = self._unscaled(optimizer)

        def unscaled() -> None:
            turn = self._turn(optimizer)
            turn.found, turn.stage = found, _UNSCALED

        turn.recorder = here.tracer
        unscaled()
        if here.tracer is not None:
            again(unscaled, self._unchanged())

    def _why_step_outside(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> str:
        """Why a step cannot be part of a CUDA graph; nothing where it can."""
        if args or kwargs or _steps_alone(optimizer):
            return f"{type(optimizer).__name__} has a step of its own under a GradScaler"
        return self._why_outside() or optimizer._why_outside()

    @as_one(inside=_why_step_outside)
    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step()``, after unscaling, and only where all its gradients are finite.

        Returns:
            What the optimizer's ``step`` returned; None where the step was left out.

        Raises:
            GradError: a second time since the last ``update``, or there is no gradient.
            ArgumentError: with a closure, which would compute gradients that are not unscaled.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs or args:
            raise ArgumentError("GradScaler.step with a closure", fix="call backward yourself, and step without one")
        turn = self._turn(optimizer)
        if turn.stage == _STEPPED:
            raise GradError("step a second time for one optimizer", fix="call update() in between")
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            return self._own_step(optimizer, turn)
        if turn.stage == _READY:
            self.unscale_(optimizer)
        if not turn.found:
            raise GradError("step of an optimizer without gradients", fix="call scaler.scale(loss).backward() first")

        def stepped() -> None:
            self._turn(optimizer).stage = _STEPPED

        stepped()
        again(stepped)
        flags = list(turn.found.values())
        if len(flags) == 1 and not _steps_alone(optimizer) and optimizer._leaves_out():
            optimizer._step_unless(flags[0])  # which does not wait for the flag
            return None
        unready(f"the first steps of {type(optimizer).__name__} under a GradScaler look at what was found")
        return None if any(float(flag) for flag in flags) else optimizer.step()

    def _why_update_outside(self, new_scale: float | Tensor | None = None) -> str:
        """Why an update cannot be part of a CUDA graph; nothing where it can."""
        return "a GradScaler was given a scale" if new_scale is not None else self._why_outside()

    @as_one(inside=_why_update_outside)
    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adjust the scale by what the steps since the last time found, or set it.

        Raises:
            GradError: no optimizer was unscaled or stepped since.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            value = float(new_scale)
            checks.number("new_scale", value, above=0.0)
            self._set(value, int(self._tracker) if self._tracker is not None else self._first_tracker)
        else:
            flags = [flag for _, turn in self._turns.values() for flag in turn.found.values()]
            if not flags:
                raise GradError("update() before any step", fix="call scale(loss).backward() and step(optimizer) first")
            found = functools.reduce(operator.add, [self._on(self._scale, flag) for flag in flags])
            kernels.of(self._scale).update_scale(self._scale, self._tracker, found, *self._settings())
        self._turns.clear()
        if here.tracer is not None:
            again(self._turns.clear, self._unchanged())

    # ---- settings

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The scale; waits for the GPU. 1 where it is switched off."""
        if not self._enabled:
            return 1.0
        return self._first if self._scale is None else float(self._scale)

    def get_growth_factor(self) -> float:
        """What the scale is multiplied by."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Change it; above 1."""
        checks.number("growth_factor", new_factor, above=1.0)
        self._growth_factor = float(new_factor)

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by after an overflow."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Change it; in (0, 1)."""
        checks.number("backoff_factor", new_factor, above=0.0, below=1.0)
        self._backoff_factor = float(new_factor)

    def get_growth_interval(self) -> int:
        """Steps without overflow before the scale rises."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Change it."""
        checks.whole("growth_interval", new_interval)
        self._growth_interval = int(new_interval)

    def state_dict(self) -> dict[str, Any]:
        """torch's format; empty where it is switched off."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._first_tracker if self._tracker is None else int(self._tracker),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict()`` gave, here or in torch.

        Raises:
            CheckpointError: the state of a scaler that was switched off, or of something else.
        """
        if not self._enabled:
            return
        names = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")
        lacking = [name for name in names if name not in state_dict]
        if lacking:
            raise CheckpointError(
                f"this state of a GradScaler lacks {', '.join(lacking)}",
                why="it was saved by one that was switched off, or by something else",
                fix="pass what the state_dict() of an enabled GradScaler gave",
            )
        self.set_growth_factor(state_dict["growth_factor"])
        self.set_backoff_factor(state_dict["backoff_factor"])
        self.set_growth_interval(state_dict["growth_interval"])
        self._set(float(state_dict["scale"]), int(state_dict["_growth_tracker"]))

    # ---- inside

    def _settings(self) -> tuple[float, float, int]:
        return self._growth_factor, self._backoff_factor, self._growth_interval

    def _unchanged(self) -> Callable[[], str]:
        """What a graph asks before it is launched: why it does not hold any more, nothing where it does."""
        scale, settings = self._scale, self._settings()

        def why() -> str:
            if self._scale is not scale or self._settings() != settings:
                return "the scale or the factors of a GradScaler were replaced"
            if any(turn.stage != _READY for _, turn in self._turns.values()):
                return "a GradScaler has unscaled gradients before the call"
            return ""

        return why

    def _set(self, scale: float, tracker: int) -> None:
        self._first, self._first_tracker = scale, tracker
        if self._scale is not None:
            old, self._scale = self._scale, None
            self._place(old)

    def _why_place_outside(self, like: Any) -> str:  # noqa: ARG002 - as _place
        return ""

    @as_one(inside=_why_place_outside)
    def _place(self, like: Any) -> None:
        """Scale and tracker on the device of the first loss."""
        if self._scale is None:
            unready("a GradScaler puts its scale on the GPU")
            xp = devices.module_of(like)
            self._scale = xp.asarray(self._first, dtype=np.float32)
            self._tracker = xp.asarray(self._first_tracker, dtype=np.int32)

    @staticmethod
    def _on(array: Any, value: Any) -> Any:
        return devices.move(value, devices.of(array))

    def _turn(self, optimizer: Optimizer) -> _Turn:
        return self._turns.setdefault(id(optimizer), (optimizer, _Turn()))[1]

    def _needs_scale(self) -> None:
        if self._scale is None:
            raise GradError("no loss has been scaled", fix="call scaler.scale(loss).backward() first")

    def _unscaled(self, optimizer: Optimizer) -> dict[str, Any]:
        """Divides the gradients by the scale; for each device, whether one of them is not finite."""
        self._needs_scale()
        found = {}
        for device, grads in _by_device(_gradients(optimizer)).items():
            inverse = 1.0 / self._on(grads[0].array, self._scale).astype(np.float64)
            found[device] = kernels.of(grads[0].array).unscale_steps([_own(g) for g in grads], inverse.astype(np.float32))
            for g in grads:
                g._bump()
        return found

    def _own_step(self, optimizer: Optimizer, turn: _Turn) -> Any:
        """For optimizers that unscale and skip by themselves: what they need, on their device."""
        self._needs_scale()
        grads = _by_device(_gradients(optimizer, half=True))
        if len(grads) > 1:
            raise GradError("an optimizer that unscales by itself has gradients on several devices", fix="give it those of one")
        if turn.stage == _READY:
            turn.found = {
                device: kernels.of(some[0].array).unscale_steps([g.array for g in some], None) for device, some in grads.items()
            }
        own: Any = optimizer
        own.grad_scale = Tensor(self._scale) if turn.stage == _READY else None
        own.found_inf = Tensor(next(iter(turn.found.values())))
        turn.stage = _STEPPED
        try:
            return optimizer.step()
        finally:
            del own.grad_scale, own.found_inf


def _steps_alone(optimizer: Optimizer) -> bool:
    """Whether the optimizer has a ``step`` of its own, which nothing is known of."""
    own = type(optimizer).step is not Optimizer.step
    return own or getattr(optimizer, "_step_supports_amp_scaling", False)


def _gradients(optimizer: Optimizer, half: bool = False) -> Iterable[Tensor]:
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is None:
                continue
            if p.grad.dtype == dtypes.float16 and not half:
                raise GradError(
                    f"unscale_ of a float16 gradient of shape {p.grad.shape}",
                    why="what is small would vanish again",
                    fix="keep the parameters in float32 and use autocast, or keep them in bfloat16, which needs no scaler",
                )
            yield p.grad


def _by_device(grads: Iterable[Tensor]) -> dict[str, list[Tensor]]:
    found: dict[str, list[Tensor]] = {}
    for g in grads:
        found.setdefault(g.device, []).append(g)
    return found


def _own(grad: Tensor) -> Any:
    """The gradient's array, copied first where it cannot be written to."""
    if isinstance(grad.array, np.ndarray) and not grad.array.flags.writeable:
        grad.array = grad.array.copy()
    return grad.array

"""``Optimizer``: parameters in groups, a state for each, and what every update rule shares."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import devices, dtypes
from ..autograd import enable_grad, no_grad
from ..errors import ArgumentError, DtypeError, GradError, ShapeError, kind_of
from ..tensor import Handle, Tensor
from ..tracing import again, as_one, here, unready
from . import masters, saved

Group = dict[str, Any]
State = dict[str, Any]


class Optimizer:
    """Base of all optimizers: torch's parameter groups, state and ``step``.

    A subclass says what it keeps for a parameter (``_new_state``), which settings make sense (``_check_group``) and how a
    parameter is updated (``_update``).

    Args:
        params: tensors; or (name, tensor) pairs as ``model.named_parameters()`` gives; or dicts with ``params`` and the
            settings that differ from the defaults.
        defaults: the settings of groups that do not say otherwise.

    Attributes:
        param_groups: a dict a group: ``params`` and the settings; change ``group["lr"]`` at any time.
        state: parameter -> what is kept for it. Where a ``GradScaler`` steps on a GPU, asking for it waits for the GPU.

    Raises:
        ArgumentError: no parameters, one given twice, one that is no leaf, or a setting out of range.
        DtypeError: a parameter that is not of a floating dtype.

    Example:
        >>> import nyala
        >>> w = nyala.nn.Parameter(nyala.ones(2))
        >>> optimizer = nyala.optim.SGD([w], lr=0.5)
        >>> w.sum().backward()
        >>> optimizer.step()
        >>> w.detach()
        tensor([0.5000, 0.5000])
    """

    # Whether a step can be part of a CUDA graph and leave itself out there: subclasses whose ``_update_all`` takes it so say so.
    _in_graphs: ClassVar[bool] = False
    # Settings that such a step has built in: another one needs another graph.
    _BUILT_IN: ClassVar[tuple[str, ...]] = ("maximize", "master_weights")
    # Settings that older or foreign checkpoints carry and nyala's optimizers do not have.
    _FOREIGN: ClassVar[frozenset[str]] = frozenset({"foreach", "capturable", "differentiable", "fused"})

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        self.defaults = dict(defaults)
        self._states: defaultdict[Tensor, State] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._rounded: dict[int, tuple[int, int]] = {}  # half-precision parameters as their masters left them
        self._steps = 0  # what schedules look at to notice a wrong order of calls
        self._pre_hooks: list[Callable[..., Any]] = []
        self._post_hooks: list[Callable[..., Any]] = []
        for group in self._groups_of(params):
            self.add_param_group(group)

    @property
    def state(self) -> defaultdict[Tensor, State]:
        """Parameter -> what is kept for it."""
        self._settle()
        return self._states

    def _groups_of(self, params: Iterable[Any]) -> list[Group]:
        name = type(self).__name__
        if isinstance(params, Tensor):
            raise ArgumentError(f"{name} was given one tensor", why="it takes many", fix="put it in a list")
        if not isinstance(params, Iterable):
            fix = "pass its .parameters()" if hasattr(params, "parameters") else "pass a list of parameters"
            raise ArgumentError(f"{name} was given {kind_of(params)}, not parameters", fix=fix)
        given = list(params)
        if not given:
            raise ArgumentError(
                f"{name} was given no parameters", fix="pass model.parameters(); a generator gives them only once"
            )
        return [dict(g) for g in given] if isinstance(given[0], dict) else [{"params": given}]

    # ---- groups

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with settings of their own, as when a frozen layer joins the training.

        Args:
            param_group: ``params`` and the settings that differ from the defaults.

        Raises:
            ArgumentError, DtypeError: as for the class.
        """
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise ArgumentError(
                f"a parameter group must be a dict with 'params', not {param_group!r}",
                fix="write {'params': parameters, 'lr': 0.1}",
            )
        group = {**param_group, **_parameters(param_group["params"])}
        group = {**group, **{k: v for k, v in self.defaults.items() if k not in group}}
        place = f"{type(self).__name__}, parameter group {len(self.param_groups)}"
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for number, p in enumerate(group["params"]):
            self._check_parameter(p, f"{place}, {_label(group, number)}")
            if id(p) in known:
                raise ArgumentError(
                    f"{place}, {_label(group, number)} of shape {p.shape} is given twice",
                    why="it would be updated twice in a step",
                    fix="name each parameter in one group, once",
                )
            known.add(id(p))
        self._check_group(group)
        self.param_groups.append(group)

    def _check_parameter(self, p: Any, place: str) -> None:
        if not isinstance(p, Tensor):
            raise ArgumentError(
                f"{place} is {type(p).__name__}", why="only tensors can be optimized", fix="pass model.parameters()"
            )
        if p.grad_fn is not None:
            raise ArgumentError(
                f"{place} is a result of {p.grad_fn.name}",
                why="only leaves of the graph keep a gradient",
                fix="optimize the parameters it was computed from, or x.detach().requires_grad_()",
            )
        if not dtypes.is_floating_point(p.dtype):
            raise DtypeError(
                f"{place} is of {p.dtype}",
                why="only floating point can be optimized",
                fix="convert it with .float(), or leave it out",
            )

    # ---- what a subclass says

    def _check_group(self, group: Group) -> None:
        """Raise where a setting makes no sense."""

    def _new_state(self, p: Tensor, group: Group) -> State:
        """What is kept for ``p`` before its first step."""
        raise NotImplementedError

    def _update(self, p: Tensor, grad: Any, group: Group) -> None:
        """Write the next value into ``p.array``; ``grad`` is an array."""
        raise NotImplementedError

    def _update_all(self, params: Sequence[Tensor], group: Group, found: Any) -> None:  # noqa: ARG002 - see _in_graphs
        """``_update`` for each of a group's parameters, all of which have a gradient; better in one go where a kernel can.

        Where ``_in_graphs`` is set: ``found`` may be an array on the GPU, above 0 where the step is to be left out; what is
        counted goes through ``again``, and numbers that kernels need through ``held``.
        """
        for p in params:
            self._update(p, p.grad.array, group)  # type: ignore[union-attr]  # see above

    def _begin(self, found: Any) -> None:
        """Called once a step, when all gradients are known to fit; ``found`` is as in ``_update_all``."""

    def _end(self, found: Any) -> None:
        """Called once a step, when everything has been updated."""

    def _settle(self) -> None:
        """Make the state say what has happened, where that is known on the GPU alone."""

    def _unchanged(self) -> Callable[[], str]:
        """What a graph of this step asks before it is launched: why it does not hold any more, nothing where it does."""
        groups = [(g, list(g["params"]), self._built_in(g)) for g in self.param_groups]
        states = [
            (p, state, [(k, v, v.array) for k, v in state.items() if isinstance(v, Tensor)]) for p, state in self._states.items()
        ]

        def why() -> str:
            name = type(self).__name__
            if self._pre_hooks or self._post_hooks:
                return f"{name} has a hook now"
            if len(groups) != len(self.param_groups) or any(
                g is not mine or len(params) != len(g["params"]) or any(map(operator.is_not, params, g["params"]))
                for (g, params, _), mine in zip(groups, self.param_groups, strict=True)
            ):
                return f"the parameters of {name} have changed"
            if any(self._built_in(g) != built_in for g, _, built_in in groups):
                return f"a setting of {name} has changed that its kernels have built in ({', '.join(self._BUILT_IN)})"
            if any(
                self._states.get(p) is not state or any(state.get(k) is not v or v.array is not a for k, v, a in tensors)
                for p, state, tensors in states
            ):
                return f"the state of {name} was replaced"
            return ""

        return why

    def _built_in(self, group: Group) -> tuple[Any, ...]:
        return tuple([bool(group[name]) for name in self._BUILT_IN])

    def _fresh_state(self, p: Tensor, group: Group) -> State:
        """``_new_state``, with the master that a half-precision parameter has."""
        if not masters.has_master(p, group):
            return self._new_state(p, group)
        master = masters.new(p)
        return {**self._new_state(master, group), masters.KEY: Tensor(master.array)}

    def _state_of(self, p: Tensor, group: Group) -> State:
        state = self._states[masters.owner_of(p)]
        if not state:
            unready(f"{type(self).__name__} makes the state of a parameter")
            state.update(self._new_state(p, group))
            if isinstance(p, masters.Master):
                state[masters.KEY] = Tensor(p.array)
        for value in state.values():
            if isinstance(value, Tensor) and type(value.array) is not type(p.array):  # the model was moved since
                value.array = devices.move(value.array, p.device)
        return state

    # ---- stepping

    def _why_outside(self, closure: Callable[[], Any] | None = None) -> str:
        """Why a step cannot be part of a CUDA graph; nothing where it can."""
        name = type(self).__name__
        if closure is not None:
            return f"{name}.step was given a closure"
        if self._pre_hooks or self._post_hooks:
            return f"{name} has hooks"
        if not self._in_graphs:
            return f"{name} is stepped by the host"
        if any(type(p.array) is np.ndarray for group in self.param_groups for p in group["params"]):
            return f"{name} has parameters on the CPU"
        return ""

    @as_one(inside=_why_outside)
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients anew, with gradients on; its result is returned.

        Raises:
            ShapeError: a gradient of another shape than its parameter; nothing is updated then.
            DeviceError: a gradient on another device.
            GradError: a parameter on memory that must not be written.
        """
        for hook in self._pre_hooks:
            hook(self)
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._step_unless(None)
        for hook in self._post_hooks:
            hook(self)
        return loss

    def _leaves_out(self) -> bool:
        """Whether ``_step_unless`` takes a flag: there are states for all that is to be updated, and it lies on a GPU."""
        stepping = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        return not self._why_outside() and all(self._states.get(p) for p in stepping)

    def _step_unless(self, found: Any) -> None:
        """A step; ``found`` is None, or an array on the GPU that is above 0 where the step is to be left out."""
        with no_grad():
            self._check_gradients()
            self._begin(found)
            for group in self.param_groups:
                kinds: dict[type, list[Tensor]] = {}  # kernels take NumPy's or CuPy's arrays
                for p in group["params"]:
                    if p.grad is not None:
                        kinds.setdefault(type(p.array), []).append(p)
                for params in kinds.values():
                    self._step_of(params, group, found)
            self._end(found)
        self._count_step()
        if here.tracer is not None and self._in_graphs:
            again(self._count_step, self._unchanged())

    def _count_step(self) -> None:
        self._steps += 1

    def _step_of(self, params: Sequence[Tensor], group: Group, found: Any) -> None:
        """Updates parameters of one device, those in half precision through their masters where the group asks for it."""
        work = [masters.begin(self, p) if masters.has_master(p, group) else p for p in params]
        self._update_all(work, group, found)

        def written() -> None:
            for p in work:
                if isinstance(p, masters.Master):
                    masters.rounded(self, p)
                else:
                    p._bump()

        for p in work:
            if isinstance(p, masters.Master):
                masters.end(p)
        written()
        again(written)

    def _check_gradients(self) -> None:
        for index, group in enumerate(self.param_groups):
            for number, p in enumerate(group["params"]):
                if p.grad is None:
                    continue
                array, grad = p.array, p.grad.array
                if type(grad) is type(array) is np.ndarray and grad.shape == array.shape and array.flags.writeable:
                    continue
                place = f"{type(self).__name__}, parameter group {index}, {_label(group, number)}"
                if type(grad) is not type(array):
                    devices.check_same(place, gradient=p.grad, parameter=p)
                if grad.shape != array.shape:
                    raise ShapeError(
                        f"{place}: the gradient has shape {grad.shape}, the parameter {array.shape}",
                        fix="set p.grad to a tensor of the parameter's shape",
                    )
                if isinstance(array, np.ndarray) and not array.flags.writeable:
                    raise GradError(f"{place} lies on read-only memory", fix="make the parameter from a copy of the array")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or with ``set_to_none=False`` fill them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = Tensor(devices.module_of(p.array).zeros_like(p.grad.array))

    def register_step_pre_hook(self, hook: Callable[[Optimizer], Any]) -> Handle:
        """Call ``hook(optimizer)`` before each step."""
        self._pre_hooks.append(hook)
        return Handle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[[Optimizer], Any]) -> Handle:
        """Call ``hook(optimizer)`` after each step."""
        self._post_hooks.append(hook)
        return Handle(self._post_hooks, hook)

    # ---- saving

    def state_dict(self) -> dict[str, Any]:
        """torch's format: ``state`` by the parameter's number, and ``param_groups`` with numbers in place of parameters.

        Tensors are those of the optimizer itself, not copies; ``step`` is a plain number.
        """
        return saved.pack(self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict()`` gave, here or in torch, settings included. Values are copied.

        Raises:
            CheckpointError: other groups, other parameters, or state of another optimizer; nothing is changed then.
        """
        saved.unpack(self, state_dict)
        self._rounded.clear()

    def named_state(self, named_parameters: Iterable[tuple[str, Tensor]] | None = None) -> dict[str, Any]:
        """The state as flat arrays on the CPU, ``"{parameter}.{key}"`` -> array, ready for ``nyala.checkpoint.save_file``.

        Args:
            named_parameters: as ``model.named_parameters()``; without it the names that the optimizer was made with, or
                the parameters' numbers.

        Example:
            >>> import nyala
            >>> net = nyala.nn.Linear(2, 1)
            >>> optimizer = nyala.optim.Adam(net.parameters())
            >>> net(nyala.ones(1, 2)).sum().backward()
            >>> optimizer.step()
            >>> sorted(optimizer.named_state(net.named_parameters()))[:3]
            ['bias.exp_avg', 'bias.exp_avg_sq', 'bias.step']
        """
        return saved.flatten(self, named_parameters)

    def load_named_state(self, arrays: Mapping[str, Any], named_parameters: Iterable[tuple[str, Tensor]] | None = None) -> None:
        """Take over what ``named_state`` gave. Settings (``lr`` and so on) are not part of it.

        Raises:
            CheckpointError: names or shapes that do not fit; nothing is changed then.
        """
        saved.restore(self, arrays, named_parameters)
        self._rounded.clear()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number} ({len(group['params'])} parameters)")
            lines += [f"    {k}: {v}" for k, v in sorted(group.items()) if k not in ("params", "param_names")]
        return "\n".join([*lines, ")"])


def zeros_for(p: Tensor) -> Tensor:
    """State of the parameter's shape and memory order: float32, or float64 for float64 parameters."""
    xp = devices.module_of(p.array)
    return Tensor(xp.zeros_like(p.array, dtype=state_dtype(p)))


def state_dtype(p: Tensor) -> np.dtype[Any]:
    """In which dtype the state of ``p`` is kept."""
    return p.dtype if p.dtype.itemsize > 4 else dtypes.float32


def _parameters(params: Any) -> Group:
    """``params`` as a list of tensors, with ``param_names`` where pairs were given."""
    if isinstance(params, (set, frozenset)):
        raise ArgumentError("the parameters are in a set", why="its order changes from run to run", fix="use a list")
    given = [params] if isinstance(params, Tensor) else list(params)
    pairs = [item for item in given if isinstance(item, tuple)]
    if not pairs:
        return {"params": given}
    if len(pairs) < len(given):
        raise ArgumentError("some parameters come with a name and some without", fix="name all or none")
    return {"params": [p for _, p in pairs], "param_names": [str(name) for name, _ in pairs]}


def _label(group: Group, number: int) -> str:
    names = group.get("param_names")
    return f"parameter {names[number]!r}" if names else f"parameter {number}"

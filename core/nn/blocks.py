"""The transformer blocks that every domain builds from: attention, feed-forward network, and the two with their residuals.

Published checkpoints give the same layers different names and put them at different depths. So an architecture says, in one
mapping, where each layer lives: ``{"q": "attention.self.query", "out": "attention.output.dense"}``. The layers are registered
under those paths in the block itself, and found by them in the forward pass: replacing one by its path, as adapters do, works.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import ArgumentError, ShapeError, did_you_mean
from ..ops.attention import attend, join_heads, split_heads
from ..tensor import Tensor
from .activation import activation, gated
from .dropout import Dropout, DropPath
from .gated_step import take_step
from .layer_scale import LayerScale
from .linear import Linear
from .module import Module
from .norm import LayerNorm
from .positions import KVCache, Position, placed
from .residual import add_damped, add_dropped, add_normed

ATTENTION_NAMES = {
    **{role: role for role in ("q", "k", "v", "qkv", "q_norm", "k_norm", "attn_drop")},
    "out": "proj",
}
MLP_NAMES = {"fc1": "fc1", "gate": "gate", "fc2": "fc2", "mlp_drop": "drop"}
BLOCK_NAMES = {
    **{role: f"attn.{name}" for role, name in ATTENTION_NAMES.items()},
    **{f"cross_{role}": f"cross_attn.{name}" for role, name in ATTENTION_NAMES.items()},
    **{role: f"mlp.{name}" for role, name in MLP_NAMES.items()},
    **{role: role for role in ("norm1", "norm_cross", "norm2", "drop1", "drop_cross", "drop2", "ls1", "ls2")},
    **{role: role for role in ("drop_path1", "drop_path2", "post_norm1", "post_norm2")},
}


def _named(defaults: Mapping[str, str], names: Mapping[str, str] | None) -> dict[str, str]:
    for role in names or {}:
        if role not in defaults:
            raise ArgumentError(
                f"no layer has the role {role!r}", fix=did_you_mean(role, defaults) or f"roles: {', '.join(defaults)}"
            )
    return {**defaults, **(names or {})}


def place(owner: Module, path: str, module: Module) -> None:
    """Register ``module`` in ``owner`` under a dotted path; plain modules are made for what lies between."""
    *parents, name = path.split(".")
    for parent in parents:
        if parent not in owner._modules:
            owner.add_module(parent, Module())
        owner = owner.get_submodule(parent)
    owner.add_module(name, module)


class _Part:
    """Layers that live in an owner, each under the path of its role."""

    def __init__(self, owner: Module, names: Mapping[str, str], layers: Mapping[str, Module]) -> None:
        for role, layer in layers.items():
            place(owner, names[role], layer)
        self._paths = {role: names[role].split(".") for role in layers}

    def __contains__(self, role: str) -> bool:
        return role in self._paths

    @property
    def roles(self) -> tuple[str, ...]:
        """Of the layers."""
        return tuple(self._paths)

    def layer(self, owner: Module, role: str) -> Any:
        """The layer of that role now: it may have been replaced."""
        found: Any = owner
        for name in self._paths[role]:
            found = found._modules[name]
        return found


class _AttentionPart(_Part):
    """Projections and attention; see ``Attention``."""

    def __init__(
        self, owner: Module, dim: int, num_heads: int, names: Mapping[str, str], num_kv_heads: int | None = None,
        head_dim: int | None = None, kv_dim: int | None = None, bias: bool | Mapping[str, bool] = True,
        fused: bool | str = False, dropout: float = 0.0, position: Position | None = None, is_causal: bool = False,
        scale: float | None = None, qk_norm: Callable[[int], Module] | None = None, window: int | None = None,
    ) -> None:  # fmt: skip
        self.heads, self.kv_heads = num_heads, num_heads if num_kv_heads is None else num_kv_heads
        if head_dim is None and dim % num_heads:
            raise ArgumentError(f"attention of width {dim} with {num_heads} heads", fix="choose a divisor, or give head_dim")
        if num_heads % self.kv_heads:
            raise ArgumentError(f"{num_heads} heads share {self.kv_heads} of keys and values", fix="choose a divisor")
        if fused and kv_dim not in (None, dim):
            raise ArgumentError(f"fused projections of inputs {dim} and {kv_dim} wide", fix="pass fused=False")
        if fused == "heads" and self.kv_heads != num_heads:
            raise ArgumentError("fused='heads' with shared keys and values", fix="give num_kv_heads=num_heads, or fused=True")
        if window is not None and window < 1:
            raise ArgumentError(f"attention with window={window}", fix="let each place see itself at least")
        self.head_dim = dim // num_heads if head_dim is None else head_dim
        self.window = window
        self.position, self.is_causal, self.scale, self.fused = position, is_causal, scale, fused
        biases = {role: bias if isinstance(bias, bool) else bias.get(role, True) for role in ("q", "k", "v", "qkv", "out")}
        inner, shared, source = self.heads * self.head_dim, self.kv_heads * self.head_dim, dim if kv_dim is None else kv_dim
        self.widths = (inner, shared, shared)
        if fused:
            layers: dict[str, Module] = {"qkv": Linear(dim, inner + 2 * shared, bias=biases["qkv"])}
        else:
            layers = {"q": Linear(dim, inner, bias=biases["q"])}
            layers |= {role: Linear(source, shared, bias=biases[role]) for role in ("k", "v")}
        if qk_norm is not None:
            layers |= {role: qk_norm(self.head_dim) for role in ("q_norm", "k_norm")}
        super().__init__(owner, names, {**layers, "out": Linear(inner, dim, bias=biases["out"]), "attn_drop": Dropout(dropout)})

    def __call__(
        self, owner: Module, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, cache: KVCache | None = None
    ) -> Tensor:
        if context is not None and cache is not None and cache.keys is not None and cache.values is not None:
            q, k, v = self._heads(owner, "q", x), cache.keys, cache.values  # the context's, from before
        else:
            q, k, v = self._project(owner, x, context)
            q, k, v = placed(self.position, q, k, v, cache)
        causal = self.is_causal and context is None
        place = None if cache is None else cache.place
        if self.window is not None:
            if place is not None:
                raise ArgumentError("a window cannot be captured behind a KVCache", fix="use nn.SlidingKVCache(window)")
            k, v, mask = _windowed(k, v, mask, q.shape[2], self.window, causal)
        # queries are the last of the steps whose keys there are: a cache may have let the first ones go
        first = place if place is not None else k.shape[2] - q.shape[2] if causal else None
        drop = self.layer(owner, "attn_drop")
        y = attend(q, k, v, mask, first, self.scale, self.kv_heads != self.heads, drop.p if drop.training else 0.0)
        return self.layer(owner, "out")(join_heads(y))

    def _project(self, owner: Module, x: Tensor, context: Tensor | None) -> tuple[Tensor, ...]:
        """Queries, keys and values, (N, heads, T, D)."""
        if not self.fused:
            source = x if context is None else context
            return tuple(self._heads(owner, role, given) for role, given in (("q", x), ("k", source), ("v", source)))
        if context is not None:
            raise ArgumentError("attention to a context with fused projections", fix="build it with fused=False")
        together = self.layer(owner, "qkv")(x)
        if self.fused == "heads":  # each head's query, key and value side by side
            parts = split_heads(together, 3 * self.head_dim).split(self.head_dim, -1)
        else:
            parts = tuple(split_heads(p, self.head_dim) for p in together.split(self.widths, -1))
        return tuple(self._normed(owner, role, p) for role, p in zip("qkv", parts, strict=True))

    def _heads(self, owner: Module, role: str, x: Tensor) -> Tensor:
        return self._normed(owner, role, split_heads(self.layer(owner, role)(x), self.head_dim))

    def _normed(self, owner: Module, role: str, x: Tensor) -> Tensor:
        return self.layer(owner, f"{role}_norm")(x) if f"{role}_norm" in self else x


def _windowed(
    k: Tensor, v: Tensor, mask: Tensor | None, steps: int, window: int, causal: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys, values and mask for queries, the last ``steps`` places, that see places less than ``window`` away.

    What lies out of sight of all of them is left out, so that a new token reads no more than the window.
    """
    if causal and (out := k.shape[2] - (window + steps - 1)) > 0:
        k, v = k[:, :, out:], v[:, :, out:]
    length = k.shape[2]
    if mask is not None and mask.shape[-1] > length:
        mask = mask[..., -length:]
    if length <= window or (steps == 1 and causal):
        return k, v, mask
    xp = k._module
    far = xp.arange(length - steps, length)[:, None] - xp.arange(length)
    near = k._like((far < window) & (far > -window))
    if mask is None:
        return k, v, near
    return k, v, mask & near if mask.dtype.kind == "b" else mask.masked_fill(~near, -math.inf)


class Attention(Module):
    """Queries, keys and values, attention between them, and the way back to the width of the stream.

    Args:
        dim: width of the stream.
        num_heads: heads of the queries.
        num_kv_heads: heads of keys and values, each shared by several of the queries (Ainslie et al., arXiv:2305.13245).
        head_dim: width of a head, ``dim / num_heads`` unless given.
        kv_dim: width of the context where it is not ``dim``.
        bias: whether the projections have biases, for all or by role ("q", "k", "v", "qkv", "out").
        fused: one layer "qkv" in place of three; its rows are all queries, all keys, all values, or with "heads" (GPT-NeoX)
            query, key and value of the first head, of the second, ...
        dropout: of the attention weights.
        position: turns queries and keys by their positions, e.g. ``Rotary``; None for none.
        is_causal: each place sees itself and what came before.
        scale: of the scores, 1 / sqrt(head_dim) unless given.
        qk_norm: makes norms of each head's queries and keys from its width (Henry et al., arXiv:2010.04245); None for none.
        window: each place sees those less than so many away (Beltagy et al., arXiv:2004.05150); None for all.
        names: paths of the layers, by role: "q", "k", "v" or "qkv", "out", "q_norm", "k_norm", "attn_drop".

    ``forward(x, context=None, mask=None, cache=None)``: (N, T, dim) -> (N, T, dim). ``context`` (N, S, kv_dim) gives keys and
    values. A bool mask that broadcasts to (N, heads, T, S) is True where to look; a float one is added to the scores, which is
    also how position biases get in. A ``cache`` holds the steps before ``x``; with a ``context``, the context's keys and values,
    which are then computed once.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> layer = nn.Attention(8, 4, num_kv_heads=2, position=nn.Rotary(2), names={"out": "o_proj"})
        >>> layer(nyala.randn(2, 5, 8)).shape, sorted(n for n, _ in layer.named_children())
        ((2, 5, 8), ['attn_drop', 'k', 'o_proj', 'q', 'v'])
    """

    def __init__(self, dim: int, num_heads: int, *, names: Mapping[str, str] | None = None, **settings: Any) -> None:
        super().__init__()
        self.dim = dim
        self.part = _AttentionPart(self, dim, num_heads, _named(ATTENTION_NAMES, names), **settings)

    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, cache: KVCache | None = None
    ) -> Tensor:
        _check_stream(x, self.dim)
        return self.part(self, x, context, mask, cache)


class _MLPPart(_Part):
    """The feed-forward network; see ``MLP``."""

    def __init__(
        self, owner: Module, dim: int, hidden_dim: int, names: Mapping[str, str], act: Any = "gelu", gated: bool = False,
        bias: bool = True, dropout: float = 0.0, out_dim: int | None = None, fused: bool = False,
    ) -> None:  # fmt: skip
        if fused and not gated:
            raise ArgumentError("MLP with fused=True and no gate", fix="pass gated=True too")
        self.act, self.gated, self.fused = activation(act), gated, fused
        layers: dict[str, Module] = {"fc1": Linear(dim, 2 * hidden_dim if fused else hidden_dim, bias=bias)}
        if gated and not fused:
            layers["gate"] = Linear(dim, hidden_dim, bias=bias)
        layers["fc2"] = Linear(hidden_dim, dim if out_dim is None else out_dim, bias=bias)
        super().__init__(owner, names, {**layers, "mlp_drop": Dropout(dropout)})

    def __call__(self, owner: Module, x: Tensor) -> Tensor:
        inner = self.layer(owner, "fc1")(x)
        if self.fused:
            gate, inner = inner.chunk(2, -1)
            inner = gated(self.act, gate, inner)
        else:
            inner = gated(self.act, self.layer(owner, "gate")(x), inner) if self.gated else self.act(inner)
        return self.layer(owner, "fc2")(self.layer(owner, "mlp_drop")(inner))


class MLP(Module):
    """fc2(act(fc1(x))), or gated: fc2(act(gate(x)) * fc1(x)) (Shazeer, arXiv:2002.05202).

    Args:
        dim: width of the input, and of the result unless ``out_dim`` is given.
        hidden_dim: width between.
        act: a function, or the name a config gives it ("gelu", "gelu_new", "quick_gelu", "silu", "relu").
        gated: whether a second layer opens and closes the first.
        fused: whether both of these are one layer "fc1", the gate's rows before the others.
        bias: whether the layers have biases.
        dropout: before fc2.
        names: paths of the layers, by role: "fc1", "gate", "fc2", "mlp_drop".

    Example:
        >>> import nyala
        >>> MLP(8, 32, act="silu", gated=True, bias=False)(nyala.ones(2, 5, 8)).shape
        (2, 5, 8)
    """

    def __init__(self, dim: int, hidden_dim: int, *, names: Mapping[str, str] | None = None, **settings: Any) -> None:
        super().__init__()
        self.part = _MLPPart(self, dim, hidden_dim, _named(MLP_NAMES, names), **settings)

    def forward(self, x: Tensor) -> Tensor:
        return self.part(self, x)


class TransformerBlock(Module):
    """Attention and feed-forward network, each with a residual, a norm, and what regularises it.

    Args:
        dim: width of the stream.
        num_heads: heads.
        hidden_dim: width inside the feed-forward network.
        norm_first: norms before the parts (ViT, GPT, Llama) rather than behind the residuals (BERT).
        norm: makes a norm from a width, e.g. ``lambda dim: nn.RMSNorm(dim, 1e-6)``.
        dropout: of each part's result.
        drop_path: of whole residuals.
        layer_scale: where each part's learnt scale starts; None for none.
        sandwich: whether each part's result is normalised once more before it is added (Gemma).
        parallel: both parts see the block's input, and their results are added at once (GPT-J, GPT-NeoX).
        cross: whether there is attention to a context between the two, or its settings.
        attention, mlp: further settings of ``Attention`` and ``MLP``.
        names: paths of the layers, by role: those of ``Attention`` (with "cross_" before them for the second one) and ``MLP``,
            "norm1", "norm_cross", "norm2", "drop1", "drop_cross", "drop2", "drop_path1", "drop_path2", "ls1", "ls2",
            "post_norm1", "post_norm2".

    ``forward(x, context=None, mask=None, context_mask=None, cache=None, context_cache=None)``: (N, T, dim) -> (N, T, dim); masks
    and caches as in ``Attention``.

    Example:
        >>> import nyala
        >>> block = TransformerBlock(8, 2, 16, norm_first=False, names={"q": "attention.self.query", "fc1": "intermediate.dense"})
        >>> block(nyala.randn(2, 5, 8)).shape, block.get_parameter("intermediate.dense.weight").shape
        ((2, 5, 8), (16, 8))
    """

    def __init__(
        self, dim: int, num_heads: int, hidden_dim: int, *, norm_first: bool = True, norm: Callable[[int], Module] = LayerNorm,
        dropout: float = 0.0, drop_path: float = 0.0, layer_scale: float | None = None, sandwich: bool = False,
        parallel: bool = False, cross: bool | Mapping[str, Any] = False,
        attention: Mapping[str, Any] | None = None, mlp: Mapping[str, Any] | None = None, names: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if parallel and (cross is not False or not norm_first):
            raise ArgumentError(
                "a parallel block with cross or norm_first=False", fix="parallel=True has norms first, and no more"
            )
        self.dim, self.norm_first, self.cross, self.parallel = dim, norm_first, cross is not False, parallel
        paths = _named(BLOCK_NAMES, names)
        self.attn_part = _AttentionPart(self, dim, num_heads, paths, **(attention or {}))
        layers: dict[str, Module] = {"norm1": norm(dim), "drop1": Dropout(dropout)}
        if self.cross:
            own = {role: paths[f"cross_{role}"] for role in ATTENTION_NAMES}
            self.cross_part = _AttentionPart(self, dim, num_heads, own, **(cross if isinstance(cross, Mapping) else {}))
            layers |= {"norm_cross": norm(dim), "drop_cross": Dropout(dropout)}
        self.mlp_part = _MLPPart(self, dim, hidden_dim, paths, **(mlp or {}))
        layers |= {"norm2": norm(dim), "drop2": Dropout(dropout)}
        if layer_scale is not None:
            layers |= {"ls1": LayerScale(dim, layer_scale), "ls2": LayerScale(dim, layer_scale)}
        if sandwich:
            layers |= {"post_norm1": norm(dim), "post_norm2": norm(dim)}
        if drop_path:
            layers |= {"drop_path1": DropPath(drop_path), "drop_path2": DropPath(drop_path)}
        self.layers_part = _Part(self, paths, layers)

    def _layer(self, role: str) -> Any:
        return self.layers_part.layer(self, role)

    def _through(self, x: Tensor, stages: Sequence[tuple[str, Callable[[Tensor], Tensor]]]) -> Tensor:
        """Each stage's result added to the stream, with the norm before it, or behind the sum."""
        if not self.norm_first:
            for n, compute in stages:
                x = self._added_normed(x, n, compute(x), self._layer(f"norm{n}"))[1]
            return x
        normed = self._layer(f"norm{stages[0][0]}")(x)
        for (n, compute), (following, _) in itertools.pairwise(stages):
            x, normed = self._added_normed(x, n, compute(normed), self._layer(f"norm{following}"))
        n, compute = stages[-1]
        return self._added(x, n, compute(normed))

    def _added_normed(self, x: Tensor, n: str, part: Tensor, norm: Module) -> tuple[Tensor, Tensor]:
        """``x`` plus a part's result, damped, and the norm of it."""
        if not self._damps(n):
            return add_normed(x, part, self._layer(f"drop{n}"), norm)
        x = self._added(x, n, part)
        return x, norm(x)

    def _added(self, x: Tensor, n: str, part: Tensor) -> Tensor:
        """``x`` plus a part's result, damped."""
        if not self._damps(n):
            return add_dropped(x, part, self._layer(f"drop{n}"))
        *before, last = self._damping(n)
        for layer in before:
            part = layer(part)
        return add_damped(x, part, last)

    def _damps(self, n: str) -> bool:
        """Whether more than dropout damps the part's result."""
        return any(f"{role}{n}" in self.layers_part for role in ("post_norm", "ls", "drop_path"))

    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, context_mask: Tensor | None = None,
        cache: KVCache | None = None, context_cache: KVCache | None = None,
    ) -> Tensor:  # fmt: skip
        _check_stream(x, self.dim)
        if self.cross != (context is not None):
            raise ArgumentError(
                "a transformer block built " + ("with cross got no context" if self.cross else "without cross got a context"),
                why="the context would be ignored" if context is not None else "there is nothing to attend to",
                fix="pass context= to blocks built with cross, and to those alone",
            )
        if cache is not None and x.shape[1] == 1 and mask is None and context is None:
            stepped = take_step(self, x, cache)
            if stepped is not None:
                return stepped
        if self.parallel:
            seen = self._damped("1", self.attn_part(self, self._layer("norm1")(x), None, mask, cache))
            return x + seen + self._damped("2", self.mlp_part(self, self._layer("norm2")(x)))
        stages: list[tuple[str, Callable[[Tensor], Tensor]]] = [("1", lambda t: self.attn_part(self, t, None, mask, cache))]
        if context is not None:
            stages.append(("_cross", lambda t: self.cross_part(self, t, context, context_mask, context_cache)))
        return self._through(x, [*stages, ("2", lambda t: self.mlp_part(self, t))])

    def _damped(self, n: str, x: Tensor) -> Tensor:
        for layer in self._damping(n):
            x = layer(x)
        return x

    def _damping(self, n: str) -> list[Module]:
        """The layers that a part's result goes through before it is added."""
        roles = [role for role in (f"post_norm{n}", f"drop{n}", f"ls{n}", f"drop_path{n}") if role in self.layers_part]
        return [self._layer(role) for role in roles]


def _check_stream(x: Tensor, dim: int) -> None:
    if x.ndim != 3 or x.shape[-1] != dim:
        raise ShapeError(
            f"a transformer block of width {dim} got {x.shape}",
            why=f"it takes (N, T, {dim})",
            fix="check the embedding before it",
        )

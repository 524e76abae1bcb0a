"""A transformer block's shortest way: one new token a text, nothing recorded, the steps before in a cache.

Most of such a step is reading weights; what is done around the products, tensor by tensor, costs as much as they do where the
model is small or its weights are few bits. So a block of Llama's shape whose layers are what they were built as gives the whole
step to one kernel, ``gated_step``, whose numbers are those of the long way. Layers that were replaced, hooked or patched, and
masks, are left to the long way.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import kernels
from ..graph import state
from ..invariance import mode
from ..kernels.reference.decoding import GatedLayer, Product
from ..tensor import Tensor
from .activation import activation
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .norm import RMSNorm
from .positions import KVCache, Rotary
from .quantized import QuantizedLinear

if TYPE_CHECKING:
    from .blocks import TransformerBlock

_PRODUCTS = ("q", "k", "v", "out", "gate", "fc1", "fc2")
_DROPOUTS = ("attn_drop", "mlp_drop", "drop1", "drop2")
_FEW = 8  # texts up to which reading the weights takes longer than multiplying
_NARROW = 16  # results from which a weight by columns is read as it lies
_SILU = activation("silu")


class GatedStep:
    """What the kernel is told of a block, and what that was made of, so that a change is seen."""

    def __init__(self, block: TransformerBlock, layers: dict[str, Module]) -> None:
        self.layer, self.packs = _layer(block, layers), dict[str, Any]()
        self._norms: tuple[Any, ...] = layers["norm1"], layers["norm2"]
        self._layers = list(layers.values())
        self._settings = self._now(block)
        self._places = _places(block, self._layers)
        tensors = [t for m in self._layers for t in (*m._parameters.values(), *m._buffers.values()) if t is not None]
        self._tensors = [(t, t.array) for t in tensors]
        self._held = [(m.__dict__, n, t) for m in self._layers for r in (m._parameters, m._buffers) for n, t in r.items()]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a copy of the block has other arrays, and makes its own

    def _now(self, block: TransformerBlock) -> tuple[Any, ...]:
        attention, (first, second) = block.attn_part, self._norms
        return (
            attention.position, attention.scale, attention.is_causal, attention.window, block.mlp_part.act, first.eps, second.eps,
            *(getattr(m, "activations", None) for m in self._layers),
        )  # fmt: skip

    def holds(self, block: TransformerBlock) -> bool:
        """Whether the block is still as it was."""
        if self._now(block) != self._settings:
            return False
        for modules, name, module in self._places:
            if modules.get(name) is not module:
                return False
        for layer in self._layers:
            if layer._hooks is not None or layer.training or "forward" in layer.__dict__:
                return False
        for own, name, tensor in self._held:
            if own.get(name) is not tensor:
                return False
        for tensor, array in self._tensors:  # noqa: SIM110 - a generator would cost as much as the rest
            if tensor.array is not array:
                return False
        return True


def take_step(block: TransformerBlock, x: Tensor, cache: KVCache) -> Tensor | None:
    """The block of one new step (N, 1, D), kept in the cache; None where the long way must be taken."""
    position = block.attn_part.position
    if state.grad or state.anomaly or mode.depth or state.autocast is not None:
        return None
    if type(cache) is not KVCache or type(position) is not Rotary:
        return None
    array = x.array
    if type(array) is not np.ndarray or array.dtype != np.float32 or len(array) > _FEW:
        return None
    plan = block.__dict__.get("_gated_step")
    if plan is None or not plan.holds(block):
        block.__dict__.pop("_gated_step", None)
        layers = _plain_layers(block)
        if layers is None:
            return None
        plan = block.__dict__["_gated_step"] = GatedStep(block, layers)
    length = cache.length
    room = cache.room_for_one(len(array), block.attn_part.kv_heads, block.attn_part.head_dim)
    if room is None:
        return None
    cos, sin = position.angles(x, length, length + 1)
    y = kernels.of(array).gated_step(array, plan.layer, cos, sin, *room, length, plan.packs)
    cache.added_one()
    return Tensor._made(y, None, 0)


def _plain_layers(block: TransformerBlock) -> dict[str, Module] | None:
    """The layers by role, where the block and they are of the kind that the kernel computes."""
    attention, mlp = block.attn_part, block.mlp_part
    fits = block.norm_first and not (block.cross or block.parallel or attention.fused or mlp.fused)
    fits = fits and mlp.gated and mlp.act is _SILU and attention.is_causal and attention.window is None
    fits = fits and attention.position.dim <= attention.head_dim and "q_norm" not in attention  # type: ignore[union-attr]
    if not fits or any(role in block.layers_part for role in ("ls1", "ls2", "post_norm1", "post_norm2", "drop_path1")):
        return None
    parts: tuple[Any, ...] = (attention, mlp, block.layers_part)
    layers = {role: part.layer(block, role) for part in parts for role in part.roles}
    linear = [layers[role] for role in _PRODUCTS]
    norms, drops = (layers["norm1"], layers["norm2"]), [layers[role] for role in _DROPOUTS]
    kinds = all(type(m) in (Linear, QuantizedLinear) for m in linear) and all(type(m) is Dropout for m in drops)
    if not kinds or any(type(m) is not RMSNorm or m.weight is None for m in norms):
        return None
    touched = any(m._hooks is not None or m.training or "forward" in m.__dict__ for m in layers.values())
    return None if touched or not _suitable(linear, norms, block.dim) else layers


def _suitable(linear: list[Any], norms: tuple[Any, ...], dim: int) -> bool:
    """Whether weights are of dtypes, and lie in memory, as the kernel reads them."""
    for m in linear:
        w = m.weight.array
        if type(w) is not np.ndarray or w.ndim != 2 or (m.bias is not None and m.bias.array.dtype != np.float32):
            return False
        if type(m) is Linear and not (w.dtype == np.float32 and w.flags.c_contiguous):
            return False
        if type(m) is QuantizedLinear and not (w.T.flags.c_contiguous and len(w) >= _NARROW):
            return False
        if w.dtype == np.uint8 and m.in_features % 2:  # of two numbers a byte the last one has no neighbour
            return False
    return all(n.weight.array.dtype == np.float32 and n.weight.shape == (dim,) for n in norms)


def _layer(block: TransformerBlock, layers: dict[str, Any]) -> GatedLayer:
    attention = block.attn_part
    norms = layers["norm1"], layers["norm2"]
    smallest = float(np.finfo(np.float32).eps)
    eps = [smallest if n.eps is None else n.eps for n in norms]
    scale = 1.0 / math.sqrt(attention.head_dim) if attention.scale is None else attention.scale
    return GatedLayer(
        norms[0].weight.array, norms[1].weight.array, eps[0], eps[1], tuple(_product(layers[r]) for r in _PRODUCTS),
        attention.heads, attention.kv_heads, scale, attention.position.interleaved,  # type: ignore[union-attr]
    )  # fmt: skip


def _product(layer: Any) -> Product:
    weight, bias = layer.weight.array, None if layer.bias is None else layer.bias.array
    rounds = type(layer) is QuantizedLinear and layer.activations != "float32"
    if type(layer) is Linear or layer.scales is None:
        return Product(weight, None, 1, bias, rounds)
    return Product(weight, layer.scales.array, layer.group_size or weight.shape[1], bias, rounds)


def _places(block: Module, layers: list[Module]) -> list[tuple[dict[str, Module | None], str, Module]]:
    """Where the layers, and the modules that they lie in, are registered below the block."""
    found = []
    for path, module in block.named_modules():
        if path and (module in layers or module._modules):
            parent, _, name = path.rpartition(".")
            found.append((block.get_submodule(parent)._modules, name, module))
    return found

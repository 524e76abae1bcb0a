"""Tools around modules: clipped gradients, vectors of parameters, weight and spectral norm, sequences of different lengths
(``rnn``), weights that are computed when they are read (``parametrizations``)."""

from __future__ import annotations

from ...optim.clip import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from . import parametrizations, rnn
from .convert import parameters_to_vector, vector_to_parameters
from .reparametrize import remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]

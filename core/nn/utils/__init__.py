"""Tools around modules: vectors of parameters, weight and spectral norm, sequences of different lengths (``rnn``)."""

from __future__ import annotations

from . import rnn
from .convert import parameters_to_vector, vector_to_parameters
from .reparametrize import remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm

__all__ = [
    "parameters_to_vector",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]

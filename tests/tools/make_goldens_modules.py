"""Goldens of modules with a state: recurrent layers, attention, transformer layers, normalisation, padding modes, from torch."""

from __future__ import annotations

import torch
from golden_recorder import Recorder, integers, normal


def recurrent(r: Recorder) -> None:
    for kind in ("LSTM", "GRU"):
        name = kind.lower()
        small = {"input_size": 3, "hidden_size": 4}
        r.add_module(f"{name}", kind, normal(5, 2, 3), init=small)
        r.add_module(f"{name}_batch_first", kind, normal(2, 5, 3), init={**small, "batch_first": True})
        r.add_module(f"{name}_no_bias", kind, normal(5, 2, 3), init={**small, "bias": False})
        r.add_module(f"{name}_layers", kind, normal(5, 2, 3), init={**small, "num_layers": 3})
        r.add_module(f"{name}_bidirectional", kind, normal(5, 2, 3), init={**small, "bidirectional": True})
        r.add_module(f"{name}_unbatched", kind, normal(5, 3), init=small)
        state = (normal(4, 2, 4), normal(4, 2, 4)) if kind == "LSTM" else normal(4, 2, 4)
        full = {**small, "num_layers": 2, "bidirectional": True, "batch_first": True}
        r.add_module(f"{name}_full", kind, normal(2, 6, 3), state, init=full)


def attention(r: Recorder) -> None:
    kind, base = "MultiheadAttention", {"embed_dim": 8, "num_heads": 2}
    query, key = normal(5, 2, 8), normal(6, 2, 8)
    first = {**base, "batch_first": True}
    r.add_module("mha", kind, query, key, normal(6, 2, 8), init=base)
    r.add_module("mha_self", kind, normal(2, 5, 8), normal(2, 5, 8), normal(2, 5, 8), init=first)
    r.add_module("mha_no_weights", kind, query, key, normal(6, 2, 8), init=base, need_weights=False)
    r.add_module("mha_per_head", kind, query, key, normal(6, 2, 8), init=base, average_attn_weights=False)
    r.add_module("mha_no_bias", kind, query, key, normal(6, 2, 8), init={**base, "bias": False})
    widths = {**first, "kdim": 3, "vdim": 5}
    r.add_module("mha_widths", kind, normal(2, 5, 8), normal(2, 6, 3), normal(2, 6, 5), init=widths)
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[0, 4:] = True
    padding[1, :2] = True
    batched = (normal(2, 5, 8), normal(2, 6, 8), normal(2, 6, 8))
    r.add_module("mha_padding", kind, *batched, init=first, key_padding_mask=padding)
    causal = torch.triu(torch.ones(5, 6, dtype=torch.bool), 3)
    r.add_module("mha_bool_mask", kind, *batched, init=first, attn_mask=causal)
    r.add_module("mha_float_mask", kind, *batched, init=first, attn_mask=torch.linspace(-2, 2, 30).reshape(5, 6))
    each = torch.linspace(-3, 3, 120).reshape(4, 5, 6).sin()
    r.add_module("mha_mask_of_each_head", kind, *batched, init=first, attn_mask=each)
    r.add_module("mha_both_masks", kind, *batched, init=first, attn_mask=causal, key_padding_mask=padding)
    r.add_module("mha_unbatched", kind, normal(5, 8), normal(6, 8), normal(6, 8), init=base)


def transformer(r: Recorder) -> None:
    kind = "TransformerEncoderLayer"
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 3:] = True
    for activation in ("relu", "gelu"):
        for norm_first in (False, True):
            init = {"d_model": 8, "nhead": 2, "dim_feedforward": 12, "dropout": 0.0, "activation": activation}
            init |= {"norm_first": norm_first, "batch_first": True}
            name = f"encoder_layer_{activation}_{'pre' if norm_first else 'post'}"
            r.add_module(name, kind, normal(2, 5, 8), init=init)
            r.add_module(f"{name}_padding", kind, normal(2, 5, 8), init=init, src_key_padding_mask=padding)
    causal = torch.triu(torch.full((5, 5), float("-inf")), 1)
    sequence_first = {**init, "batch_first": False, "layer_norm_eps": 1e-3, "bias": False}
    r.add_module("encoder_layer_causal", kind, normal(5, 2, 8), init=sequence_first, src_mask=causal)


def normalisation(r: Recorder) -> None:
    batches = {"BatchNorm1d": (normal(5, 3), normal(4, 3), normal(6, 3)), "BatchNorm2d": (normal(2, 3, 4, 2), normal(3, 3, 2, 2))}
    for kind, steps in batches.items():
        name = kind.lower()
        r.add_module(f"{name}", kind, *steps, init={"num_features": 3}, steps=True)
        r.add_module(f"{name}_momentum", kind, *steps, init={"num_features": 3, "momentum": 0.4, "eps": 1e-3}, steps=True)
        r.add_module(f"{name}_cumulative", kind, *steps, init={"num_features": 3, "momentum": None}, steps=True)
        r.add_module(f"{name}_plain", kind, *steps, init={"num_features": 3, "affine": False}, steps=True)
        untracked = {"num_features": 3, "track_running_stats": False}
        r.add_module(f"{name}_untracked_eval", kind, *steps, init=untracked, steps=True, train=False)
    r.add_module("groupnorm", "GroupNorm", normal(2, 6, 3), init={"num_groups": 2, "num_channels": 6})
    r.add_module("layernorm", "LayerNorm", normal(2, 3, 4), init={"normalized_shape": [3, 4], "eps": 1e-6})
    r.add_module("layernorm_no_bias", "LayerNorm", normal(2, 3, 4), init={"normalized_shape": 4, "bias": False})
    r.add_module("rmsnorm", "RMSNorm", normal(2, 3, 4), init={"normalized_shape": 4, "eps": 1e-5})
    r.add_module("rmsnorm_default_eps", "RMSNorm", normal(2, 3, 4), init={"normalized_shape": 4})
    tracked = {"num_features": 3, "affine": True, "track_running_stats": True}
    r.add_module("instancenorm2d", "InstanceNorm2d", normal(2, 3, 4, 5), normal(2, 3, 4, 4), init=tracked, steps=True)


def layers(r: Recorder) -> None:
    r.add_module(
        "embedding", "Embedding", integers(3, 4, high=7), init={"num_embeddings": 7, "embedding_dim": 3, "padding_idx": 2}
    )
    for mode in ("zeros", "reflect", "replicate", "circular"):
        one = {"in_channels": 2, "out_channels": 3, "kernel_size": 4, "padding": "same", "padding_mode": mode}
        r.add_module(f"conv1d_{mode}", "Conv1d", normal(2, 2, 9), init=one)
        two = {
            "in_channels": 2,
            "out_channels": 4,
            "kernel_size": [3, 5],
            "stride": 2,
            "padding": [2, 1],
            "padding_mode": mode,
            "groups": 2,
        }
        r.add_module(f"conv2d_{mode}", "Conv2d", normal(2, 2, 7, 8), init=two)
        three = {"in_channels": 1, "out_channels": 2, "kernel_size": 3, "padding": 1, "padding_mode": mode}
        r.add_module(f"conv3d_{mode}", "Conv3d", normal(1, 1, 4, 3, 4), init=three)
    shape = {"in_channels": 2, "out_channels": 3, "kernel_size": 3, "stride": 2, "padding": 1}
    r.add_module("conv_transpose2d_output_size", "ConvTranspose2d", normal(1, 2, 4, 5), init=shape, output_size=[8, 9])
    r.add_module("linear", "Linear", normal(2, 3, 4), init={"in_features": 4, "out_features": 5})
    r.add_module(
        "bilinear", "Bilinear", normal(3, 4), normal(3, 2), init={"in1_features": 4, "in2_features": 2, "out_features": 3}
    )
    r.add_module("prelu", "PReLU", normal(2, 3, 4), init={"num_parameters": 3})
    r.add_module("upsample", "Upsample", normal(1, 2, 4, 5), init={"scale_factor": 2, "mode": "bilinear", "align_corners": True})


def main() -> None:
    recorder = Recorder()
    for part in (recurrent, attention, transformer, normalisation, layers):
        part(recorder)
    recorder.write("modules.safetensors")


if __name__ == "__main__":
    main()

"""Goldens of elementwise operations, reductions, indexing, einsum and Fourier transforms, from torch."""

from __future__ import annotations

import math

import torch
from golden_recorder import Recorder, complex_normal, integers, mask, normal, uniform

F = "nn.functional."


def elementwise(r: Recorder) -> None:
    anywhere = [
        "abs",
        "sin",
        "cos",
        "tanh",
        "sigmoid",
        "erf",
        "exp",
        "neg",
        "square",
        "sign",
        "floor",
        "ceil",
        "round",
        "expm1",
        "atan",
        "sinh",
        "cosh",
    ]
    for op in anywhere:
        r.add(op, op, normal(3, 7))
    for op in ("log", "sqrt", "rsqrt", "log1p", "reciprocal", "log2", "log10"):
        r.add(op, op, uniform(3, 7, low=0.1, high=4.0))
    for op in ("add", "sub", "mul", "div", "maximum", "minimum"):
        r.add(f"{op}_broadcast", op, normal(3, 1, 5), normal(4, 1))
    r.add("pow_tensor", "pow", uniform(3, 4, low=0.2, high=3.0), normal(4))
    for power in (2, 3, -1, 0.5, 0):
        r.add(f"pow_{power}", "pow", uniform(3, 4, low=0.2, high=3.0), power)
    r.add("pow_cube_of_negative", "pow", normal(3, 4), 3)
    r.add("pow_of_scalar", "pow", 2.5, normal(3, 4))
    r.add("clamp", "clamp", normal(4, 5), -0.5, 0.7)
    r.add("clamp_min", "clamp", normal(4, 5), min=0.1)
    r.add("clamp_max", "clamp", normal(4, 5), max=0.1)
    r.add("where", "where", mask(4, 5, share=0.5), normal(4, 5), normal(5))
    r.add("remainder", "remainder", normal(4, 5), 0.6)
    r.add("floor_divide", "floor_divide", normal(4, 5), 0.6, grad=False)
    for op in ("eq", "ne", "lt", "le", "gt", "ge"):
        r.add(op, op, integers(4, 5, high=3), integers(4, 5, high=3))


def activations(r: Recorder) -> None:
    plain = ["relu", "relu6", "silu", "hardswish", "hardsigmoid", "hardtanh", "mish", "selu", "softsign", "tanhshrink"]
    plain += ["logsigmoid", "elu", "celu", "gelu", "leaky_relu", "softplus"]
    for op in plain:
        r.add(op, F + op, torch.linspace(-5.3, 5.1, 43).reshape(1, 43))
    r.add("gelu_tanh", F + "gelu", torch.linspace(-5.3, 5.1, 43), approximate="tanh")
    r.add("leaky_relu_slope", F + "leaky_relu", normal(3, 8), 0.2)
    r.add("elu_alpha", F + "elu", normal(3, 8), alpha=0.7)
    r.add("celu_alpha", F + "celu", normal(3, 8), alpha=0.7)
    r.add("softplus_beta", F + "softplus", torch.linspace(-30, 30, 41), beta=2.0, threshold=15.0)
    r.add("hardtanh_range", F + "hardtanh", normal(3, 8), -0.4, 0.9)
    r.add("prelu", F + "prelu", normal(2, 3, 4), normal(3))
    r.add("glu", F + "glu", normal(2, 6, 4), dim=1)
    r.add("softmax", F + "softmax", normal(3, 4, 5), dim=1)
    r.add("softmax_large", F + "softmax", uniform(3, 9, low=-300, high=300), dim=-1)
    r.add("log_softmax", F + "log_softmax", normal(3, 4, 5), dim=-1)
    r.add("log_softmax_large", F + "log_softmax", uniform(3, 9, low=-300, high=300), dim=-1)


def reductions(r: Recorder) -> None:
    for op in ("sum", "mean", "prod", "amax", "amin", "logsumexp", "std", "var"):
        r.add(f"{op}_dim", op, normal(3, 4, 5), 1)
        r.add(f"{op}_keepdim", op, normal(3, 4, 5), -1, keepdim=True)
    for op in ("sum", "mean", "prod", "max", "min", "std", "var"):
        r.add(f"{op}_all", op, normal(3, 4))
    for op in ("sum", "mean", "logsumexp", "amax"):
        r.add(f"{op}_dims", op, normal(3, 4, 5), (0, 2))
    for correction in (0, 1, 2):
        r.add(f"var_correction{correction}", "var", normal(4, 6), 1, correction=correction)
        r.add(f"std_correction{correction}", "std", normal(4, 6, 3), (0, 2), correction=correction, keepdim=True)
    r.add("var_mean", "var_mean", normal(4, 6), 1)
    r.add("prod_one_zero", "prod", torch.tensor([[1.5, 0.0, -2.0, 3.0], [1.0, 2.0, 0.5, -1.0]]), 1)
    r.add("prod_two_zeros", "prod", torch.tensor([[1.5, 0.0, 0.0, 3.0], [0.0, 2.0, 0.5, -1.0]]), 1)
    r.add("prod_all_one_zero", "prod", torch.tensor([[1.5, 0.0], [2.0, 0.5]]))
    r.add("max_dim", "max", normal(3, 4, 5), 1)
    r.add("min_dim", "min", normal(3, 4, 5), -1, keepdim=True)
    r.add("argmax", "argmax", normal(3, 4, 5), 1)
    r.add("argmin_all", "argmin", normal(3, 4, 5))
    r.add("amax_ties", "amax", torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]), 1)
    r.add("max_all_ties", "max", torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]))
    r.add("cumsum", "cumsum", normal(3, 5, 2), 1)
    r.add("cumprod", "cumprod", normal(3, 5), 1)
    r.add("logsumexp_large", "logsumexp", uniform(3, 7, low=-500, high=500), 1)
    r.add("any", "any", mask(4, 5, share=0.2), 1)
    r.add("all", "all", mask(4, 5, share=0.9), 1)
    for p in (1, 2, 3, 0.5, math.inf, -math.inf, 0):
        r.add(f"norm_{p}", "norm", normal(3, 4, 5), p, 1, grad=p != 0)
    r.add("norm_fro", "norm", normal(3, 4))
    r.add("norm_dims", "norm", normal(3, 4, 5), 2, (0, 2), keepdim=True)
    r.add("norm_of_zero", "norm", torch.tensor([[0.0, 0.0], [3.0, 4.0]]), 2, 1)
    r.add("normalize", F + "normalize", normal(3, 4, 5), dim=1)
    r.add("cosine_similarity", F + "cosine_similarity", normal(3, 4, 5), normal(3, 4, 5), dim=1)
    r.add("topk", "topk", normal(3, 9), 4, 1)
    r.add("topk_smallest", "topk", normal(3, 9, 2), 3, 1, largest=False)
    r.add("sort", "sort", normal(3, 9), 1)
    r.add("sort_descending", "sort", normal(3, 5, 2), 1, True)
    r.add("argsort", "argsort", normal(3, 9), 1)
    r.add("median_dim", "median", normal(3, 7), 1)


def indexing(r: Recorder) -> None:
    r.add("gather", "gather", normal(3, 4, 5), 1, integers(3, 6, 5, high=4))
    r.add("gather_smaller", "gather", normal(3, 4), 0, integers(2, 3, high=3))
    r.add("scatter_add", "scatter_add", normal(4, 5), 0, integers(6, 5, high=4), normal(6, 5))
    r.add("scatter_add_smaller", "scatter_add", normal(4, 5), 1, integers(3, 7, high=5), normal(3, 7))
    r.add("index_select", "index_select", normal(4, 5, 2), 1, integers(7, high=5))
    r.add("masked_fill", "masked_fill", normal(4, 5), mask(4, 5, share=0.4), -2.5)
    r.add("take_along_dim", "take_along_dim", normal(4, 5), integers(4, 2, high=5), 1)
    r.add("one_hot", F + "one_hot", integers(3, 4, high=6), 6)
    r.add("embedding", F + "embedding", integers(3, 4, high=6), normal(6, 5))
    r.add("embedding_padding", F + "embedding", torch.tensor([[0, 2, 2], [5, 1, 2]]), normal(6, 5), padding_idx=2)
    r.add("embedding_padding_negative", F + "embedding", torch.tensor([[0, 2, 5], [5, 1, 2]]), normal(6, 5), padding_idx=-1)
    r.add("tril", "tril", normal(2, 4, 5), 1)
    r.add("triu", "triu", normal(4, 5), -1)
    r.add("roll", "roll", normal(3, 4, 5), (1, -2), (0, 2))
    r.add("flip", "flip", normal(3, 4, 5), (0, 2))
    r.add("repeat_interleave", "repeat_interleave", normal(3, 4), 3, 1)
    r.add("cat", "cat", [normal(2, 3), normal(2, 1), normal(2, 4)], 1)
    r.add("stack", "stack", [normal(2, 3), normal(2, 3)], 1)


def products(r: Recorder) -> None:
    r.add("matmul_vectors", "matmul", normal(5), normal(5))
    r.add("matmul_matrix_vector", "matmul", normal(3, 5), normal(5))
    r.add("matmul_vector_batch", "matmul", normal(5), normal(2, 5, 3))
    r.add("matmul_broadcast", "matmul", normal(2, 1, 3, 4), normal(5, 4, 2))
    r.add("bmm", "bmm", normal(3, 2, 4), normal(3, 4, 5))
    r.add("baddbmm", "baddbmm", normal(3, 1, 5), normal(3, 2, 4), normal(3, 4, 5), beta=0.5, alpha=2.0)
    r.add("addmm", "addmm", normal(5), normal(3, 4), normal(4, 5))
    r.add("outer", "outer", normal(3), normal(4))
    r.add("linear", F + "linear", normal(2, 3, 4), normal(5, 4), normal(5))
    r.add("linear_vector", F + "linear", normal(4), normal(5, 4))
    r.add("bilinear", F + "bilinear", normal(3, 4), normal(3, 2), normal(5, 4, 2), normal(5))
    pairs = {
        "matmul": ("ij,jk->ik", (3, 4), (4, 5)),
        "implicit": ("ij,jk", (3, 4), (4, 5)),
        "batch": ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
        "attention": ("bqhd,bkhd->bhqk", (2, 3, 2, 4), (2, 5, 2, 4)),
        "outer": ("i,j->ji", (3,), (4,)),
        "dot": ("i,i->", (5,), (5,)),
        "sum_both": ("ij,kl->", (2, 3), (4, 2)),
        "broadcast": ("i...,j...->ij...", (3, 2, 4), (5, 2, 4)),
        "ellipsis": ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)),
        "size_one": ("ij,jk->ik", (3, 1), (4, 5)),
        "contract_two": ("abcd,bd->ac", (2, 3, 4, 5), (3, 5)),
    }
    for name, (equation, a, b) in pairs.items():
        r.add(f"einsum_{name}", "einsum", equation, normal(*a), normal(*b))
    r.add("einsum_trace", "einsum", "ii->", normal(4, 4))
    r.add("einsum_diagonal", "einsum", "bii->bi", normal(2, 4, 4))
    r.add("einsum_transpose", "einsum", "abc->cab", normal(2, 3, 4))
    r.add("einsum_sum", "einsum", "abc->b", normal(2, 3, 4))
    r.add("einsum_three", "einsum", "ij,jk,kl->il", normal(2, 3), normal(3, 4), normal(4, 5))
    r.add("einsum_spaces", "einsum", " i j , j k -> i k ", normal(2, 3), normal(3, 4))


def transforms(r: Recorder) -> None:
    for norm in ("backward", "ortho", "forward"):
        r.add(f"rfft_{norm}", "fft.rfft", normal(2, 9), norm=norm)
        r.add(f"irfft_{norm}", "fft.irfft", complex_normal(2, 6), norm=norm)
    r.add("rfft_dim", "fft.rfft", normal(3, 8, 2), dim=1)
    r.add("rfft_longer", "fft.rfft", normal(2, 7), n=12)
    r.add("rfft_shorter", "fft.rfft", normal(2, 11), n=6)
    r.add("irfft_odd", "fft.irfft", complex_normal(2, 6), n=11)
    r.add("irfft_dim", "fft.irfft", complex_normal(2, 6, 3), dim=1)
    r.add("irfft_shorter", "fft.irfft", complex_normal(2, 8), n=9)
    window = torch.hann_window(12)
    stft = {"return_complex": True}
    r.add("stft", "stft", normal(2, 50), 16, window=torch.hann_window(16), **stft)
    r.add("stft_vector", "stft", normal(40), 16, hop_length=5, window=torch.hamming_window(16), **stft)
    r.add("stft_short_window", "stft", normal(2, 50), 16, hop_length=4, win_length=12, window=window, **stft)
    r.add("stft_no_center", "stft", normal(2, 50), 16, hop_length=6, window=torch.hann_window(16), center=False, **stft)
    r.add("stft_constant", "stft", normal(2, 41), 12, hop_length=3, window=window, pad_mode="constant", **stft)
    r.add("stft_replicate", "stft", normal(2, 41), 12, hop_length=3, window=window, pad_mode="replicate", **stft)
    r.add("stft_normalized", "stft", normal(2, 41), 12, hop_length=3, window=window, normalized=True, **stft)
    r.add("stft_twosided", "stft", normal(2, 41), 12, hop_length=3, window=window, onesided=False, **stft)
    r.add("stft_odd", "stft", normal(1, 41), 13, hop_length=4, window=torch.hann_window(13), **stft)
    r.add("istft", "istft", complex_normal(2, 9, 12), 16, window=torch.hann_window(16))
    r.add("istft_length", "istft", complex_normal(9, 12), 16, hop_length=4, window=torch.hann_window(16), length=41)
    r.add("istft_short_window", "istft", complex_normal(2, 9, 14), 16, hop_length=3, win_length=12, window=window)
    r.add("istft_no_center", "istft", complex_normal(2, 7, 9), 12, hop_length=3, window=torch.hamming_window(12), center=False)
    r.add("istft_normalized", "istft", complex_normal(2, 7, 9), 12, hop_length=3, window=window, normalized=True)
    r.add("istft_twosided", "istft", complex_normal(2, 12, 9), 12, hop_length=3, window=window, onesided=False)


def main() -> None:
    files = {
        "ops_elementwise": (elementwise, activations),
        "ops_reduce": (reductions,),
        "ops_index": (indexing, products),
        "ops_fft": (transforms,),
    }
    for file, parts in files.items():
        recorder = Recorder()
        for part in parts:
            part(recorder)
        recorder.write(f"{file}.safetensors")


if __name__ == "__main__":
    main()

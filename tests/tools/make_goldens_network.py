"""Goldens of normalisation, attention and losses, from torch."""

from __future__ import annotations

import torch
from golden_recorder import Recorder, integers, normal, uniform

F = "nn.functional."
RUNNING = ("a1", "a2")  # running mean and variance are buffers, not leaves


def norms(r: Recorder) -> None:
    for name, shape in {"1d": (6, 4), "1d_length": (3, 4, 5), "2d": (3, 4, 5, 6), "3d": (2, 4, 3, 2, 3)}.items():
        state = (normal(4), uniform(4, low=0.5, high=2.0), normal(4), normal(4))
        r.add(f"batch_norm_train_{name}", F + "batch_norm", normal(*shape), *state, True, 0.1, 1e-5, fixed=RUNNING)
        r.add(f"batch_norm_eval_{name}", F + "batch_norm", normal(*shape), *state, False, 0.1, 1e-3, fixed=RUNNING)
    r.add("batch_norm_train_stateless", F + "batch_norm", normal(3, 4, 5), None, None, training=True)
    r.add("layer_norm", F + "layer_norm", normal(2, 3, 8), (8,), normal(8), normal(8))
    r.add("layer_norm_two", F + "layer_norm", normal(2, 3, 4, 5), (4, 5), normal(4, 5), normal(4, 5), 1e-3)
    r.add("layer_norm_plain", F + "layer_norm", normal(2, 3, 8), (8,))
    r.add("layer_norm_no_bias", F + "layer_norm", normal(2, 3, 8), (8,), normal(8))
    r.add("group_norm", F + "group_norm", normal(2, 6, 4, 3), 3, normal(6), normal(6))
    r.add("group_norm_one", F + "group_norm", normal(2, 6, 5), 1, normal(6), normal(6), 1e-3)
    r.add("group_norm_each", F + "group_norm", normal(2, 6, 5), 6)
    r.add("instance_norm", F + "instance_norm", normal(2, 3, 4, 5), weight=normal(3), bias=normal(3))
    r.add("instance_norm_1d", F + "instance_norm", normal(2, 3, 7), eps=1e-3)
    eval_state = {"running_mean": normal(3), "running_var": uniform(3, low=0.5, high=2.0), "use_input_stats": False}
    r.add("instance_norm_eval", F + "instance_norm", normal(2, 3, 4, 5), fixed=("running_mean", "running_var"), **eval_state)
    r.add("rms_norm", F + "rms_norm", normal(2, 3, 8), (8,), normal(8), 1e-6)
    r.add("rms_norm_plain", F + "rms_norm", normal(2, 3, 4, 2), (4, 2), eps=1e-5)
    r.add("local_response_norm", F + "local_response_norm", normal(2, 7, 4), 3)


def attention(r: Recorder) -> None:
    sdpa = F + "scaled_dot_product_attention"
    shapes = (normal(2, 3, 5, 4), normal(2, 3, 6, 4), normal(2, 3, 6, 4))
    r.add("sdpa", sdpa, *shapes)
    r.add("sdpa_three_dims", sdpa, normal(2, 5, 4), normal(2, 6, 4), normal(2, 6, 3))
    r.add("sdpa_value_width", sdpa, normal(2, 3, 5, 4), normal(2, 3, 6, 4), normal(2, 3, 6, 7))
    r.add("sdpa_scale", sdpa, *shapes, scale=0.8)
    r.add("sdpa_causal_square", sdpa, normal(2, 3, 6, 4), normal(2, 3, 6, 4), normal(2, 3, 6, 4), is_causal=True)
    r.add("sdpa_causal_wide", sdpa, *shapes, is_causal=True)
    r.add("sdpa_causal_tall", sdpa, normal(2, 3, 7, 4), normal(2, 3, 4, 4), normal(2, 3, 4, 4), is_causal=True)
    allowed = torch.ones(2, 1, 5, 6, dtype=torch.bool)
    allowed[0, :, :, 4:] = False
    allowed[1, :, 2, :5] = False
    r.add("sdpa_bool_mask", sdpa, *shapes, attn_mask=allowed)
    r.add("sdpa_bool_mask_shared", sdpa, *shapes, attn_mask=allowed[1, 0])
    r.add("sdpa_float_mask", sdpa, *shapes, attn_mask=normal(2, 3, 5, 6))
    r.add("sdpa_float_mask_broadcast", sdpa, *shapes, attn_mask=normal(5, 6))
    r.add("sdpa_grouped", sdpa, normal(2, 6, 5, 4), normal(2, 2, 6, 4), normal(2, 2, 6, 4), enable_gqa=True)
    r.add(
        "sdpa_grouped_causal", sdpa, normal(1, 4, 5, 4), normal(1, 1, 5, 4), normal(1, 1, 5, 4), is_causal=True, enable_gqa=True
    )


def classification(r: Recorder) -> None:
    entropy, nll = F + "cross_entropy", F + "nll_loss"
    ignoring = torch.tensor([1, -100, 0, 3, -100, 2])
    for reduction in ("mean", "sum", "none"):
        how = {"reduction": reduction}
        r.add(f"cross_entropy_{reduction}", entropy, normal(6, 4), integers(6, high=4), **how)
        r.add(f"cross_entropy_ignore_{reduction}", entropy, normal(6, 4), ignoring, **how)
        weighted = {"weight": uniform(4, low=0.2, high=2.0), "fixed": ("weight",)}
        r.add(f"cross_entropy_weight_{reduction}", entropy, normal(6, 4), ignoring, **weighted, **how)
        r.add(f"cross_entropy_smooth_{reduction}", entropy, normal(6, 4), ignoring, label_smoothing=0.1, **how)
        r.add(f"cross_entropy_smooth_weight_{reduction}", entropy, normal(6, 4), ignoring, label_smoothing=0.2, **weighted, **how)
        r.add(
            f"cross_entropy_spatial_{reduction}",
            entropy,
            normal(2, 4, 3, 5),
            integers(2, 3, 5, high=4),
            label_smoothing=0.1,
            **weighted,
            **how,
        )
        soft = torch.softmax(torch.arange(24.0).reshape(6, 4).sin() * 2, 1)
        r.add(f"cross_entropy_soft_{reduction}", entropy, normal(6, 4), soft, fixed=("a1",), **how)
        both = {"weight": uniform(4, low=0.2, high=2.0), "label_smoothing": 0.1, "fixed": ("a1", "weight")}
        r.add(f"cross_entropy_soft_full_{reduction}", entropy, normal(6, 4), soft, **both, **how)
        r.add(f"nll_loss_{reduction}", nll, normal(6, 4), ignoring, **weighted, **how)
        r.add(f"nll_loss_spatial_{reduction}", nll, normal(2, 4, 5), integers(2, 5, high=4), ignore_index=1, **how)
    r.add("cross_entropy_single", entropy, normal(4), torch.tensor(2))
    r.add("cross_entropy_soft_spatial", entropy, normal(2, 3, 4), torch.full((2, 3, 4), 1 / 3), fixed=("a1",))
    r.add("multi_margin_loss", F + "multi_margin_loss", normal(5, 4), integers(5, high=4))


def regression(r: Recorder) -> None:
    for reduction in ("mean", "sum", "none"):
        how = {"reduction": reduction}
        for loss in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
            r.add(f"{loss}_{reduction}", F + loss, normal(4, 5), normal(4, 5), **how)
        chance = {"weight": uniform(4, 5, low=0.1, high=2.0), "fixed": ("a1", "weight", "pos_weight")}
        r.add(f"bce_{reduction}", F + "binary_cross_entropy", uniform(4, 5, low=0.05, high=0.95), uniform(4, 5), **chance, **how)
        logits = F + "binary_cross_entropy_with_logits"
        r.add(f"bce_logits_{reduction}", logits, normal(4, 5), uniform(4, 5), fixed=("a1",), **how)
        r.add(
            f"bce_logits_full_{reduction}",
            logits,
            normal(4, 5),
            uniform(4, 5),
            pos_weight=uniform(5, low=0.3, high=3.0),
            **chance,
            **how,
        )
        through = {"a0": [F + "log_softmax", {"dim": -1}]}
        goal = torch.softmax(torch.arange(20.0).reshape(4, 5).sin() * 2, 1)
        r.add(f"kl_div_{reduction}", F + "kl_div", normal(4, 5), goal, through=through, **how)
        r.add(f"kl_div_log_{reduction}", F + "kl_div", normal(4, 5), goal.log(), log_target=True, through=through, **how)
        signs = torch.tensor([1.0, -1.0, 1.0, -1.0])
        r.add(
            f"cosine_embedding_{reduction}",
            F + "cosine_embedding_loss",
            normal(4, 5),
            normal(4, 5),
            signs,
            margin=0.1,
            fixed=("a2",),
            **how,
        )
    r.add("kl_div_batchmean", F + "kl_div", normal(4, 5), goal, through=through, reduction="batchmean")
    r.add("smooth_l1_beta", F + "smooth_l1_loss", normal(4, 5), normal(4, 5), beta=0.3)
    r.add("smooth_l1_beta_zero", F + "smooth_l1_loss", normal(4, 5), normal(4, 5), beta=0.0)
    r.add("huber_delta", F + "huber_loss", normal(4, 5), normal(4, 5), delta=0.4)
    r.add(
        "bce_logits_extreme",
        logits,
        torch.tensor([-90.0, 90.0, 0.0, -40.0, 40.0]),
        torch.tensor([0.0, 1.0, 0.5, 1.0, 0.0]),
        fixed=("a1",),
    )
    r.add("bce_saturated", F + "binary_cross_entropy", torch.tensor([0.0, 1.0, 0.5]), torch.tensor([1.0, 0.0, 1.0]), grad=False)
    r.add("margin_ranking_loss", F + "margin_ranking_loss", normal(4), normal(4), signs, margin=0.2, fixed=("a2",))
    r.add("triplet_margin_loss", F + "triplet_margin_loss", normal(4, 5), normal(4, 5), normal(4, 5))


def ctc(r: Recorder) -> None:
    """Through log_softmax: torch's own gradient of ctc_loss presumes it."""
    through = {"a0": [F + "log_softmax", {"dim": -1}]}
    targets = torch.tensor([[1, 2, 2, 3], [4, 1, 0, 0], [3, 3, 3, 0]])
    for reduction in ("mean", "sum", "none"):
        r.add(
            f"ctc_{reduction}",
            F + "ctc_loss",
            normal(9, 3, 5),
            targets,
            (9, 7, 8),
            (4, 2, 3),
            reduction=reduction,
            through=through,
        )
    lengths = (torch.tensor([9, 7, 8]), torch.tensor([4, 2, 3]))
    r.add("ctc_tensor_lengths", F + "ctc_loss", normal(9, 3, 5), targets, *lengths, through=through)
    flat = torch.tensor([1, 2, 2, 3, 4, 1, 3, 3, 3])
    r.add("ctc_concatenated", F + "ctc_loss", normal(9, 3, 5), flat, (9, 7, 8), (4, 2, 3), through=through)
    r.add("ctc_blank_last", F + "ctc_loss", normal(9, 3, 6), targets, (9, 7, 8), (4, 2, 3), blank=5, through=through)
    impossible = {"reduction": "sum", "zero_infinity": True, "through": through}
    r.add("ctc_impossible", F + "ctc_loss", normal(9, 3, 5), targets, (9, 7, 4), (4, 2, 3), **impossible)
    r.add(
        "ctc_empty_target",
        F + "ctc_loss",
        normal(6, 2, 4),
        torch.tensor([[1, 2], [0, 0]]),
        (6, 5),
        (2, 0),
        reduction="sum",
        through=through,
    )
    r.add(
        "ctc_infinite",
        F + "ctc_loss",
        normal(4, 1, 5),
        torch.tensor([[3, 3, 3]]),
        (4,),
        (3,),
        reduction="none",
        through=through,
        grad=False,
    )


def main() -> None:
    files = {"ops_norm": (norms,), "ops_attention": (attention,), "ops_loss": (classification, regression, ctc)}
    for file, parts in files.items():
        recorder = Recorder()
        for part in parts:
            part(recorder)
        recorder.write(f"{file}.safetensors")


if __name__ == "__main__":
    main()

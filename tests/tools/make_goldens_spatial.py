"""Goldens of convolution, pooling, resizing, padding and unfolding, from torch."""

from __future__ import annotations

from golden_recorder import Recorder, normal

F = "nn.functional."


def convolutions(r: Recorder) -> None:
    r.add("conv1d", F + "conv1d", normal(2, 3, 11), normal(4, 3, 3), normal(4))
    r.add(
        "conv1d_stride_dilation",
        F + "conv1d",
        normal(2, 4, 17),
        normal(6, 2, 3),
        normal(6),
        stride=2,
        padding=3,
        dilation=2,
        groups=2,
    )
    r.add("conv1d_same_even", F + "conv1d", normal(1, 2, 10), normal(3, 2, 4), None, padding="same")
    r.add("conv1d_valid", F + "conv1d", normal(1, 2, 10), normal(3, 2, 4), None, padding="valid", stride=3)
    r.add("conv1d_unbatched", F + "conv1d", normal(3, 9), normal(2, 3, 3), normal(2), padding=1)
    r.add("conv2d_3x3", F + "conv2d", normal(2, 3, 7, 9), normal(5, 3, 3, 3), normal(5), padding=1)
    r.add("conv2d_3x3_wide", F + "conv2d", normal(1, 8, 13, 12), normal(16, 8, 3, 3), None, padding=1)
    r.add("conv2d_1x1", F + "conv2d", normal(2, 6, 5, 4), normal(8, 6, 1, 1), normal(8))
    r.add("conv2d_1x1_stride2", F + "conv2d", normal(2, 6, 7, 8), normal(8, 6, 1, 1), None, stride=2)
    r.add("conv2d_7x7_stride2", F + "conv2d", normal(1, 3, 19, 20), normal(4, 3, 7, 7), None, stride=2, padding=3)
    r.add(
        "conv2d_rectangular",
        F + "conv2d",
        normal(2, 2, 9, 12),
        normal(3, 2, 2, 5),
        normal(3),
        stride=(2, 3),
        padding=(1, 2),
        dilation=(3, 1),
    )
    r.add("conv2d_same_even", F + "conv2d", normal(2, 2, 8, 7), normal(3, 2, 4, 2), normal(3), padding="same")
    r.add("conv2d_same_dilated", F + "conv2d", normal(1, 2, 8, 9), normal(3, 2, 3, 4), normal(3), padding="same", dilation=(2, 3))
    r.add("conv2d_valid", F + "conv2d", normal(1, 2, 8, 9), normal(3, 2, 3, 4), normal(3), padding="valid")
    r.add("conv2d_groups", F + "conv2d", normal(2, 6, 8, 8), normal(9, 2, 3, 3), normal(9), stride=2, padding=1, groups=3)
    r.add("conv2d_depthwise", F + "conv2d", normal(2, 6, 9, 8), normal(6, 1, 3, 3), normal(6), padding=1, groups=6)
    r.add(
        "conv2d_depthwise5_stride2", F + "conv2d", normal(2, 4, 11, 10), normal(4, 1, 5, 5), None, stride=2, padding=2, groups=4
    )
    r.add("conv2d_depthwise_multiplier", F + "conv2d", normal(1, 3, 7, 7), normal(6, 1, 3, 3), normal(6), padding=1, groups=3)
    r.add("conv2d_unbatched", F + "conv2d", normal(2, 6, 5), normal(3, 2, 3, 3), normal(3))
    r.add("conv2d_kernel_equals_input", F + "conv2d", normal(2, 3, 5, 4), normal(4, 3, 5, 4), normal(4))
    r.add("conv3d", F + "conv3d", normal(1, 2, 5, 6, 5), normal(3, 2, 3, 3, 3), normal(3), padding=1)
    r.add(
        "conv3d_stride_groups",
        F + "conv3d",
        normal(1, 4, 6, 7, 5),
        normal(4, 2, 2, 3, 2),
        None,
        stride=(1, 2, 2),
        padding=(0, 1, 1),
        dilation=(2, 1, 1),
        groups=2,
    )
    r.add("conv3d_same", F + "conv3d", normal(1, 1, 4, 5, 4), normal(2, 1, 2, 3, 2), normal(2), padding="same")


def transposed(r: Recorder) -> None:
    r.add("conv_transpose1d", F + "conv_transpose1d", normal(2, 3, 7), normal(3, 4, 3), normal(4))
    r.add(
        "conv_transpose1d_full",
        F + "conv_transpose1d",
        normal(2, 4, 6),
        normal(4, 3, 4),
        normal(6),
        stride=3,
        padding=2,
        output_padding=1,
        groups=2,
        dilation=2,
    )
    r.add("conv_transpose2d", F + "conv_transpose2d", normal(2, 3, 5, 4), normal(3, 4, 3, 3), normal(4), stride=2, padding=1)
    r.add(
        "conv_transpose2d_output_padding",
        F + "conv_transpose2d",
        normal(1, 3, 4, 5),
        normal(3, 2, 3, 3),
        None,
        stride=2,
        padding=1,
        output_padding=1,
    )
    r.add(
        "conv_transpose2d_groups",
        F + "conv_transpose2d",
        normal(2, 4, 4, 5),
        normal(4, 3, 2, 3),
        normal(6),
        stride=(2, 1),
        padding=(0, 1),
        groups=2,
    )
    r.add(
        "conv_transpose2d_dilation",
        F + "conv_transpose2d",
        normal(1, 2, 4, 4),
        normal(2, 3, 3, 2),
        normal(3),
        stride=(3, 2),
        padding=1,
        output_padding=(2, 1),
        dilation=(2, 3),
    )
    r.add(
        "conv_transpose2d_depthwise",
        F + "conv_transpose2d",
        normal(1, 3, 4, 4),
        normal(3, 1, 4, 4),
        normal(3),
        stride=2,
        padding=1,
        groups=3,
    )
    r.add(
        "conv_transpose3d",
        F + "conv_transpose3d",
        normal(1, 2, 3, 4, 3),
        normal(2, 3, 2, 3, 3),
        normal(3),
        stride=(1, 2, 2),
        padding=(0, 1, 1),
        output_padding=(0, 1, 0),
    )


def pools(r: Recorder) -> None:
    r.add("max_pool1d", F + "max_pool1d", normal(2, 3, 11), 3, 2, 1)
    r.add("max_pool1d_indices", F + "max_pool1d", normal(2, 3, 12), 3, stride=2, dilation=2, ceil_mode=True, return_indices=True)
    r.add("max_pool2d", F + "max_pool2d", normal(2, 3, 9, 8), 3, stride=2, padding=1)
    r.add("max_pool2d_default_stride", F + "max_pool2d", normal(2, 3, 9, 8), 2)
    r.add("max_pool2d_ceil", F + "max_pool2d", normal(1, 2, 8, 10), (3, 2), stride=(2, 3), ceil_mode=True)
    r.add("max_pool2d_ceil_padding", F + "max_pool2d", normal(1, 2, 6, 7), 3, stride=3, padding=1, ceil_mode=True)
    r.add(
        "max_pool2d_dilation_indices",
        F + "max_pool2d",
        normal(2, 2, 9, 10),
        2,
        stride=2,
        padding=1,
        dilation=2,
        return_indices=True,
    )
    r.add("max_pool2d_unbatched", F + "max_pool2d", normal(2, 6, 6), 2)
    r.add(
        "max_pool3d",
        F + "max_pool3d",
        normal(1, 2, 6, 7, 5),
        (2, 3, 2),
        stride=2,
        padding=(0, 1, 1),
        ceil_mode=True,
        return_indices=True,
    )
    r.add("avg_pool1d", F + "avg_pool1d", normal(2, 3, 11), 3, 2, 1)
    r.add(
        "avg_pool1d_ceil_exclude",
        F + "avg_pool1d",
        normal(2, 3, 10),
        4,
        stride=3,
        padding=2,
        ceil_mode=True,
        count_include_pad=False,
    )
    r.add("avg_pool2d", F + "avg_pool2d", normal(2, 3, 8, 9), 2)
    r.add("avg_pool2d_padding", F + "avg_pool2d", normal(2, 3, 8, 9), 3, stride=2, padding=1)
    r.add("avg_pool2d_exclude_pad", F + "avg_pool2d", normal(2, 3, 8, 9), 3, stride=2, padding=1, count_include_pad=False)
    r.add("avg_pool2d_ceil", F + "avg_pool2d", normal(2, 3, 8, 10), (3, 2), stride=(2, 3), padding=1, ceil_mode=True)
    r.add(
        "avg_pool2d_ceil_exclude",
        F + "avg_pool2d",
        normal(1, 2, 6, 7),
        3,
        stride=2,
        padding=1,
        ceil_mode=True,
        count_include_pad=False,
    )
    r.add("avg_pool2d_divisor", F + "avg_pool2d", normal(1, 2, 6, 7), 3, stride=2, padding=1, divisor_override=5)
    r.add(
        "avg_pool3d",
        F + "avg_pool3d",
        normal(1, 2, 5, 6, 7),
        (2, 3, 2),
        stride=2,
        padding=(1, 1, 0),
        ceil_mode=True,
        count_include_pad=False,
    )
    r.add("avg_pool3d_divisor", F + "avg_pool3d", normal(1, 2, 4, 6, 4), 2, divisor_override=3)
    r.add("adaptive_avg_pool1d", F + "adaptive_avg_pool1d", normal(2, 3, 11), 4)
    r.add("adaptive_avg_pool2d_one", F + "adaptive_avg_pool2d", normal(2, 3, 7, 5), 1)
    r.add("adaptive_avg_pool2d_odd", F + "adaptive_avg_pool2d", normal(2, 3, 7, 10), (3, 4))
    r.add("adaptive_avg_pool2d_none", F + "adaptive_avg_pool2d", normal(2, 2, 7, 6), (None, 4))
    r.add("adaptive_avg_pool2d_larger", F + "adaptive_avg_pool2d", normal(1, 2, 3, 4), (5, 7))
    r.add("adaptive_avg_pool3d", F + "adaptive_avg_pool3d", normal(1, 2, 5, 7, 6), (2, 3, 4))
    r.add("adaptive_max_pool1d", F + "adaptive_max_pool1d", normal(2, 3, 11), 4, return_indices=True)
    r.add("adaptive_max_pool2d", F + "adaptive_max_pool2d", normal(2, 3, 7, 10), (3, 4), return_indices=True)
    r.add("adaptive_max_pool3d", F + "adaptive_max_pool3d", normal(1, 2, 5, 7, 6), (2, 3, 4))


def resizes(r: Recorder) -> None:
    sizes = {"up": (11, 13), "down": (3, 4), "mixed": (4, 15), "same": (7, 6)}
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
        for label, size in sizes.items():
            r.add(f"interpolate_{mode}_{label}", F + "interpolate", normal(2, 2, 7, 6), size=size, mode=mode)
        if mode != "area":
            r.add(f"interpolate_{mode}_scale", F + "interpolate", normal(1, 2, 5, 7), scale_factor=(1.7, 0.6), mode=mode)
            r.add(
                f"interpolate_{mode}_recompute",
                F + "interpolate",
                normal(1, 2, 5, 7),
                scale_factor=(1.7, 0.6),
                mode=mode,
                recompute_scale_factor=True,
            )
    for mode in ("bilinear", "bicubic"):
        for label, size in sizes.items():
            r.add(
                f"interpolate_{mode}_corners_{label}",
                F + "interpolate",
                normal(2, 2, 7, 6),
                size=size,
                mode=mode,
                align_corners=True,
            )
            r.add(
                f"interpolate_{mode}_antialias_{label}",
                F + "interpolate",
                normal(2, 2, 7, 6),
                size=size,
                mode=mode,
                antialias=True,
            )
        r.add(
            f"interpolate_{mode}_corners_one", F + "interpolate", normal(1, 2, 5, 4), size=(1, 1), mode=mode, align_corners=True
        )
        r.add(
            f"interpolate_{mode}_antialias_far", F + "interpolate", normal(1, 1, 29, 23), size=(4, 3), mode=mode, antialias=True
        )
        r.add(
            f"interpolate_{mode}_antialias_scale",
            F + "interpolate",
            normal(1, 2, 9, 11),
            scale_factor=(0.45, 0.7),
            mode=mode,
            antialias=True,
        )
    for mode in ("nearest", "nearest-exact", "linear", "area"):
        for size in (4, 9, 16):
            r.add(f"interpolate1d_{mode}_{size}", F + "interpolate", normal(2, 2, 9), size=size, mode=mode)
    r.add("interpolate1d_linear_corners", F + "interpolate", normal(2, 2, 9), size=14, mode="linear", align_corners=True)
    for mode in ("nearest", "nearest-exact", "trilinear", "area"):
        r.add(f"interpolate3d_{mode}", F + "interpolate", normal(1, 2, 4, 5, 6), size=(7, 3, 5), mode=mode)
    r.add(
        "interpolate3d_trilinear_corners",
        F + "interpolate",
        normal(1, 2, 4, 5, 6),
        size=(7, 3, 5),
        mode="trilinear",
        align_corners=True,
    )
    r.add("interpolate_scalar_scale", F + "interpolate", normal(1, 2, 5, 6), scale_factor=2, mode="nearest")


def paddings(r: Recorder) -> None:
    r.add("pad_constant", F + "pad", normal(2, 3, 4), (1, 2))
    r.add("pad_constant_value", F + "pad", normal(2, 3, 4, 5), (1, 2, 0, 3, 2, 1), value=-1.5)
    r.add("pad_constant_crop", F + "pad", normal(2, 3, 6, 5), (-1, 2, 1, -2))
    for mode in ("reflect", "replicate", "circular"):
        r.add(f"pad_{mode}_1d", F + "pad", normal(2, 3, 6), (3, 2), mode=mode)
        r.add(f"pad_{mode}_2d", F + "pad", normal(2, 2, 5, 6), (3, 2, 1, 4), mode=mode)
        r.add(f"pad_{mode}_3d", F + "pad", normal(1, 2, 4, 5, 4), (1, 2, 3, 1, 2, 0), mode=mode)
        r.add(f"pad_{mode}_unbatched", F + "pad", normal(3, 6), (2, 1), mode=mode)
    r.add("pad_replicate_far", F + "pad", normal(1, 2, 3, 3), (4, 0, 0, 5), mode="replicate")
    r.add("unfold", F + "unfold", normal(2, 3, 6, 7), (2, 3))
    r.add("unfold_full", F + "unfold", normal(2, 2, 7, 8), 3, dilation=2, padding=(2, 1), stride=(2, 1))
    r.add("fold", F + "fold", normal(2, 12, 12), (4, 5), (2, 2))
    r.add("fold_full", F + "fold", normal(2, 18, 16), (7, 8), 3, dilation=(2, 1), padding=(2, 1), stride=2)
    r.add("tensor_unfold", "Tensor.unfold", normal(3, 11), 1, 4, 3)
    r.add("tensor_unfold_overlap", "Tensor.unfold", normal(7, 3), 0, 3, 1)
    r.add("pixel_shuffle", F + "pixel_shuffle", normal(2, 12, 3, 4), 2)
    r.add("pixel_unshuffle", F + "pixel_unshuffle", normal(2, 3, 6, 4), 2)


def main() -> None:
    for file, parts in {"ops_conv": (convolutions, transposed), "ops_pool": (pools,), "ops_resize": (resizes, paddings)}.items():
        recorder = Recorder()
        for part in parts:
            part(recorder)
        recorder.write(f"{file}.safetensors")


if __name__ == "__main__":
    main()

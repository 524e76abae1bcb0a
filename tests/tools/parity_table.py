"""Print how far nyala is from the reference implementations: ``python tests/tools/parity_table.py [--weights]``.

The largest difference over the largest value, forward and over all frozen gradients, float32 against the goldens in
``tests/goldens`` (computed by timm and transformers in float64). ``--weights`` adds the published weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
from nyala import checkpoint
from nyala.hub import registry
from nyala.hub.results import table

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"
PICTURES = (
    "resnet_basic", "resnet_bottleneck", "efficientnet_lite",
    "convnext", "convnextv2", "convnext_transformers", "convnextv2_transformers",
    "efficientnet", "efficientnet_tf", "efficientnetv2", "efficientnetv2_b", "mobilenetv2", "mobilenetv3", "mobilenetv3_tf",
    "mobilenetv4", "resnext", "wide_resnet", "resnet_transformers", "resnet_transformers_basic", "resnet_transformers_1x1",
    "vgg", "vgg_bn", "densenet", "regnetx", "regnety", "regnety_transformers", "regnetx_transformers",
)  # fmt: skip
VITS = (
    "vit", "vit_avg", "deit_distilled", "deit3", "dinov2_timm", "dinov2_reg4_timm", "swin", "vit_transformers", "vit_pooler",
    "deit_teacher", "dinov2", "dinov2_swiglu", "dinov2_classifier", "dinov2_registers", "dinov2_registers_classifier",
    "swin_transformers", "swin_bare", "dinov3_timm", "dinov3_timm_gated", "dinov3", "dinov3_gated",
    "beit_timm", "beitv2_shared", "beit", "beit_bare",
)  # fmt: skip
DEPTHS = ("depth_anything", "depth_anything_metric")
SEGMENTERS = {  # by the library they were compared with
    "segformer": "transformers", "segformer_classifier": "transformers", "upernet": "transformers",
    "unet": "MONAI", "unet_plain": "MONAI", "unet_volumes": "MONAI",
}  # fmt: skip
DETECTORS = ("detr", "detr_learned", "yolos", "yolos_first")
TOWERS = ("vision/clip", "vision/clip_classifier", "vision/siglip", "vision/siglip_classifier", "audio/clap", "audio/clap_fused")
TEXTS = ("bert", "bert_classifier", "bert_tagger", "bert_masked_lm")
ENCODERS = ("roberta", "xlm_roberta", "distilbert", "mpnet", "modernbert", "deberta", "deberta_v2", "electra", "albert")
DECODERS = ("llama", "llama_3", "qwen2", "qwen2_sliding", "qwen3", "gpt2", "gemma3", "gpt_neox", "gpt_neox_serial")
STRETCHED = ("qwen2_yarn", "llama_dynamic", "llama_longrope")
SPEECH = ("wav2vec2", "hubert", "wavlm", "whisper", "ast")
CODECS = ("encodec", "encodec_stereo", "encodec_music", "dac", "dac_even")
SOUND_INPUTS = ("input_values", "input_features", "decoder_input_ids", "attention_mask")
SEQ2SEQ = ("t5", "flan_t5", "bart", "bart_bare", "bart_classifier", "marian", "marian_apart")


def relative(actual: Any, expected: np.ndarray) -> float:
    """Largest difference, over the largest value."""
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / np.abs(expected).max())


def cotangent(shape: tuple[int, ...]) -> nyala.Tensor:
    """The weights of the outputs whose gradients were frozen."""
    return nyala.tensor(np.cos(0.7 * np.arange(int(np.prod(shape))) + 0.3).reshape(shape).astype(np.float32))


def row(name: str, model: Any, frozen: dict[str, np.ndarray], inputs: dict[str, Any], reference: str) -> list[object]:
    """One line of the table."""
    out = model(**inputs)
    usual = ("last_hidden_state", "logits", "logits_per_image", "logits_per_audio")
    result = next((getattr(out, each) for each in usual if hasattr(out, each)), out)
    if hasattr(out, "start_logits"):
        result = nyala.stack([out.start_logits, out.end_logits], -1)
        frozen = {**frozen, "logits": np.stack([frozen["start_logits"], frozen["end_logits"]], -1)}
    kept = frozen["logits" if "logits" in frozen else "last_hidden_state"]
    # what stands at padding means nothing
    of_tokens = "attention_mask" in frozen and kept.shape[:2] == frozen["attention_mask"].shape
    rows = frozen["attention_mask"].astype(bool) if of_tokens else slice(None)
    forward = relative(result.detach().numpy()[rows], kept[rows])
    weights = cotangent(result.shape)
    if name.startswith((*ENCODERS, "bert_answers")) and of_tokens:
        weights = weights * nyala.tensor(rows.reshape(*rows.shape, *[1] * (kept.ndim - 2)).astype(np.float32))
    (result * weights).sum().backward()
    found = {n: p.grad for n, p in model.named_parameters()} | {"input": getattr(inputs.get("x"), "grad", None)}
    names = [k for k in frozen if k.startswith("grad.")]
    largest = max(np.abs(frozen[k]).max() for k in names)
    # gradients that are zero but for rounding say nothing
    real = [k for k in names if np.abs(frozen[k]).max() > 1e-5 * largest]
    worst = max(relative(found[ours(k.removeprefix("grad."), found)], frozen[k]) for k in real)
    return [name, reference, f"{forward:.1e}", f"{worst:.1e}", len(real)]


def ours(name: str, parameters: dict[str, Any]) -> str:
    """Our name of a parameter, where DeBERTa's head has two."""
    if name in parameters:
        return name
    return name.replace(
        "lm_predictions.lm_head.", "cls.predictions." if name.endswith("head.bias") else "cls.predictions.transform."
    )


def tiny() -> list[list[object]]:
    """The tiny random models of timm and transformers."""
    rows = [picture(name) for name in PICTURES]
    rows += [picture(name, reference) for name, reference in SEGMENTERS.items()]
    rows += [vision_transformer(name) for name in (*VITS, *DEPTHS)]
    rows.append(prompted())
    rows += [detector(name) for name in DETECTORS]
    rows += [towers(name) for name in TOWERS]
    heads = sorted(p.parent.name for p in (GOLDENS / "text").glob("*/goldens.safetensors"))
    for name in (*TEXTS, *(h for h in heads if h.startswith((*ENCODERS, "bert_answers")))):
        folder = GOLDENS / "text" / name
        frozen = checkpoint.load_file(folder / "goldens.safetensors")
        inputs = {k: nyala.from_numpy(frozen[k]) for k in ("input_ids", "attention_mask", "token_type_ids") if k in frozen}
        model = nyala.load(str(folder), task="feature-extraction").model
        rows.append(row(name, model, frozen, inputs, "transformers"))
    rows += [decoder(name) for name in (*DECODERS, *STRETCHED)] + [seq2seq(name) for name in SEQ2SEQ]
    heads = sorted(p.parent.name for p in (GOLDENS / "audio").glob("*/goldens.safetensors"))
    return rows + [speech(name) for name in heads if name.startswith(SPEECH)] + [codec(name) for name in CODECS]


def codec(name: str) -> list[object]:
    """The line of a tiny random codec: frames and the sound after its codes, which are the reference's without exception."""
    folder = GOLDENS / "audio" / name
    frozen = checkpoint.load_file(folder / "goldens.safetensors")
    model, sound = nyala.load(str(folder)).model, nyala.from_numpy(np.array(frozen["input_values"]))
    embeddings = model.encoder(sound[..., : getattr(model.config, "chunk_length", None)])
    if name.startswith("dac"):
        out = model(sound)
        heard, aim = out.audio_values, out.loss.sum()
    else:
        found = model.encode(sound)
        heard = model.decode(found.audio_codes, found.audio_scales, found.last_frame_pad_length)
        aim = (embeddings * cotangent(embeddings.shape)).sum()
    (aim + (heard * cotangent(heard.shape)).sum()).backward()
    pairs = ((embeddings, "embeddings"), (heard, "audio_values"))
    forward = max(relative(value.detach().numpy(), frozen[key]) for value, key in pairs)
    found = {f"grad.{n}": p.grad for n, p in model.named_parameters()}
    largest = max(np.abs(frozen[k]).max() for k in found)
    real = [k for k in found if np.abs(frozen[k]).max() > 1e-5 * largest]
    return [name, "transformers", f"{forward:.1e}", f"{max(relative(found[k], frozen[k]) for k in real):.1e}", len(real)]


def towers(name: str) -> list[object]:
    """The line of a tiny random CLIP, SigLIP or CLAP: the logits of each picture or sound and text, or of a classifier."""
    folder = GOLDENS / name
    frozen = checkpoint.load_file(folder / "goldens.safetensors")
    pipe = nyala.load(str(folder))
    names = ("pixel_values", "input_ids", "attention_mask", "input_features", "is_longer")
    inputs = {k: nyala.from_numpy(np.array(frozen[k])) for k in names if k in frozen}
    theirs = {k.removeprefix("grad."): v for k, v in frozen.items() if k.startswith("grad.")}
    ours = registry.get(registry.architecture_of(pipe.config)).key_map(pipe.config, list(theirs)).to_ours(theirs)
    kept = {"logits": frozen["logits"], **{f"grad.{k}": v for k, v in ours.items()}}
    return row(folder.name, pipe.model, kept, inputs, "transformers")


def picture(name: str, reference: str = "") -> list[object]:
    """The line of a tiny random model of pictures, whose gradients were frozen under the names in the file."""
    folder = GOLDENS / "vision" / name
    frozen = dict(checkpoint.load_file(folder / "goldens.safetensors"))
    pipe = nyala.load(str(folder))
    keys = registry.get(registry.architecture_of(pipe.config)).key_map(pipe.config, [])
    named = {k.removeprefix("grad."): v for k, v in frozen.items() if k.startswith("grad.")}
    kept = {f"grad.{k}": v for k, v in keys.to_ours(named).items()} | {"logits": frozen["logits"]}
    reference = reference or ("transformers" if "model_type" in pipe.config else "timm")
    return row(name, pipe.model, kept, {"x": nyala.tensor(frozen["input"], requires_grad=True)}, reference)


def vision_transformer(name: str) -> list[object]:
    """The line of a tiny random vision transformer, whose gradients were frozen under the names in the file."""
    folder = GOLDENS / "vision" / name
    frozen = checkpoint.load_file(folder / "goldens.safetensors")
    pipe = nyala.load(str(folder))
    theirs = {k.removeprefix("grad."): v for k, v in frozen.items() if k.startswith("grad.")}
    ours = registry.get(registry.architecture_of(pipe.config)).key_map(pipe.config, list(theirs)).to_ours(theirs)
    kept = {"logits": frozen["logits"], **{f"grad.{k}": np.ascontiguousarray(v) for k, v in ours.items()}}
    reference = "transformers" if "model_type" in pipe.config else "timm"
    return row(name, pipe.model, kept, {"x": nyala.from_numpy(frozen["input"])}, reference)


def detector(name: str) -> list[object]:
    """The line of a tiny random detector: classes and boxes of a batch, of which DETR is told what fills it up."""
    folder = GOLDENS / "vision" / name
    frozen = checkpoint.load_file(folder / "goldens.safetensors")
    pipe = nyala.load(str(folder))
    out = pipe.model(*(nyala.from_numpy(np.array(frozen[k])) for k in ("input", "mask") if k in frozen))
    pairs = ((out.logits, frozen["logits"]), (out.pred_boxes, frozen["boxes"]))
    sum(((found * cotangent(found.shape)).sum() for found, _ in pairs), nyala.zeros(())).backward()
    forward = max(relative(found.detach(), kept) for found, kept in pairs)
    named, theirs = dict(pipe.model.named_parameters()), {k[5:]: v for k, v in frozen.items() if k.startswith("grad.")}
    kept = registry.get(registry.architecture_of(pipe.config)).key_map(pipe.config, list(theirs)).to_ours(theirs)
    largest = max(np.abs(v).max() for v in kept.values())
    # between answers that are nearly alike gradients cancel down to rounding
    real = {k: v for k, v in kept.items() if np.abs(v).max() > 1e-3 * largest}
    worst = max(relative(named[k].grad, v) for k, v in real.items())
    return [name, "transformers", f"{forward:.1e}", f"{worst:.1e}", len(real)]


def prompted() -> list[object]:
    """The line of a tiny random SAM, asked with points, boxes and masks at once; gradients are of the masks and their scores."""
    frozen = checkpoint.load_file(GOLDENS / "vision" / "sam" / "goldens.safetensors")
    model = nyala.load(str(GOLDENS / "vision" / "sam")).model
    names = {"pixel_values": "input"} | {f"input_{key}": key for key in ("points", "labels", "boxes", "masks")}
    out = model(**{ours: nyala.from_numpy(np.array(frozen[theirs])) for ours, theirs in names.items()})
    shift = nyala.tensor(np.cos(0.7 * np.arange(out.iou_scores.numel()) + 1.3).astype(np.float32))
    ((out.pred_masks * cotangent(out.pred_masks.shape)).sum() + (out.iou_scores.flatten() * shift).sum()).backward()
    pairs = ((out.pred_masks, "all.masks"), (out.iou_scores, "all.iou"))
    forward = max(relative(found.detach(), frozen[key]) for found, key in pairs)
    named = dict(model.named_parameters())
    kept = {k.removeprefix("grad."): v for k, v in frozen.items() if k.startswith("grad.")}
    largest = max(np.abs(v).max() for v in kept.values())
    real = {k: v for k, v in kept.items() if np.abs(v).max() > 1e-5 * largest}
    worst = max(relative(named[k].grad, v) for k, v in real.items())
    return ["sam", "transformers", f"{forward:.1e}", f"{worst:.1e}", len(real)]


def speech(name: str) -> list[object]:
    """The line of a tiny random model of sounds; its results at padding are transformers' too."""
    folder = GOLDENS / "audio" / name
    frozen = dict(checkpoint.load_file(folder / "goldens.safetensors"))
    inputs = {k: nyala.from_numpy(np.array(frozen[k])) for k in SOUND_INPUTS if k in frozen}
    kept = frozen["logits" if "logits" in frozen else "last_hidden_state"]
    frozen["attention_mask"] = np.ones(kept.shape[:2], np.int64)
    return row(name, nyala.load(str(folder)).model, frozen, inputs, "transformers")


def decoder(name: str) -> list[object]:
    """The line of a tiny random decoder, whose gradients were frozen without a mask, under the names in the file."""
    folder = GOLDENS / "text" / name
    frozen = dict(checkpoint.load_file(folder / "goldens.safetensors"))
    pipe = nyala.load(str(folder))
    module = registry.get(registry.architecture_of(pipe.config))
    ours = module.key_map(pipe.config, []).to_ours(
        {k.removeprefix("grad."): v for k, v in frozen.items() if k.startswith("grad.")}
    )
    kept = {f"grad.{k}": np.ascontiguousarray(v) for k, v in ours.items()}
    kept |= {"logits": frozen["plain.logits"], "attention_mask": np.ones(frozen["plain.logits"].shape[:2], np.int64)}
    return row(name, pipe.model, kept, {"input_ids": nyala.from_numpy(np.array(frozen["input_ids"]))}, "transformers")


def seq2seq(name: str) -> list[object]:
    """The line of a tiny random encoder-decoder, whose gradients were frozen without a mask."""
    folder = GOLDENS / "text" / name
    frozen = dict(checkpoint.load_file(folder / "goldens.safetensors"))
    wanted = ["input_ids", "decoder_input_ids"]
    plain = next((key for key in frozen if key.startswith("plain.")), None)
    if plain is None:
        wanted = ["input_ids", "attention_mask"]
    else:
        frozen[plain.removeprefix("plain.")] = frozen[plain]
        frozen["attention_mask"] = np.ones(frozen[plain].shape[:2], np.int64)
    inputs = {k: nyala.from_numpy(np.array(frozen[k])) for k in wanted}
    return row(name, nyala.load(str(folder)).model, frozen, inputs, "transformers")


def published() -> list[list[object]]:
    """The published weights: golden answers of their cards."""
    lite, mini, dino = (nyala.load(name) for name in ("tf_efficientnet_lite0", "all-MiniLM-L6-v2", "dinov2-small-focus"))
    c, i, j = np.meshgrid(np.arange(3), np.arange(224), np.arange(224), indexing="ij")
    waves = (np.sin(0.1 * (c + 1) * i) * np.cos(0.07 * (c + 1) * j)).astype(np.float32)
    rows: list[list[object]] = []
    for pipe, reference in ((lite, "timm"), (dino, "transformers")):
        golden = pipe.card.golden
        with nyala.no_grad():
            said = pipe.model(nyala.from_numpy(waves[None])).numpy()[0, : len(golden.output)]
        rows.append([f"{pipe.name} (published)", reference, f"{relative(said, np.array(golden.output)):.1e}", "-", "-"])
    frozen = checkpoint.load_file(GOLDENS / "real" / "minilm.safetensors")["embeddings"]

    sentences = json.loads(checkpoint.read_header(GOLDENS / "real" / "minilm.safetensors").metadata["sentences"])
    rows.append(["all-MiniLM-L6-v2 (published)", "transformers", f"{relative(mini(sentences).array, frozen):.1e}", "-", "-"])
    return rows


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", action="store_true", help="also the published weights (fetched if need be)")
    args = parser.parse_args()
    rows = tiny() + (published() if args.weights else [])
    print(table(["model", "reference", "forward", "worst gradient", "gradients"], rows))


if __name__ == "__main__":
    main()

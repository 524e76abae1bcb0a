"""``nyala.compile`` gives every architecture's eager bits, with each call's own numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.hub import registry

GOLDENS = Path(__file__).parent / "goldens"
NAMES = sorted(str(p.parent.relative_to(GOLDENS)) for p in GOLDENS.glob("*/*/config.json"))
NAMES.remove("text/gemma3_pictures")  # a file that holds more than the model which is read from it
GIVEN = ("input_ids", "attention_mask", "token_type_ids", "decoder_input_ids", "input_values", "input_features", "pixel_values")
ALONE = ("input", "frames", "samples")  # what goldens call the one argument of a model
CALLS = 4  # two that are recorded, two from the record
# run as they stand, for a reason that is told
EAGER = dict.fromkeys(("audio/vits", "audio/vits_voices"), "the result holds a NumPy array")
# those that a GPU captures: with tables that depend on shapes, masks that are not looked at, running statistics
CAPTURED = (
    *("audio/ast", "audio/dac", "audio/encodec_stereo", "audio/hubert", "audio/silero_vad", "audio/wavlm", "audio/whisper"),
    *("text/bart", "text/bart_classifier", "text/t5", "vision/beit", "vision/clip", "vision/detr", "vision/dinov3"),
    *("vision/resnet_basic", "vision/sam", "vision/swin_bare"),
)


def config_of(name: str) -> dict[str, Any]:
    return json.loads((GOLDENS / name / "config.json").read_text())  # type: ignore[no-any-return]


def given(name: str) -> tuple[list[Any], dict[str, Any]]:
    """The golden's arguments, by position or by name."""
    golden = checkpoint.load_file(GOLDENS / name / "goldens.safetensors")
    named = {key: golden[key] for key in GIVEN if key in golden}
    return ([], named) if named else ([next(golden[key] for key in ALONE if key in golden)], {})


def varied(array: Any, call: int) -> Any:
    """Another call's numbers; tokens and masks stay what they are."""
    return nyala.tensor(array * np.float32(1 - 0.1 * call) if array.dtype == np.float32 else array)


def bits(out: Any) -> list[bytes]:
    """Every tensor in a model's result."""
    if isinstance(out, nyala.Tensor):
        return [out.detach().cpu().numpy().tobytes()]
    inner = out if isinstance(out, (list, tuple)) else list(vars(out).values()) if hasattr(out, "__dataclass_fields__") else []
    return [found for value in inner for found in bits(value)]


@pytest.mark.parametrize("name", NAMES)
def test_bits_are_those_of_the_eager_call(name: str) -> None:
    config = config_of(name)
    nyala.manual_seed(3)
    model = registry.get(registry.architecture_of(config)).build(config).eval()
    run, (alone, named) = nyala.compile(model), given(name)
    with nyala.no_grad():
        for call in range(CALLS):
            arguments = [varied(a, call) for a in alone], {k: varied(a, call) for k, a in named.items()}
            nyala.manual_seed(call)
            expected = bits(model(*arguments[0], **arguments[1]))
            nyala.manual_seed(call)
            assert expected and bits(run(*arguments[0], **arguments[1])) == expected, call
    assert run.runs == (0 if name in EAGER else CALLS - 2), run.explain()
    assert EAGER.get(name, "") in run.explain()


@pytest.mark.parametrize("name", CAPTURED)
def test_a_gpu_captures_the_call(name: str, cuda: str) -> None:
    config = config_of(name)
    nyala.manual_seed(3)
    model = registry.get(registry.architecture_of(config)).build(config).eval().to(cuda)
    run, (alone, named) = nyala.compile(model), given(name)
    with nyala.no_grad():
        for call in range(CALLS):
            arguments = [varied(a, call).to(cuda) for a in alone], {k: varied(a, call).to(cuda) for k, a in named.items()}
            found = run(*arguments[0], **arguments[1])
        assert bits(found) == bits(model(*arguments[0], **arguments[1])) != []
    assert run.runs == 1, run.explain()


def floats(out: Any) -> list[Any]:
    """What a loss can be made of, in a model's result."""
    if isinstance(out, nyala.Tensor):
        return [out] if out.requires_grad else []
    inner = out if isinstance(out, (list, tuple)) else list(vars(out).values()) if hasattr(out, "__dataclass_fields__") else []
    return [found for value in inner for found in floats(value)]


def trained(name: str, device: str, compiled: bool) -> Any:
    """What some steps of training give and leave behind, running statistics too; and the step."""
    config = config_of(name)
    nyala.manual_seed(3)
    model = registry.get(registry.architecture_of(config)).build(config).train().to(device)
    optimizer = nyala.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step(*alone: Any, **named: Any) -> Any:
        optimizer.zero_grad()
        loss = sum([(out**2).mean() for out in floats(model(*alone, **named))])
        loss.backward()
        optimizer.step()
        return loss.detach()

    run, (alone, named), losses = nyala.compile(step) if compiled else step, given(name), []
    nyala.manual_seed(7)
    for call in range(5):
        arguments = [varied(a, call).to(device) for a in alone], {k: varied(a, call).to(device) for k, a in named.items()}
        losses.append(run(*arguments[0], **arguments[1]))
    return bits([*losses, *model.parameters(), *model.buffers()]), run


@pytest.mark.parametrize("name", ["audio/whisper_classifier", "text/gpt2", "text/t5", "vision/resnet_basic"])
def test_a_gpu_captures_a_step_of_training(name: str, cuda: str) -> None:
    expected, _ = trained(name, cuda, False)
    got, run = trained(name, cuda, True)
    assert run.runs == 2 and "CUDA graphs     1, 0 call(s)" in run.explain(), run.explain()
    assert got == expected


def test_every_architecture_is_tried() -> None:
    tried = {registry.import_path(registry.architecture_of(config_of(name))).removeprefix("nyala.") for name in NAMES}
    assert tried == set(registry.ARCHITECTURES.values())

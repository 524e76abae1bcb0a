"""What is RegNet's own: the line of widths."""

from __future__ import annotations

from typing import Any

import pytest
from nyala.errors import NyalaError
from nyala.vision.models import regnet

# (blocks, width, channels of a group) of each stage, as timm computes them
STAGES: dict[str, list[tuple[int, int, int]]] = {
    "regnetx_004_tv": [(1, 32, 16), (2, 64, 16), (7, 160, 16), (12, 400, 16)],
    "regnetx_080": [(2, 80, 80), (5, 240, 120), (15, 720, 120), (1, 1920, 120)],
    "regnety_006": [(1, 48, 16), (3, 112, 16), (7, 256, 16), (4, 608, 16)],
    "regnety_008_tv": [(1, 64, 16), (3, 144, 16), (8, 320, 16), (2, 784, 16)],
    "regnety_080": [(2, 168, 56), (4, 448, 56), (10, 896, 56), (1, 2016, 56)],
    "regnety_080_tv": [(2, 224, 56), (4, 448, 56), (10, 896, 56), (1, 2016, 56)],
    "regnety_320": [(2, 232, 232), (5, 696, 232), (12, 1392, 232), (1, 3712, 232)],
    "regnety_2560": [(2, 746, 373), (7, 1492, 373), (17, 4103, 373), (1, 10444, 373)],
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_are_timms(name: str) -> None:
    assert regnet.Config.from_dict({"architecture": name}).stages() == STAGES[name]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"architecture": "regnety_033"}, "did you mean 'regnety_032'"),
        ({"architecture": "regnety_032", "model_args": {"wm": 1.0}}, "wm=1.0.*use wa >= 0 and wm > 1"),
        ({"architecture": "regnety_032", "model_args": {"w0": 81}}, "a multiple of 8"),
        ({"model_type": "regnet", "layer_type": "z"}, "layer_type='z'"),
        ({"model_type": "regnet", "hidden_act": "silu"}, "hidden_act='silu'"),
    ],
)
def test_bad_configurations(config: dict[str, Any], text: str) -> None:
    with pytest.raises(NyalaError, match=text):
        regnet.build(config)

"""Policies draw from torchvision's tables, and each change gives torchvision's values on PIL images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from nyala import checkpoint, random
from nyala.core import kernels
from nyala.vision import transforms as T
from nyala.vision.transforms import policies
from nyala.vision.transforms.chance import dirichlet, gamma
from nyala.vision.transforms.warps import affine_inverse, perspective_inverse

GOLDENS = Path(__file__).parents[2] / "goldens" / "transforms"
SAID = json.loads((GOLDENS / "torchvision.json").read_text())


@pytest.fixture(scope="module")
def frozen() -> dict[str, np.ndarray]:
    return checkpoint.load_file(GOLDENS / "torchvision.safetensors")


@pytest.mark.parametrize("name", policies.CHANGES)
def test_each_change_equals_torchvisions(name: str, frozen: dict[str, np.ndarray]) -> None:
    tried = 0
    for case, expected in frozen.items():
        if case.startswith(f"change.{name}."):
            strength, _, filter_ = case.removeprefix(f"change.{name}.").rpartition(".")
            policy = T.RandAugment(interpolation=filter_, fill=(9, 8, 7))
            drawn = policies.CHANGES.index(name), float(strength)
            assert np.array_equal(policy.pixels(frozen["picture"][None], [drawn])[0], expected), case
            moved = policy.moved(T.Sample(frozen["picture"], boxes=[[3, 3, 20, 20]]), drawn)
            assert np.array_equal(moved.image, expected), case
            tried += 1
    assert tried >= 3


def test_the_strengths_are_torchvisions(frozen: dict[str, np.ndarray]) -> None:
    height, width = frozen["picture"].shape[:2]
    most = 150.0 / 331.0 * width, 150.0 / 331.0 * height
    spaces = {
        "RandAugment": policies.strengths(31, 0.3, most, 30.0, 0.9, (8, 4)),
        "TrivialAugmentWide": T.TrivialAugmentWide().space,
        "AutoAugment": {**policies.strengths(10, 0.3, most, 30.0, 0.9, (8, 4)), "Invert": None},
        "AugMix": policies.strengths(10, 0.3, (width / 3.0, height / 3.0), 30.0, 0.9, (4, 4)),
    }
    for policy, space in spaces.items():
        theirs = {name.split(".")[2]: v for name, v in frozen.items() if name.startswith(f"space.{policy}.")}
        assert set(space) - {"Identity"} == set(theirs) - {"Identity"}
        for name, levels in theirs.items():
            ours = space[name]
            assert levels.tolist() == ([0.0] if ours is None else ours.tolist()), (policy, name)
            assert (name in SAID["signed"][policy]) == (name not in policies._UNSIGNED)


def test_autoaugments_pairs_are_the_published_ones() -> None:
    for policy, theirs in SAID["policies"].items():
        ours = [[[name, chance, level] for name, chance, level in pair] for pair in T.AutoAugment(policy).pairs]
        assert ours == [[[name, chance, level or 0] for name, chance, level in pair] for pair in theirs]


def test_warps_equal_torchvisions(frozen: dict[str, np.ndarray]) -> None:
    picture = frozen["picture"]
    inverses = {f"affine.{k}": affine_inverse((15.5, 12), *case) for k, case in enumerate(SAID["affine"])}
    for k, corners in enumerate(SAID["perspective"]):
        inverses[f"perspective.{k}"] = perspective_inverse(np.array(SAID["corners"]), np.array(corners))
    for case, numbers in inverses.items():
        fill = np.array([1, 2, 3], np.uint8)
        ours = kernels.of(picture).warp_bytes(picture[None], np.array([numbers]), picture.shape[:2], "bilinear", fill)
        assert np.array_equal(ours[0], frozen[case]), case


def test_blur_is_torchvisions_to_a_level(frozen: dict[str, np.ndarray]) -> None:
    for k, (size, sigma) in enumerate(SAID["blur"]):
        ours = T.GaussianBlur(tuple(size), (sigma[0], sigma[0]))(frozen["picture"])
        difference = np.abs(ours.astype(int) - frozen[f"blur.{k}"])
        assert difference.max() <= 1 and (difference > 0).mean() < 0.25
    assert (T.GaussianBlur(7)(np.full((9, 9, 3), 255, np.uint8)) == 255).all()


@pytest.mark.parametrize("policy", [T.RandAugment(), T.TrivialAugmentWide(), T.AutoAugment()], ids=repr)
def test_every_change_is_drawn_to_both_sides(policy: policies._Policy) -> None:
    seen: dict[str, set[bool]] = {}
    for n in range(1500):
        drawn = policy.draw(random.key(0, "augment", n), 24, 31)
        for number, strength in zip(drawn[::2], drawn[1::2], strict=True):
            seen.setdefault(policies.CHANGES[int(number)], set()).add(strength < 0)
    wanted = {"RandAugment": 14, "TrivialAugmentWide": 14, "AutoAugment": 10}[type(policy).__name__]
    assert len(seen) == wanted
    assert all(len(seen[name]) == 2 for name in ("ShearX", "Rotate", "Color") if name in seen)
    assert all(seen[name] == {False} for name in ("Posterize", "Solarize", "Equalize") if name in seen)


def test_augmix_mixes_what_it_says() -> None:
    """With one chain the result lies between the picture and the changed one."""
    picture = np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype=np.uint8)
    mix, between = T.AugMix(mixture_width=1, chain_depth=2), 0
    for key in (random.key(1, "augment", n) for n in range(8)):
        changed = mix.chain.pixels(picture[None], [mix._chain(key.fold("chain", 0), 24, 31)])[0]
        low, high = np.minimum(picture, changed), np.maximum(picture, changed)
        mixed = mix(picture, key)
        assert ((mixed >= np.maximum(low, 1) - 1) & (mixed <= high)).all()
        between += bool((mixed != picture).any() and (mixed != changed).any())
    assert between >= 5


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_draws_have_their_distributions(alpha: float) -> None:
    drawn = gamma(random.key(0, "test"), alpha, 40_000)
    assert abs(drawn.mean() - alpha) < 0.05 * max(alpha, 0.5) and abs(drawn.var() - alpha) < 0.1 * max(alpha, 0.5)
    shares = np.stack([dirichlet(random.key(0, "test", n), alpha, 3) for n in range(800)])
    assert np.allclose(shares.sum(axis=1), 1) and np.abs(shares.mean(axis=0) - 1 / 3).max() < 0.06

"""Windows of attention: padded, shifted and put back, and who sees whom."""

from __future__ import annotations

import numpy as np
import nyala
import pytest
from nyala.core.nn.windows import PatchMerging, WindowBlock


def sample(*shape: int) -> nyala.Tensor:
    return nyala.tensor(np.random.default_rng(1).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("pads_first", [False, True])
def test_windows_are_padded_shifted_and_put_back(pads_first: bool) -> None:
    block = WindowBlock(4, 2, (3, 3), True, pads_first=pads_first).eval()
    x = sample(2, 7, 5, 4)
    with nyala.no_grad():
        block.attn.proj.weight.zero_()
        block.attn.proj.bias.zero_()
        block.mlp.fc2.weight.zero_()
        block.mlp.fc2.bias.zero_()
        assert np.array_equal(block(x).numpy(), x.numpy())


def touched(block: WindowBlock, row: int, column: int) -> set[tuple[int, int]]:
    """The places whose result depends on the one at (row, column)."""
    x = sample(1, 8, 8, 4)
    changed = x.numpy().copy()
    changed[0, row, column] += sample(4).numpy()
    with nyala.no_grad():
        apart = np.abs(block(x).numpy() - block(nyala.tensor(changed)).numpy()).max(-1)[0]
    return {(int(r), int(c)) for r, c in np.argwhere(apart > 0)}


def test_each_place_sees_its_window_alone() -> None:
    nyala.manual_seed(0)
    plain, moved = (WindowBlock(4, 2, (4, 4), shifted).eval() for shifted in (False, True))
    assert touched(plain, 1, 2) == {(r, c) for r in range(4) for c in range(4)}
    assert touched(moved, 3, 4) == {(r, c) for r in range(2, 6) for c in range(2, 6)}
    assert touched(moved, 0, 0) == {(r, c) for r in range(2) for c in range(2)}  # not those of the other end


def test_one_layer_for_queries_keys_and_values_or_three() -> None:
    one, three = WindowBlock(4, 2, (2, 2)).eval(), WindowBlock(4, 2, (2, 2), attention={"fused": False}).eval()
    state = one.state_dict()
    for kind in ("weight", "bias"):
        for role, part in zip("qkv", state.pop(f"attn.qkv.{kind}").chunk(3), strict=True):
            state[f"attn.{role}.{kind}"] = part
    three.load_state_dict(state)
    x = sample(1, 4, 4, 4)
    assert np.allclose(one(x).detach().numpy(), three(x).detach().numpy(), atol=1e-6)


def test_odd_sides_are_merged_with_zeros() -> None:
    merge, x = PatchMerging(2).eval(), sample(1, 3, 5, 2)
    filled = np.pad(x.numpy(), ((0, 0), (0, 1), (0, 1), (0, 0)))
    assert merge(x).shape == (1, 2, 3, 4)
    assert np.array_equal(merge(x).detach().numpy(), merge(nyala.tensor(filled)).detach().numpy())

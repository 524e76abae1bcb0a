"""Key maps: there and back, collisions named, nothing lost."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nyala.core.errors import ArgumentError, CheckpointError
from nyala.core.keymap import Alias, Concat, Ignore, KeyMap, Prefix, Rename, Reshape, Split, Tied, Transpose, WeightNorm, Within


def numbers(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {
        name.replace("__", "."): np.arange(int(np.prod(shape))).reshape(shape) + i
        for i, (name, shape) in enumerate(shapes.items())
    }


def there_and_back(names: KeyMap, published: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    ours = names.to_ours(published)
    back = names.to_published(ours)
    assert back.keys() == published.keys()
    for name in back:
        np.testing.assert_array_equal(back[name], published[name])
    names.check_bijection(ours.keys(), [array.shape for array in ours.values()])
    return ours


def test_no_rules_pass_everything_on_untouched():
    published = numbers(a=(2,), b__c=())
    ours = KeyMap().to_ours(published)
    assert ours == published and ours is not published and ours["a"] is published["a"]


def test_rename_with_placeholders():
    names = KeyMap(Rename("encoder.layer.{i}.{rest...}", "blocks.{i}.{rest...}"))
    ours = there_and_back(names, numbers(encoder__layer__0__fc__weight=(2,), encoder__layer__12__norm__bias=(3,), pooler=(1,)))
    assert list(ours) == ["blocks.0.fc.weight", "blocks.12.norm.bias", "pooler"]


def test_one_placeholder_is_one_part_and_an_expression_narrows_it():
    names = KeyMap(Rename("a.{x}", "b.{x}"), Rename("n{i:[0-9]+}", "number.{i}"))
    assert list(there_and_back(names, numbers(a__w=(1,), a__w__v=(1,), n7=(1,), nx=(1,)))) == ["b.w", "a.w.v", "number.7", "nx"]


def test_placeholders_may_change_their_order():
    ours = there_and_back(KeyMap(Rename("{kind}.{i}.w", "{i}.{kind}.w")), numbers(q__0__w=(1,), k__1__w=(1,)))
    assert list(ours) == ["0.q.w", "1.k.w"]


def test_neighbouring_renames_act_at_once_so_names_can_be_swapped():
    names = KeyMap(Rename("bn0.{x}", "bn1.{x}"), Rename("bn1.{x}", "bn2.{x}"), Rename("a", "b"), Rename("b", "a"))
    ours = there_and_back(names, {**numbers(bn0__w=(1,), bn1__w=(2,)), **numbers(a=(3,), b=(4,))})
    assert {name: array.shape for name, array in ours.items()} == {"bn1.w": (1,), "bn2.w": (2,), "b": (3,), "a": (4,)}


def test_the_first_rename_that_fits_wins_and_the_way_back_knows_it():
    names = KeyMap(Rename("layer.0.{x}", "stem.{x}"), Rename("layer.{i}.{x}", "block.{i}.{x}"))
    assert list(there_and_back(names, numbers(layer__0__w=(1,), layer__1__w=(1,)))) == ["stem.w", "block.1.w"]
    # layer.0.w would be read as stem.w: the only name that is read as block.0.w is itself
    assert list(names.to_published(numbers(stem__w=(1,), block__0__w=(1,)))) == ["layer.0.w", "block.0.w"]
    with pytest.raises(CheckpointError, match=r"no published name is read as 'layer\.1\.w'"):
        names.to_published(numbers(layer__1__w=(1,)))


def test_other_rules_between_renames_keep_their_order():
    names = KeyMap(Rename("a.{x}", "b.{x}"), Transpose("b.w"), Rename("b.{x}", "c.{x}"))
    ours = there_and_back(names, numbers(a__w=(2, 3), a__v=(2, 3)))
    assert {name: array.shape for name, array in ours.items()} == {"c.w": (3, 2), "c.v": (2, 3)}


@pytest.mark.parametrize(
    ("published", "ours", "carried"),
    [("bert.", False, True), ("", False, False), ("bert.", True, True), ("", True, True)],
)
def test_a_prefix_is_read_with_and_without(published, ours, carried):
    names = KeyMap(Prefix("bert.", ours=ours, written=carried, outside=["classifier.*"]))
    made = names.to_ours({f"{published}encoder.w": np.zeros(1), "classifier.w": np.ones(1)})
    assert list(made) == ["bert.encoder.w" if ours else "encoder.w", "classifier.w"]
    assert list(names.to_published(made)) == ["bert.encoder.w" if carried else "encoder.w", "classifier.w"]
    names.check_bijection(made.keys(), [(1,), (1,)])


def test_a_part_has_a_map_of_its_own():
    names = KeyMap(Within("backbone.", KeyMap(Rename("layer.{i}.{p}", "blocks.{i}.{p}"))), Rename("neck.{p}", "neck.conv.{p}"))
    ours = there_and_back(names, numbers(backbone__layer__0__w=(2,), layer__0__w=(2,), neck__w=(1,)))
    assert set(ours) == {"backbone.blocks.0.w", "layer.0.w", "neck.conv.w"}


def test_a_name_with_and_without_its_prefix_is_a_collision():
    with pytest.raises(CheckpointError, match=r"'w' and 'bert\.w' both become 'w': one of them would be lost"):
        KeyMap(Prefix("bert.")).to_ours(numbers(w=(1,), bert__w=(1,)))


def test_a_rename_onto_a_name_that_is_there_is_a_collision():
    with pytest.raises(CheckpointError, match="'b' and 'a' both become 'b'"):
        KeyMap(Rename("a", "b")).to_ours(numbers(b=(1,), a=(1,)))
    with pytest.raises(CheckpointError, match=r"'x\.gamma' and 'x\.weight' both become 'x\.weight'"):
        KeyMap(Alias("{x...}.gamma", "{x...}.weight")).to_ours(numbers(x__gamma=(1,), x__weight=(1,)))


def test_an_alias_is_read_and_never_written():
    names = KeyMap(
        Alias("{x...}.LayerNorm.gamma", "{x...}.LayerNorm.weight"), Alias("{x...}.LayerNorm.beta", "{x...}.LayerNorm.bias")
    )
    ours = names.to_ours(numbers(a__b__LayerNorm__gamma=(2,), a__b__LayerNorm__beta=(2,), c__LayerNorm__weight=(2,)))
    assert list(ours) == ["a.b.LayerNorm.weight", "a.b.LayerNorm.bias", "c.LayerNorm.weight"]
    assert names.to_published(ours).keys() == ours.keys()
    names.check_bijection(ours, [(2,)] * 3)


def test_transpose_is_a_view_and_knows_its_inverse():
    names = KeyMap(Transpose("*.c_fc.weight"), Transpose("conv.*", (2, 0, 1)))
    published = numbers(h__c_fc__weight=(2, 3), h__c_fc__bias=(3,), conv__w=(4, 5, 6))
    ours = there_and_back(names, published)
    assert [array.shape for array in ours.values()] == [(3, 2), (3,), (6, 4, 5)]
    assert np.shares_memory(ours["h.c_fc.weight"], published["h.c_fc.weight"])
    np.testing.assert_array_equal(ours["conv.w"], published["conv.w"].transpose(2, 0, 1))


def test_a_transpose_that_does_not_fit_names_tensor_and_shape():
    with pytest.raises(
        CheckpointError, match=r"tensor 'a.w' of shape \(3,\) cannot be transposed: the rule 'a\.\*' needs 2 or more"
    ):
        KeyMap(Transpose("a.*")).to_ours(numbers(a__w=(3,)))
    with pytest.raises(CheckpointError, match="needs 3 axes"):
        KeyMap(Transpose("a.*", (2, 0, 1))).to_ours(numbers(a__w=(3, 3)))
    with pytest.raises(ArgumentError, match="each of 0, 1"):
        Transpose("a.*", (1, 2))


QKV = ["{x...}.q.{p}", "{x...}.k.{p}", "{x...}.v.{p}"]


@pytest.mark.parametrize("dtype", ["float32", ml_dtypes.bfloat16])
def test_a_fused_tensor_is_split_and_joined(dtype):
    fused = {name: a.astype(dtype) for name, a in numbers(a__0__qkv__weight=(6, 2), a__0__qkv__bias=(6,), a__0__out=(1,)).items()}
    ours = there_and_back(KeyMap(Split("{x...}.qkv.{p}", QKV)), fused)
    assert list(ours) == [f"a.0.{part}.{p}" for p in ("weight", "bias") for part in "qkv"] + ["a.0.out"]
    np.testing.assert_array_equal(ours["a.0.k.weight"], fused["a.0.qkv.weight"][2:4])
    assert np.shares_memory(ours["a.0.k.weight"], fused["a.0.qkv.weight"])
    back = there_and_back(KeyMap(Concat(QKV, "{x...}.qkv.{p}")), ours)
    assert list(back) == list(fused) and back["a.0.qkv.bias"].dtype == np.dtype(dtype)


def test_parts_of_unequal_size_along_another_axis():
    names = KeyMap(Split("qkv.{p}", ["q.{p}", "k.{p}", "v.{p}"], axis=1, sizes=[4, 1, 1]))
    ours = there_and_back(names, numbers(qkv__w=(2, 6)))
    assert [array.shape for array in ours.values()] == [(2, 4), (2, 1), (2, 1)]


def test_splits_that_do_not_fit_say_why():
    names = KeyMap(Split("{x...}.qkv.{p}", QKV))
    with pytest.raises(
        CheckpointError, match=r"'a\.qkv\.w' of shape \(7, 2\) cannot be split along axis 0: the 3 parts have sizes"
    ):
        names.to_ours(numbers(a__qkv__w=(7, 2)))
    with pytest.raises(CheckpointError, match=r"cannot be split along axis 0"):
        names.to_ours(numbers(a__qkv__w=()))
    with pytest.raises(CheckpointError, match=r"'a\.qkv\.w' cannot be joined: 'a\.q\.w' is there, 'a\.k\.w' is not"):
        names.to_published(numbers(a__q__w=(2,), a__v__w=(2,)))
    with pytest.raises(
        CheckpointError, match=r"cannot be joined along axis 0: the parts are 'a\.q\.w' \(2, 2\), 'a\.k\.w' \(2, 3\)"
    ):
        names.to_published(numbers(a__q__w=(2, 2), a__k__w=(2, 3), a__v__w=(2, 2)))
    mixed = {**numbers(a__q__w=(2,), a__k__w=(2,)), "a.v.w": np.zeros(2, ml_dtypes.bfloat16)}
    with pytest.raises(CheckpointError, match=r"the parts have several dtypes: 'a\.q\.w' int64, .* 'a\.v\.w' bfloat16"):
        names.to_published(mixed)
    with pytest.raises(CheckpointError, match=r"'a\.q\.w' and 'a\.qkv\.w' both become"):
        names.to_ours(numbers(a__q__w=(2,), a__qkv__w=(6,)))
    with pytest.raises(ArgumentError, match="2 sizes for 3 parts"):
        Split("qkv", ["q", "k", "v"], sizes=[1, 2])


def test_parts_are_joined_in_the_rules_order_whatever_the_files_order():
    joined = KeyMap(Concat(QKV, "{x...}.qkv.{p}")).to_ours(
        {"a.v.w": np.array([3]), "a.q.w": np.array([1]), "a.k.w": np.array([2])}
    )
    assert {name: array.tolist() for name, array in joined.items()} == {"a.qkv.w": [1, 2, 3]}


def test_tied_tensors_are_filled_in_and_written_once():
    names = KeyMap(Tied("wte.weight", "lm_head.weight"))
    for file in (
        numbers(wte__weight=(2,)),
        numbers(lm_head__weight=(2,)),
        {**numbers(wte__weight=(2,)), "lm_head.weight": np.arange(2)},
    ):
        ours = names.to_ours(file)
        assert sorted(ours) == ["lm_head.weight", "wte.weight"] and ours["lm_head.weight"] is ours["wte.weight"]
        assert list(names.to_published(ours)) == ["wte.weight"]
    names.check_bijection(["wte.weight", "lm_head.weight", "b"], [(2,), (2,), ()])
    assert names.to_ours(numbers(b=(1,))).keys() == {"b"}
    with pytest.raises(CheckpointError, match=r"'wte\.weight' and 'lm_head\.weight' differ: the model ties them"):
        names.to_ours({"wte.weight": np.zeros(2), "lm_head.weight": np.ones(2)})


@pytest.mark.parametrize("written", ["old", "new"])
def test_weight_norm_is_read_in_both_spellings(written):
    names = KeyMap(WeightNorm(written))
    old = ["conv.weight_g", "conv.weight_v", "conv.bias"]
    new = ["conv.parametrizations.weight.original0", "conv.parametrizations.weight.original1", "conv.bias"]
    for spelling in (old, new):
        ours = names.to_ours({name: np.full(1, i) for i, name in enumerate(spelling)})
        assert list(ours) == new and [int(a[0]) for a in ours.values()] == [0, 1, 2]
        assert list(names.to_published(ours)) == (old if written == "old" else new)
    names.check_bijection(new, [(1,)] * 3)
    with pytest.raises(ArgumentError, match="it must be 'old' or 'new'"):
        WeightNorm("oldest")


def test_ignored_tensors_are_dropped_when_read():
    names = KeyMap(Ignore("*.num_batches_tracked", "embeddings.position_ids", "*.attn.masked_bias"))
    file = numbers(bn__num_batches_tracked=(), embeddings__position_ids=(2,), h__0__attn__masked_bias=(), bn__weight=(2,))
    assert list(names.to_ours(file)) == ["bn.weight"]
    names.check_bijection(["bn.weight", "bn.num_batches_tracked"], [(2,), ()])


@pytest.mark.parametrize("left", ["a.{x}.{y}", "a.{x}.{x}", "a"])
def test_templates_must_use_the_same_placeholders(left):
    for make in (Rename, Alias, lambda a, b: Split(a, [b]), lambda a, b: Concat([a], b)):
        with pytest.raises(ArgumentError, match="do not use the same placeholders, each once"):
            make(left, "b.{x}")
    with pytest.raises(ArgumentError, match="is no valid expression"):
        Rename("a.{x:[}", "b.{x}")


def test_special_characters_are_literal():
    ours = there_and_back(KeyMap(Rename("a+b.(w)", "c[0].$")), {"a+b.(w)": np.zeros(1), "aab.w": np.zeros(1)})
    assert list(ours) == ["c[0].$", "aab.w"]


def test_check_bijection_finds_what_is_lost_invented_or_changed():
    class Broken:
        def __init__(self, change):
            self.change = change

        def to_ours(self, arrays):
            return self.change(dict(arrays))

        def to_published(self, arrays):
            return arrays

    cases = {
        "ours: 'a' is lost": lambda arrays: {name: a for name, a in arrays.items() if name != "a"},
        "ours: 'c' is invented": lambda arrays: {**arrays, "c": np.zeros(1)},
        r"ours: 'a' of shape \(2, 2\) is changed": lambda arrays: {**arrays, "a": arrays["a"].T},
    }
    for text, change in cases.items():
        with pytest.raises(CheckpointError, match=text):
            KeyMap(Broken(change)).check_bijection(["a", "b"], [(2, 2), ()])


def test_a_real_map_of_a_published_model():
    """GPT-2's file: an optional prefix, Conv1D weights the other way round, fused attention, tied head, buffers."""
    attention = [f"{{x...}}.attn.{part}.{{p}}" for part in ("q", "k", "v")]
    names = KeyMap(
        Prefix("transformer.", outside=["lm_head.*"]),
        Ignore("h.*.attn.bias", "h.*.attn.masked_bias"),
        Transpose("*.c_*.weight"),
        Split("{x...}.attn.c_attn.{p}", attention),
        Rename("h.{i}.{rest...}", "blocks.{i}.{rest...}"),
        Tied("wte.weight", "lm_head.weight"),
    )
    file = numbers(
        transformer__h__0__attn__c_attn__weight=(4, 12),
        transformer__h__0__attn__c_attn__bias=(12,),
        transformer__h__0__mlp__c_fc__weight=(4, 16),
        transformer__h__0__attn__bias=(1, 1, 8, 8),
        transformer__wte__weight=(9, 4),
    )
    ours = names.to_ours(file)
    shapes = {name: array.shape for name, array in ours.items()}
    assert shapes == {
        **{f"blocks.0.attn.{part}.weight": (4, 4) for part in "qkv"},
        **{f"blocks.0.attn.{part}.bias": (4,) for part in "qkv"},
        "blocks.0.mlp.c_fc.weight": (16, 4),
        "wte.weight": (9, 4),
        "lm_head.weight": (9, 4),
    }
    del file["transformer.h.0.attn.bias"]
    back = names.to_published(ours)
    assert back.keys() == file.keys()
    assert all(np.array_equal(back[name], file[name]) for name in file)
    names.check_bijection(shapes.keys(), shapes.values())


PART = st.sampled_from(["a", "b", "w", "0", "1", "conv"])
NAMES = st.lists(st.lists(PART, min_size=1, max_size=4).map(".".join), min_size=1, max_size=8, unique=True)


@given(NAMES, st.lists(st.tuples(PART, PART), min_size=1, max_size=4))
def test_any_table_of_renames_is_undone_or_refused(names, pairs):
    """Whatever the rules, a name is never lost without a word."""
    table = KeyMap(*(Rename(f"{left}.{{rest...}}", f"{right}.{{rest...}}") for left, right in pairs))
    published = {name: np.array(i) for i, name in enumerate(names)}
    try:
        ours = table.to_ours(published)
    except CheckpointError as error:
        assert "both become" in str(error)
        return
    assert sorted(int(a) for a in ours.values()) == list(range(len(names)))
    try:
        back = table.to_published(ours)
    except CheckpointError as error:
        assert "no published name is read as" in str(error)
        return
    again = table.to_ours(back)
    assert {name: int(a) for name, a in again.items()} == {name: int(a) for name, a in ours.items()}


def test_reshape_gives_the_same_numbers_other_axes():
    names = KeyMap(Reshape("*.grn.*", published=(1, 1, 1, -1), ours=(-1,)))
    ours = there_and_back(names, numbers(a__grn__weight=(1, 1, 1, 5), a__norm__weight=(5,)))
    assert ours["a.grn.weight"].shape == ours["a.norm.weight"].shape == (5,)

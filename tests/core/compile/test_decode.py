"""Steps of one token are one CUDA graph, whose bits are those of the eager step; caches may grow, change and be taken back."""

from __future__ import annotations

from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.audio.models import whisper
from nyala.text.generation import GenerationConfig, LookupDraft, PrefixCache, generate
from nyala.text.models import bart, gpt2, llama, t5

# while a graph is captured, the stand-in's arrays hold NaN
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")

TINY: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 256},
}


def tiny(name: str, device: str) -> Any:
    nyala.manual_seed(3)
    module = {"llama": llama, "gpt2": gpt2}[name]
    return module.build({"vocab_size": 40, "initializer_range": 0.5, **TINY[name]}).eval().to(device)


def ids(*rows: list[int]) -> Any:
    return nyala.tensor(list(rows)).to("cuda")


class Text:
    """A text that goes on by a function, beside the same by the model itself."""

    def __init__(self, run: Any, model: Any, prompt: Any, **told: Any) -> None:
        self.run, self.model, self.told = run, model, told
        self.caches, self.own = model.new_caches(), model.new_caches()
        with nyala.inference_mode():
            for function, caches in ((run, self.caches), (model, self.own)):
                function(prompt, caches=caches, **told)

    def step(self, tokens: Any) -> None:
        with nyala.inference_mode():
            found = self.run(tokens, caches=self.caches, last=True, **self.told)
            wanted = self.model(tokens, caches=self.own, last=True, **self.told)
        assert found.cpu().numpy().tobytes() == wanted.cpu().numpy().tobytes()
        for cache, own in zip(self.caches, self.own, strict=True):
            assert cache.length == own.length and cache.place is None
            assert cache.keys.cpu().numpy().tobytes() == own.keys.cpu().numpy().tobytes()
            assert cache.values.cpu().numpy().tobytes() == own.values.cpu().numpy().tobytes()


@pytest.mark.parametrize("name", TINY)
def test_a_step_is_launched_and_texts_take_turns(cuda: str, name: str) -> None:
    model = tiny(name, cuda)
    run = nyala.compile(model)
    first, other = Text(run, model, ids([1, 2, 3], [4, 5, 6])), Text(run, model, ids([7] * 20, [8] * 20))
    for i in range(6):
        first.step(ids([i], [i + 1]))
    assert run.runs == 2 and "room for 64" in run.explain()
    for i in range(2):  # the other text's caches are moved into the room, the first one's out of it, and back
        other.step(ids([i], [9]))
        first.step(ids([i + 7], [2]))
    assert run.runs == 6
    first.caches[0].crop(5), first.own[0].crop(5), first.caches[1].crop(5), first.own[1].crop(5)
    first.step(ids([1], [2]))
    for cache in (*first.caches, *first.own):
        cache.select([1, 0])
    first.step(ids([1], [2]))
    assert run.runs == 8 and run.explain().count("signature ") == 1


@pytest.mark.parametrize("name", TINY)
def test_padded_texts_step_under_one_mask(cuda: str, name: str) -> None:
    model = tiny(name, cuda)
    run = nyala.compile(model)
    mask = np.ones((2, 90), np.int64)
    mask[0, :3] = 0
    prompt = nyala.from_numpy(mask[:, :5]).to(cuda)
    text = Text(run, model, ids([0, 0, 0, 1, 2], [3, 4, 5, 6, 7]), attention_mask=prompt)
    text.told = {"attention_mask": nyala.from_numpy(mask).to(cuda)}
    for i in range(5):
        text.step(ids([i], [i + 1]))
    assert run.runs == 1


def test_a_full_room_gives_way_to_a_larger_one(cuda: str) -> None:
    model = tiny("llama", cuda)
    run = nyala.compile(model)
    text = Text(run, model, ids([1] * 58))
    for i in range(12):
        text.step(ids([i]))
    said = run.explain()
    assert run.runs == 5 and "room for 64" in said and "captured anew, the caches need room for 128" in said
    run.reset()
    text.step(ids([3]))
    assert run.runs == 0


class TestRunsAsItStands:
    def said(self, model: Any, run: Any, **more: Any) -> str:
        text = Text(run, model, ids([1, 2, 3]), **more)
        for i in range(5):
            text.step(ids([i]))
        assert run.runs == 0
        return run.explain()

    def test_with_gradients_and_with_several_tokens(self, cuda: str) -> None:
        model = tiny("llama", cuda)
        run, caches = nyala.compile(model), model.new_caches()
        for _ in range(2):
            run(ids([1]), caches=caches)
        assert "gradients are recorded" in run.explain()
        with nyala.no_grad():
            for cache in caches:
                cache.keys, cache.values = cache.keys.detach(), cache.values.detach()
            for _ in range(4):
                run(ids([1, 2, 3]), caches=caches)
        assert run.runs == 0 and "other than one step" in run.explain()

    def test_behind_a_sliding_cache(self, cuda: str) -> None:
        model = tiny("llama", cuda)
        model.new_caches = lambda: [nn.KVCache(), nn.SlidingKVCache(4)]
        assert "a SlidingKVCache lets go of steps" in self.said(model, nyala.compile(model))

    def test_with_angles_that_change(self, cuda: str) -> None:
        nyala.manual_seed(3)
        scaling = {"rope_type": "dynamic", "factor": 2.0}
        model = llama.build({"vocab_size": 40, "rope_scaling": scaling, **TINY["llama"]}).eval().to(cuda)
        assert "angles that change with the length" in self.said(model, nyala.compile(model))

    def test_on_the_processor(self) -> None:
        model = tiny("llama", "cpu")
        run, caches = nyala.compile(model), model.new_caches()
        with nyala.no_grad():
            for _ in range(3):
                run(nyala.tensor([[1]]), caches=caches)
        assert "captured on GPUs alone" in run.explain() and caches[0].length == 3

    def test_with_caches_that_are_no_arguments(self, cuda: str) -> None:
        model = tiny("gpt2", cuda)
        caches, own = model.new_caches(), model.new_caches()
        run = nyala.compile(lambda tokens: model(tokens, caches=caches, last=True))
        with nyala.inference_mode():
            for i in range(5):
                found, wanted = run(ids([i])), model(ids([i]), caches=own, last=True)
                assert found.cpu().numpy().tobytes() == wanted.cpu().numpy().tobytes()
        assert run.runs == 0 and caches[0].length == 5 and "no argument of the call" in run.explain()

    def test_not_where_caches_are_made_in_the_call(self, cuda: str) -> None:
        model = tiny("llama", cuda)

        def two(tokens: Any) -> Any:
            caches = model.new_caches()
            model(tokens, caches=caches)
            return model(tokens, caches=caches, last=True)

        run = nyala.compile(two)
        with nyala.inference_mode():
            for i in range(5):
                assert run(ids([i])).cpu().numpy().tobytes() == two(ids([i])).cpu().numpy().tobytes()
        assert run.runs == 2

    def test_where_the_number_of_steps_is_read(self, cuda: str) -> None:
        model = tiny("llama", cuda)

        def scaled(tokens: Any, caches: Any, last: bool = False) -> Any:
            return model(tokens, caches=caches, last=last) * (caches[0].length + 1.0)

        model_like = type("Like", (), {"__call__": staticmethod(scaled), "new_caches": staticmethod(model.new_caches)})()
        assert "reads the length of its KVCache" in self.said(model_like, nyala.compile(scaled))


class TestGenerating:
    PROMPTS = ([1, 2, 3], [4, 5], [6, 7, 8, 9])

    @pytest.mark.parametrize(
        ("name", "settings"),
        [("llama", {}), ("gpt2", {"temperature": 1.0, "top_k": 20, "num_return_sequences": 2}), ("llama", {"num_beams": 2})],
    )
    def test_texts_are_those_of_the_model(self, cuda: str, name: str, settings: dict[str, Any]) -> None:
        model = tiny(name, cuda)
        run, config = nyala.compile(model), GenerationConfig(max_new_tokens=9, logprobs=0, **settings)
        for prompts in (self.PROMPTS, self.PROMPTS[:1]):
            found, wanted = (generate(m, prompts, config, ends=[11]) for m in (run, model))
            assert [(g.tokens, g.finish, g.logprobs) for g in found] == [(g.tokens, g.finish, g.logprobs) for g in wanted]
        assert run.runs > 1

    def test_guesses_are_taken_back(self, cuda: str) -> None:
        model = tiny("llama", cuda)
        config = GenerationConfig(max_new_tokens=12)
        prefix, run = PrefixCache(2), nyala.compile(model)
        for ids in ([1, 2, 3, 1, 2], [1, 2, 3, 9, 9]):
            wanted = generate(model, [ids], config)[0].tokens
            assert generate(run, [ids], config, draft=LookupDraft(count=2))[0].tokens == wanted
            assert generate(run, [ids], config, prefix=prefix)[0].tokens == wanted
        assert run.runs > 5 and prefix.saved == 3


READERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "bart": (bart, {"d_model": 8, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 32}),
    "t5": (t5, {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}),
    "whisper": (
        whisper,
        {
            "d_model": 8, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "num_mel_bins": 4, "max_source_positions": 3,
            "max_target_positions": 32, "pad_token_id": 0,
        },
    ),
}  # fmt: skip
_LAYERS = {f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in (("layers", 1), ("attention_heads", 2))}


@pytest.mark.parametrize("name", READERS)
def test_decoders_behind_encoders_step_too(cuda: str, name: str) -> None:
    module, sizes = READERS[name]
    nyala.manual_seed(5)
    model = module.build({"vocab_size": 30, **sizes, **({} if name == "t5" else _LAYERS)}).eval().to(cuda)
    run = nyala.compile(model)
    for seed in range(2):  # the second source takes the first one's room
        rng = np.random.default_rng(seed)
        heard = nyala.from_numpy(rng.standard_normal((2, 3, 8), dtype=np.float32)).to(cuda)
        caches, own = model.new_caches(), model.new_caches()
        with nyala.inference_mode():
            for i in range(6):
                told = {"decoder_input_ids": ids([i + 1], [i + 2]), "encoder_outputs": heard, "last": True}
                found, wanted = run(caches=caches, **told), model(caches=own, **told)
                assert found.cpu().numpy().tobytes() == wanted.cpu().numpy().tobytes()
                assert caches.length == own.length == i + 1
    assert run.runs == 6, run.explain()

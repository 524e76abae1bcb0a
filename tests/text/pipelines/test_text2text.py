"""Summaries, translations, answers: the pipeline of encoder-decoders, and generation equal to transformers'."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, DataError, IndexRangeError, MissingFileError
from nyala.recipes.cli import main
from nyala.text.generation import GenerationConfig, generate
from nyala.text.generation.published import processors_of, settings_of
from nyala.text.models import marian, t5
from nyala.text.pipelines.text2text import Rewritten, Summarization, Text2Text, Translation

GOLDENS = Path(__file__).parents[2] / "goldens" / "text"
LANGUAGE = ("t5", "flan_t5", "bart", "marian", "marian_apart")
PUBLISHED = {
    "num_beams": 3, "length_penalty": 2.0, "no_repeat_ngram_size": 2, "min_length": 4, "early_stopping": True,
    "max_new_tokens": 12, "forced_bos_token_id": 7,
}  # fmt: skip


@pytest.mark.parametrize("name", LANGUAGE)
def test_generated_tokens_equal_transformers(name: str) -> None:
    model, frozen = nyala.load(str(GOLDENS / name)).model, checkpoint.load_file(GOLDENS / name / "goldens.safetensors")
    ids, mask = (nyala.from_numpy(np.array(frozen[k])) for k in ("input_ids", "attention_mask"))
    end, start = model.config.eos_token_id, [[model.config.decoder_start_token_id]] * len(ids)
    with nyala.no_grad():
        told = {"encoder_outputs": model.encode(ids, mask), "attention_mask": mask}

    def written(rows: np.ndarray) -> list[list[int]]:
        return [r[: r.index(end)] if end in r else r for r in rows[:, 1:].tolist()]

    greedy = generate(model, start, GenerationConfig(max_new_tokens=12), [end], **told)
    assert [g.tokens for g in greedy] == written(frozen["generated"])
    published = {**PUBLISHED, "forced_eos_token_id": end}
    config = GenerationConfig.of({**settings_of(published), "num_return_sequences": 2})
    beams = generate(model, start, config, [end], processors=list(processors_of(published)), **told)
    assert [g.tokens for g in beams] == written(frozen["beams"])


# ---- the pipeline


def folder_of(folder: Path, module: Any, kind: str, config: dict[str, Any], **files: Any) -> str:
    """A folder with a random model and a small SentencePiece tokenizer."""
    folder.mkdir(parents=True)
    nyala.manual_seed(3)
    model = module.build(config)
    written = {**module.export_config(model), **{k: v for k, v in config.items() if k == "task_specific_params"}}
    (folder / "config.json").write_text(json.dumps(written))
    published = module.key_map(written, []).to_published({k: v.numpy() for k, v in model.state_dict().items()})
    checkpoint.save_file(published, folder / "model.safetensors")
    for path in (GOLDENS / "sentencepiece" / kind).iterdir():
        shutil.copy(path, folder)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return str(folder)


T5 = {"vocab_size": 400, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "initializer_factor": 2.0}
MARIAN = {
    "vocab_size": 246, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "init_std": 0.3,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 48, "eos_token_id": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    params = {
        "summarization": {"prefix": "summarize: ", "max_length": 9, "num_beams": 2},
        "translation_en_to_de": {"prefix": "translate English to German: "},
        "translation_en_to_fr": {"prefix": "translate English to French: "},
    }
    return folder_of(tmp_path_factory.mktemp("made") / "t5", t5, "t5", {**T5, "task_specific_params": params})


def test_texts_come_back_in_their_order_and_alone_as_in_a_batch(folder: str) -> None:
    pipe = nyala.load(folder)
    assert isinstance(pipe, Text2Text)
    texts = ["call me on Monday", "", "Please find the report attached, and call me on Monday.", "report"]
    found = pipe(texts, max_new_tokens=6)
    assert isinstance(found, Rewritten) and len(found) == 4
    assert list(found) == [pipe(t, max_new_tokens=6) for t in texts]
    assert "becomes" in repr(found) and found.to_dict()[0]["input"] == texts[0]
    assert found.draw().size[0] > 100


def test_the_decoder_begins_as_published_and_reads_what_the_encoder_read(folder: str) -> None:
    pipe = nyala.load(folder)
    ids = pipe.preprocess.ids("call me")
    tokens = [0]
    with nyala.no_grad():
        for _ in range(5):
            logits = pipe.model(nyala.tensor([ids]), decoder_input_ids=nyala.tensor([tokens]))
            tokens.append(int(logits[0, -1].argmax().item()))
    if 1 in tokens:
        tokens = tokens[: tokens.index(1)]
    assert list(pipe.rewritten(["call me"], max_new_tokens=5).details[0].tokens) == tokens[1:]
    first = pipe.logits(["call me"])
    assert first.shape == (1, 400) and int(first[0].argmax()) == tokens[1]


def test_what_was_published_for_a_task_is_kept_to(folder: str) -> None:
    pipe, plain = nyala.load(folder, task="summarization"), nyala.load(folder)
    assert isinstance(pipe, Summarization) and dict(pipe.settings) == {"num_beams": 2, "max_new_tokens": 8}
    text = "Please find the report attached"
    assert pipe(text) == plain(f"summarize: {text}", num_beams=2, max_new_tokens=8)
    assert pipe(text, prefix="", num_beams=1) == plain(text, max_new_tokens=8)
    assert len(pipe(text, temperature=1.0, num_return_sequences=3, seed=4)) == 3  # draws take no beams


def test_a_language_is_chosen(folder: str) -> None:
    pipe, plain = nyala.load(folder, task="translation"), nyala.load(folder)
    assert isinstance(pipe, Translation)
    assert pipe("call me", to="fr", max_new_tokens=5) == plain("translate English to French: call me", max_new_tokens=5)
    with pytest.raises(ArgumentError, match="translates into de, fr"):
        pipe("call me")
    with pytest.raises(ArgumentError, match="translates into de, fr"):
        pipe("call me", to="it")
    with pytest.raises(ArgumentError, match="both prefix= and to="):
        pipe("call me", to="de", prefix="x")


def test_one_folder_serves_several_tasks_on_the_command_line(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*argv: str) -> tuple[int, str]:
        code = main(["predict", folder, "call me", *argv, "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out)["results"][0]["generated"] if not code else err

    pipes = {task: nyala.load(folder, task=task) for task in ("summarization", "translation")}
    assert said("--task", "summarization") == (0, pipes["summarization"]("call me"))
    assert said("--to", "fr") == said("--to", "fr", "--task", "translation") == (0, pipes["translation"]("call me", to="fr"))
    for argv, error in (
        (["--task", "translation"], "translates into de, fr"),
        (["--task", "translatoin"], "did you mean 'translation'"),
        (["--to", "de", "--task", "summarization"], "--to (translation) and --task summarization ask for different things"),
        (["--to", "de", "--labels", "a,b"], "ask for different things"),
    ):
        code, err = said(*argv)
        assert code == 2 and error in " ".join(err.split()), err


def test_marian_translates_by_itself_and_into_a_language_by_its_mark(tmp_path: Path) -> None:
    count = len(json.loads((GOLDENS / "sentencepiece" / "marian" / "vocab.json").read_text()))
    pad = {"vocab_size": count, "pad_token_id": count - 1, "decoder_start_token_id": count - 1}
    generation = {"bad_words_ids": [[count - 1], [5, 6]], "forced_eos_token_id": 0, "eos_token_id": 0, "max_length": 9}
    made = folder_of(tmp_path / "m", marian, "marian", {**MARIAN, **pad}, generation_config=generation)
    pipe = nyala.load(made)
    assert isinstance(pipe, Translation) and pipe.start == (count - 1,) and pipe.ends == (0,)
    assert pipe.settings == {"max_new_tokens": 8, "suppress_tokens": (count - 1,)}
    found = pipe.rewritten(["call me"])
    assert found.details[0].finish == "end" and len(found.details[0].tokens) <= 7  # the last one is forced
    assert pipe("call me", to="fra") == pipe(">>fra<< call me")
    with pytest.raises(ArgumentError, match="translates into fra"):
        pipe("call me", to="xx")


def test_a_stream_is_the_same_text_in_pieces(folder: str) -> None:
    pipe = nyala.load(folder)
    text = "Please find the report attached"
    assert "".join(pipe.stream(text, max_new_tokens=7)).strip() == pipe(text, max_new_tokens=7)
    tokens = pipe.rewritten([text], max_new_tokens=7)
    stop = tokens[0][2:5]
    if stop.strip():
        assert stop not in "".join(pipe.stream(text, max_new_tokens=7, stop=[stop]))


def test_bad_input_is_named(folder: str, tmp_path: Path) -> None:
    pipe = nyala.load(folder)
    with pytest.raises(DataError, match="input 1 is"):
        pipe(["a", 3])
    with pytest.raises(ArgumentError, match="no setting 'beams'"):
        pipe("a", beams=3)
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "generation_config.json").write_text('{"num_beams": "four"}')
    with pytest.raises(DataError, match="how to generate is not said well"):
        nyala.load(str(broken))
    shutil.copytree(folder, tmp_path / "bare")
    (tmp_path / "bare" / "spiece.model").unlink()
    with pytest.raises(MissingFileError, match=r"came without tokenizer\.json"):
        nyala.load(str(tmp_path / "bare"))("a")
    small = folder_of(tmp_path / "small", t5, "t5", {**T5, "vocab_size": 90})
    with pytest.raises(IndexRangeError, match="this tokenizer belongs to another"):
        nyala.load(small)("Please find the report attached, and call me on Monday.")


def test_settings_of_old_files_are_read() -> None:
    assert settings_of({}) == {"max_new_tokens": 128}
    assert settings_of({"max_length": 20, "min_length": 5})["min_new_tokens"] == 4
    drawn = settings_of({"do_sample": True, "temperature": 0.7, "top_k": 0, "top_p": None})
    assert drawn == {"max_new_tokens": 128, "temperature": 0.7, "top_k": None}
    assert "temperature" not in settings_of({"do_sample": True, "temperature": 0.7, "num_beams": 4})

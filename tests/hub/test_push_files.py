"""Which files a push takes, what a secret looks like, and what the model card says: without a hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nyala.core import checkpoint
from nyala.errors import DataError, MissingFileError, UnsafeFileError
from nyala.hub import push_card, push_files, push_run
from nyala.hub.push_files import Outgoing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    place.mkdir()
    checkpoint.save_file({"w": [1.0, 2.0]}, place / "model.safetensors")
    (place / "config.json").write_text('{"model_type": "bert"}')
    return place


# ---- files


def test_what_loaders_read_goes_and_everything_else_is_named_with_its_reason(folder):
    goes = [
        "tokenizer.json",
        "vocab.txt",
        "merges.txt",
        "preprocessor_config.json",
        "modules.json",
        "LICENSE",
        "chat_template.jinja",
    ]
    stays = {
        ".env": "hidden",
        ".git/": "hidden",
        "adapter.pt": "a pickle: whoever loads one runs code",
        "training_args.bin": "a pickle: whoever loads one runs code",
        "id_rsa": "no file that a loader reads",
        "notes.txt": "no file that a loader reads",
        "optimizer.safetensors": "no file that a loader reads",
        "data/customers.csv": "no file that a loader reads",
        "data/deep/": "a folder that no loader reads",
    }
    for name in [*goes, *stays, "1_Pooling/config.json"]:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_text("{}")
    files, left_out = push_files.collect(folder)
    assert sorted(f.name for f in files) == sorted([*goes, "1_Pooling/config.json", "config.json", "model.safetensors"])
    assert left_out == stays


def test_shards_and_adapters_go_too(folder):
    (folder / "model.safetensors").unlink()
    checkpoint.save_sharded({"a": [1.0] * 9, "b": [2.0] * 9}, folder, max_shard_bytes=80)
    assert [f.name for f in push_files.collect(folder)[0]] == [
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]


def test_hashes_are_those_that_git_and_lfs_use(folder):
    (folder / "vocab.txt").write_text("hello")
    found = {f.name: f for f in push_files.collect(folder)[0]}["vocab.txt"]
    assert found == Outgoing("vocab.txt", folder / "vocab.txt", 5, found.sha256, "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0")
    assert Outgoing.of_text("vocab.txt", "hello").sha256 == found.sha256


@pytest.mark.parametrize(
    ("spoil", "error", "shown"),
    [
        (lambda f: (f / "model.safetensors").unlink(), MissingFileError, "has no model.safetensors: it holds config.json"),
        (lambda f: (f / "config.json").unlink(), MissingFileError, "has no config.json"),
        (lambda f: (f / "model.safetensors").rename(f / "model.ckpt"), UnsafeFileError, "model.ckpt is a pickle"),
        (lambda f: (f / "vocab.txt").symlink_to("/etc/hostname"), DataError, "is a link to a file outside"),
    ],
)
def test_folders_that_hold_no_model_or_lead_elsewhere(folder, spoil, error, shown):
    spoil(folder)
    with pytest.raises(error) as caught:
        push_files.collect(folder)
    assert shown in str(caught.value) and "Remedy: " in str(caught.value)


def test_a_link_inside_the_folder_is_followed(folder):
    (folder / "vocab.txt").symlink_to(folder / "config.json")
    assert {f.name: f.size for f in push_files.collect(folder)[0]}["vocab.txt"] == 22


# ---- secrets

SECRETS = {
    "a model hub token": "hf_" + "aB3" * 11 + "x",
    "a GitHub token": "ghp_" + "a1B2" * 9,
    "an AWS key": "AKIA" + "ABCD1234" * 2,
    "a Google key": "AIza" + "x" * 35,
    "a Slack token": "xoxb-" + "1234567890-" * 3,
    "an API key": "sk-ant-" + "a" * 40,
    "a private key": "-----BEGIN OPENSSH PRIVATE KEY-----",
    "a password in an address": "https://me:letmein@example.org/data.csv",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_found_named_by_line_and_never_shown(kind):
    text = f'{{\n"one": 1,\n"two": "{SECRETS[kind]}"\n}}'
    with pytest.raises(DataError) as caught:
        push_files.check_secrets([Outgoing.of_text("config.json", text)])
    assert caught.value.what == f"config.json holds what looks like {kind}, in line 3"
    assert SECRETS[kind] not in str(caught.value) and SECRETS[kind] not in repr(vars(caught.value))


def test_secrets_of_the_environment_and_the_token_in_use(monkeypatch):
    file = Outgoing.of_text("a.json", "plain words: correcthorsebattery and tokenoftoday")
    push_files.check_secrets([file])
    with pytest.raises(DataError, match="a secret of this machine's environment, in line 1"):
        push_files.check_secrets([file], token="tokenoftoday")
    monkeypatch.setenv("MY_DB_PASSWORD", "correcthorsebattery")
    with pytest.raises(DataError, match="a secret of this machine's environment"):
        push_files.check_secrets([file])


def test_what_only_looks_a_little_like_a_secret_goes():
    harmless = [
        "hf_hub",
        "task-specific",
        "sk-learn",
        "https://huggingface.co/org/name",
        "AKIA",
        "a@b:c",
        "ask-me-anything-you-want",
    ]
    push_files.check_secrets([Outgoing.of_text("vocab.txt", "\n".join(harmless))])


def test_of_weights_the_header_is_looked_through_and_not_the_numbers(folder):
    token = SECRETS["a model hub token"].encode()
    numbers = list(token.ljust(40))
    checkpoint.save_file({"w": bytearray(numbers)}, folder / "model.safetensors")
    push_files.check_secrets(push_files.collect(folder)[0])
    checkpoint.save_file({"w": [1.0]}, folder / "model.safetensors", metadata={"made_by": token.decode()})
    with pytest.raises(DataError, match=r"model\.safetensors holds what looks like a model hub token"):
        push_files.check_secrets(push_files.collect(folder)[0])


# ---- runs


def test_a_run_that_began_with_another_run_is_followed_to_its_published_base(tmp_path):
    for name, base in (("first", "all-MiniLM-L6-v2"), ("second", str(tmp_path / "first")), ("third", str(tmp_path / "second"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.resolved.toml").write_text(f"[model]\nname = {json.dumps(base)}\n")
    facts = push_run.RunFacts(tmp_path, "r", "", {"model": {"name": str(tmp_path / "third")}}, {})
    assert push_run.base_of(facts) == "all-MiniLM-L6-v2"
    (tmp_path / "first" / "recipe.resolved.toml").unlink()
    assert push_run.base_of(facts) == ""
    (tmp_path / "first" / "recipe.resolved.toml").write_text(f"[model]\nname = {json.dumps(str(tmp_path / 'third'))}\n")
    assert push_run.base_of(facts) == "", "runs that began with each other end the search"


@pytest.mark.parametrize(
    ("file", "content", "shown"),
    [
        ("manifest.json", "{", "manifest.json is not JSON"),
        ("manifest.json", "[]", "manifest.json holds no object"),
        ("recipe.resolved.toml", "= 3", "recipe.resolved.toml is not TOML"),
        ("metrics.jsonl", "{", "metrics.jsonl is damaged"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(tmp_path, file, content, shown):
    (tmp_path / "model").mkdir()
    (tmp_path / "manifest.json").write_text('{"outputs": {"metrics.jsonl": ""}}')
    (tmp_path / "recipe.resolved.toml").write_text("")
    (tmp_path / "metrics.jsonl").write_text("")
    assert push_run.read_run(tmp_path).name == tmp_path.name
    (tmp_path / file).write_text(content)
    with pytest.raises(DataError) as caught:
        push_run.read_run(tmp_path)
    assert shown in str(caught.value)


# ---- the card


def card(**more) -> push_card.CardFacts:
    given = {"repo": "me/cats", "task": "text-classification", "library": "transformers", "config": {"model_type": "bert"}}
    return push_card.CardFacts(**{**given, **more})


def test_front_matter_is_yaml_whatever_the_texts_hold():
    yaml = pytest.importorskip("yaml")
    odd = 'a "quoted": name\n- with: {everything} # é \u2028 ~'
    run = push_run.RunFacts(Path("r"), odd, odd, {"data": {"name": odd}}, {}, {"accuracy": 0.5, "loss": float("1e-9")}, 3)
    tree = yaml.safe_load(push_card.front_matter(card(license=odd, base=odd, base_repo="org/base", run=run)))
    result = tree["model-index"][0]["results"][0]
    assert tree["license"] == odd and tree["base_model"] == ["org/base"] and tree["base_model_relation"] == "finetune"
    assert result["dataset"] == {"name": odd, "type": odd, "split": "test"}
    assert result["metrics"][0] == {"type": "accuracy", "name": "accuracy", "value": 0.5}


def test_an_adapter_and_what_is_not_known():
    text = push_card.write_card(card(library="peft", base_repo="org/base", labels=["x", "y"]))
    assert 'base_model_relation: "adapter"' in text and "AutoPeftModelForSequenceClassification" in text
    assert "Not stated: the licence of the base applies." in text and "license:" not in text and "## Results" not in text
    embedding = push_card.write_card(card(task="sentence-embedding", library="sentence-transformers", labels=["LABEL_0"]))
    assert 'pipeline_tag: "sentence-similarity"' in embedding and "## Classes" not in embedding


def test_two_scores_never_share_the_hubs_word():
    run = push_run.RunFacts(Path("r"), "r", "", {}, {}, {"macro_f1": 0.2, "f1": 0.4})
    lines = push_card.front_matter(card(run=run))
    assert lines.count('type: "f1"') == 1 and 'type: "macro_f1"' in lines


def test_equal_facts_make_equal_bytes_and_long_lists_of_classes_are_cut():
    facts = card(labels=[f"class {i}" for i in range(1000)])
    assert push_card.write_card(facts) == push_card.write_card(facts)
    assert "1000: `class 0`" in push_card.write_card(facts) and "and 970 more" in push_card.write_card(facts)

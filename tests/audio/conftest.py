"""A Whisper of a few tokens whose mouth is a script, and one with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.audio.models import whisper

WORDS = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "Ġ", ".", "Ġa", "Ġb"]
MARKS = [
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>",
    "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
]  # fmt: skip
END, START, FIRST_TIME = len(WORDS), len(WORDS) + 1, len(WORDS) + len(MARKS)
TINY = {
    "model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], "vocab_size": FIRST_TIME + 51,
    "num_mel_bins": 80, "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "max_source_positions": 50,
    "max_target_positions": 24, "pad_token_id": END, "suppress_tokens": [3, -1, 99999], "begin_suppress_tokens": [9],
}  # fmt: skip


def tokenizer_json() -> str:
    import tokenizers
    from tokenizers import AddedToken, decoders, models, pre_tokenizers

    backend = tokenizers.Tokenizer(models.BPE({w: i for i, w in enumerate(WORDS)}, [("Ġ", "a"), ("Ġ", "b")]))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(mark, special=True) for mark in MARKS])
    return backend.to_str()


@pytest.fixture
def whisper_folder(tmp_path: Path) -> Path:
    """A folder in transformers' layout, with random weights and windows of one second."""
    nyala.manual_seed(5)
    model = whisper.build({**TINY, "init_std": 0.3})
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    nyala.checkpoint.save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    (tmp_path / "tokenizer.json").write_text(tokenizer_json())
    return tmp_path


class Scripted(nn.Module):
    """Writes the lines it is given, one a window, whatever it hears; remembers the prompts."""

    def __init__(self, lines: list[list[int]], silent: bool = False) -> None:
        super().__init__()
        self.config = whisper.Config.from_dict(TINY)
        self.weight = nn.Parameter(nyala.zeros(1))
        self.lines, self.silent = lines, silent
        self.prompts: list[list[int]] = []

    def encode(self, features: Any) -> Any:
        assert features.shape == (1, 80, 100)
        return nyala.zeros(1, 50, 8)

    def new_caches(self) -> list[int]:
        return []

    def forward_features(self, features: Any, ids: Any, mask: Any, sound: Any, caches: list[int]) -> Any:  # noqa: ARG002
        assert features is None and mask is None
        self.prompts.append(ids.numpy()[0].tolist())
        self.line = self.lines[min(len(self.prompts), len(self.lines)) - 1]
        return nyala.zeros(1, ids.shape[1], 8)

    def forward_head(self, hidden: Any) -> Any:  # noqa: ARG002
        first = self._row(self.line[0] if self.line else END)
        silence = self._row(FIRST_TIME - 2, 30.0) if self.silent else first
        return nyala.from_numpy(np.stack([silence, first])[None])

    def forward(self, decoder_input_ids: Any, caches: list[int] | None = None, **_: Any) -> Any:
        if caches is None:  # the language is asked for
            return nyala.from_numpy(self._row(MARKS.index("<|de|>") + END)[None, None])
        caches.append(int(decoder_input_ids.numpy()[0, 0]))
        rest = [*self.line, END]
        return nyala.from_numpy(self._row(rest[min(len(caches), len(rest) - 1)])[None, None])

    def _row(self, token: int, height: float = 0.0) -> np.ndarray:
        row = np.zeros(self.config.vocab_size, np.float32)
        row[token] = height or (3.0 if self.silent else 30.0)
        return row


@pytest.fixture
def scripted(tmp_path: Path) -> Any:
    """lines -> a pipeline that writes them."""
    from nyala.audio.pipelines.recognition import SpeechRecognition
    from nyala.hub.files import folder_files

    (tmp_path / "tokenizer.json").write_text(tokenizer_json())

    def make(*lines: list[int], silent: bool = False) -> Any:
        return SpeechRecognition.from_files(Scripted(list(lines), silent), folder_files(tmp_path), None, TINY)

    return make


@pytest.fixture
def time() -> Any:
    """Hundredths of a second -> the time token."""
    return lambda hundredths: FIRST_TIME + hundredths // 2

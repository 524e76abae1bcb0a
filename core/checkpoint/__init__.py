"""Weight files: arrays in, arrays out. Nothing in here knows a model, and nothing that is read can run code."""

from __future__ import annotations

from .ctranslate2 import CTranslate2, is_ctranslate2, read_ctranslate2
from .gguf import Gguf, read_gguf
from .header import Header, TensorInfo
from .onnx import Onnx, read_onnx
from .pth import load_pth
from .safetensors import load, load_file, read_header, save, save_file, widen
from .sharded import load_sharded, read_index, save_sharded

__all__ = [
    "CTranslate2",
    "Gguf",
    "Header",
    "Onnx",
    "TensorInfo",
    "is_ctranslate2",
    "load",
    "load_file",
    "load_pth",
    "load_sharded",
    "read_ctranslate2",
    "read_gguf",
    "read_header",
    "read_index",
    "read_onnx",
    "save",
    "save_file",
    "save_sharded",
    "widen",
]

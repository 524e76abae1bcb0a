"""The rows of ``benchmarks/gpu_table.py`` and their clock, on a stand-in for a GPU. No timing is asserted."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nyala
import pytest
from benchmarks import figures, gpu_clock, gpu_table, inputs, kernel_cases, kernels, machine, turns
from benchmarks.variant import Variant

HERE = Path(gpu_table.__file__).parent
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}
GPT2 = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 50}


def test_every_row_has_its_function_in_both_libraries() -> None:
    for library in ("nyala", "torch"):
        text = (HERE / f"gpu_{library}.py").read_text()
        assert [row.name for row in gpu_table.GPU_ROWS if f"def {row.make}(how: Variant" not in text] == []


def test_each_row_has_its_double_in_bfloat16() -> None:
    plain = {row.name for row in gpu_table.GPU_ROWS if "float32" in row.arguments}
    assert {f"{name} bf16" for name in plain} == {row.name for row in gpu_table.GPU_ROWS} - plain
    assert {"resnet50/infer 1", "resnet50/train 64", "vit-base/infer 128", "gpt2/decode 1", "whisper-small/encode 1"} <= plain


@pytest.fixture
def rows(cuda: str, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ARG001 - the device that they run on
    monkeypatch.setitem(inputs.TEXT_MODELS, "small", SMALL)
    monkeypatch.setitem(gpu_table.DECODER_CONFIGS, "small", GPT2)
    made = importlib.import_module("benchmarks.gpu_nyala")
    monkeypatch.setattr(made, "token_ids", lambda rows, length: inputs.token_ids(rows, length) % 50)
    return made


SMALL_ROWS = {
    "text_inference": ("small", 2, 4, "bfloat16"),
    "prefill": ("small", 1, 4, "float32"),
    "decoding": ("small", 2, 3, 2, "float32"),
    "text_training": ("small", 2, 4, "float32"),
    "language_training": ("small", 1, 4, "bfloat16"),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("make", SMALL_ROWS)
def test_rows_run(rows: Any, make: str, compiled: bool) -> None:
    call = getattr(rows, make)(Variant(compiled), *SMALL_ROWS[make])
    for _ in range(4):
        call()


def test_decoding_begins_again_behind_the_prompt(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    crop = nyala.nn.KVCache.crop
    monkeypatch.setattr(nyala.nn.KVCache, "crop", lambda cache, length: (lengths.append(cache.length), crop(cache, length)))
    call = rows.decoding(Variant(), *SMALL_ROWS["decoding"])
    call()
    call()
    assert lengths == [5, 5]


class Clock:
    """``torch.cuda`` with a time of its own: a call takes ``length`` seconds."""

    def __init__(self, length: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.length, self.groups = 0.0, length, []  # type: ignore[var-annotated]
        monkeypatch.setattr(gpu_clock.time, "perf_counter", lambda: self.now)

    def call(self) -> None:
        self.now += self.length

    def synchronize(self) -> None:
        pass

    def Event(self, enable_timing: bool) -> Any:  # noqa: N802 - torch's name
        assert enable_timing
        return _Event(self)


class _Event:
    def __init__(self, clock: Clock) -> None:
        self.clock, self.at = clock, 0.0

    def record(self) -> None:
        self.at = self.clock.now

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: _Event) -> float:
        self.clock.groups.append((end.at - self.at) / self.clock.length)
        return (end.at - self.at) * 1e3


def test_short_calls_are_timed_in_groups_between_events(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(1e-3, monkeypatch)
    times = gpu_clock.measure(clock, clock.call, 0.1)
    assert times == pytest.approx([1e-3] * len(times))
    assert clock.groups == pytest.approx([20] * len(times))


def test_long_calls_are_timed_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(3.0, monkeypatch)
    assert (gpu_clock.measure(clock, clock.call, 1.0), clock.groups) == ([3.0, 3.0], [])


def test_a_kernel_is_timed_one_call_at_a_time_behind_an_empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(1e-3, monkeypatch)
    emptied: list[Callable[[], Any]] = []
    times = gpu_clock.alone(clock, clock.call, lambda: emptied.append(clock.call), 0.0)
    assert (times, clock.groups) == (pytest.approx([1e-3] * 5), pytest.approx([1.0] * 5))
    assert len(emptied) == 5


def test_compiled_rows_are_set_against_each_other() -> None:
    found = {"nyala": [[4.0]], "nyala_compile": [[1.0]], "eager": [[8.0]], "compile": [[3.0]]}
    row = figures.figures("r", {column: turns.Timed(times, 100) for column, times in found.items()})
    assert (row["eager"], row["compile"], row["nyala_compile_ms"]) == (2.0, 3.0, 1000.0)
    assert figures.per_second(row, 32) == 32.0
    lines = figures.markdown([row], [("GPU", "a good one")], gpu=True).splitlines()
    assert len({line.count("|") for line in lines[2:6]}) == 1
    assert "- compile: torch.compile / nyala.compile" in lines


def test_where_nothing_was_timed_nothing_is_done_in_a_second() -> None:
    assert figures.per_second({"nyala_failure": "it broke"}, 32) is None


def test_the_way_of_compiling_reaches_the_worker() -> None:
    assert Variant.parse(str(Variant(compiled=True, tuning="reduce-overhead"))).tuning == "reduce-overhead"


def test_without_a_gpu_it_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    nyala.core.devices.cupy.cache_clear()
    with pytest.raises(SystemExit) as ended:
        importlib.import_module("benchmarks.__main__").main(["--device", "cuda"])
    nyala.core.devices.cupy.cache_clear()
    assert ended.value.code == 2
    assert "--device cuda: " in capsys.readouterr().err


def test_a_torch_without_a_gpu_is_refused(tmp_path: Path, cuda: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    runtime = nyala.core.devices.cupy().cuda.runtime
    properties = {"name": b"a GPU", "totalGlobalMem": 2**30, "multiProcessorCount": 2}
    monkeypatch.setattr(runtime, "getDeviceProperties", lambda _: properties)
    for name in ("runtimeGetVersion", "driverGetVersion"):
        monkeypatch.setattr(runtime, name, lambda: 13000, raising=False)
    monkeypatch.setattr(nyala.core.devices.cupy(), "__version__", "14", raising=False)
    assert dict(machine.check_gpu(None))["GPU"] == "a GPU, 1 GiB, 2 multiprocessors"
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho False None None\n")
    python.chmod(0o755)
    with pytest.raises(machine.NoGpuError, match="finds no GPU"):
        machine.check_gpu(str(python))


def test_every_case_is_of_a_kernel() -> None:
    from nyala.core.kernels.cuda import KERNELS

    assert {case.kernel for case in kernel_cases.CASES} <= set(KERNELS)
    with pytest.raises(ValueError, match="no case for 'nothing': there are softmax"):
        kernel_cases.named("softmax,nothing")


def test_every_kernel_case_runs(cuda: str) -> None:  # noqa: ARG001
    found = kernels.time_all(kernel_cases.named(None), 0.0, shrink=2000, copied=64, cache=64)
    assert len(found["rows"]) == sum(len(case.dtypes) for case in kernel_cases.CASES)
    assert all(row["bytes"] > 0 for row in found["rows"])


def test_bandwidth_is_stated_as_a_share_of_a_copys() -> None:
    row = {"kernel": "softmax", "sizes": (8, 4), "dtype": "float32", "bytes": 3_000_000, "flops": 0, "seconds": 2e-6}
    row["torch"] = 3e-6
    expected = ["softmax", "8x4", "float32", "3.0", "2.0", "1500", "50%", "-", "3.0", "1.50"]
    assert kernels.cells(row, 3e12) == expected
    assert kernels.cells({**row, "flops": 10**9}, 3e12)[7] == "500.0"
    text = kernels.markdown({"copy": 3e12, "rows": [row]}, [("GPU", "a good one")])
    assert "a copy moves 3000 GB/s" in text
    assert "| " + " | ".join(expected) + " |" in text


def test_bytes_are_those_that_must_move(cuda: str) -> None:  # noqa: ARG001
    assert kernel_cases.softmax(kernel_cases.Given("bfloat16"), 8, 16)[1] == 2 * 8 * 16 * 2
    assert kernel_cases.adamw_steps(kernel_cases.Given("float32"), 2, 10)[1] == 28 * 20  # 28 bytes a parameter

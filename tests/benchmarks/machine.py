"""Where the figures come from: an interpreter with torch, the processor, the versions."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

VARIABLE = "NYALA_TORCH_PYTHON"
ROOT = Path(__file__).resolve().parents[2]
_VECTORS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "asimd", "sve")
_PREFIXES = ("OPENBLAS_", "OMP_", "MKL_", "NUMBA_", "NYALA_", "GOMP_", "KMP_", "TORCH")
_PROBE = """
import json, sys
from importlib import metadata
from importlib.util import find_spec
if find_spec({library!r}) is None:
    sys.exit("No module named {library}")
versions = {{"Python": sys.version.split()[0]}}
for name in {packages!r}:
    try:
        versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(versions))
"""


class NoTorchError(Exception):
    """No interpreter with torch was found; the message says where it was looked for, and what to do."""


class NoGpuError(Exception):
    """There is no GPU to measure on; the message says who finds none."""


def versions(python: str, library: str, packages: Sequence[str]) -> dict[str, str] | str:
    """The versions of what an interpreter has of ``packages``, or why ``library`` is not there."""
    try:
        probe = _PROBE.format(library=library, packages=tuple(packages))
        done = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False, cwd=Path.home())
    except OSError as error:
        return str(error.strerror or error)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
    return json.loads(done.stdout)


TORCH_PACKAGES = ("torch", "torchvision", "timm", "transformers", "safetensors", "numpy")
NYALA_PACKAGES = ("nyala", "numpy", "numba", "llvmlite", "pillow", "tokenizers")


def find_torch(named: str | None) -> tuple[str, dict[str, str]]:
    """An interpreter with torch, and its versions.

    Args:
        named: the one that was asked for; None looks at $NYALA_TORCH_PYTHON, at this interpreter, at ``reference/`` in the
            checkout, where ``tests/tools/README.md`` puts it, and at the path's ``python3``.

    Raises:
        NoTorchError: none of them has torch.
    """
    places = [os.environ.get(VARIABLE), sys.executable, str(ROOT / "reference" / "bin" / "python"), shutil.which("python3")]
    refused = []
    for python in dict.fromkeys([named] if named else places):
        if python:
            found = versions(python, "torch", TORCH_PACKAGES)
            if isinstance(found, dict):
                return python, found
            refused.append(f"  {python}: {found}")
    raise NoTorchError(
        "no Python with torch was found. It was looked for in\n"
        + "\n".join(refused)
        + f"\nRemedy: name one with --torch-python PATH or in ${VARIABLE}; tests/tools/README.md says how to make one. Without "
        "--against, nyala is timed alone."
    )


def check_gpu(torch: str | None) -> list[tuple[str, str]]:
    """What there is to say of the GPU, and of how each library reaches it.

    Args:
        torch: the interpreter with torch; None where nyala runs alone.

    Raises:
        NoGpuError: nyala, or torch, finds none.
    """
    from nyala.core import devices
    from nyala.errors import DeviceError

    try:
        cupy = devices.cupy()
    except DeviceError as error:
        raise NoGpuError(f"--device cuda: {error}") from error
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(runtime.getDevice())
    size, count = properties["totalGlobalMem"] / 2**30, properties["multiProcessorCount"]
    ours = f"CuPy {cupy.__version__}, CUDA {runtime.runtimeGetVersion()}, driver {runtime.driverGetVersion()}"
    found = [("GPU", f"{properties['name'].decode()}, {size:.0f} GiB, {count} multiprocessors"), ("nyala on the GPU", ours)]
    if torch is None:
        return found
    probe = "import torch; print(torch.cuda.is_available(), torch.version.cuda, torch.backends.cudnn.version())"
    done = subprocess.run([torch, "-c", probe], capture_output=True, text=True, check=False, cwd=Path.home())
    available, *theirs = done.stdout.split() or [""]
    if available != "True":
        raise NoGpuError(
            f"--device cuda: the torch of {torch} finds no GPU (CUDA {' '.join(theirs[:1]) or 'unknown'}); "
            "name another interpreter with --torch-python, or leave --against out to time nyala alone"
        )
    return [*found, ("torch on the GPU", f"CUDA {theirs[0]}, cuDNN {theirs[1]}")]


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> tuple[str, list[str]]:
    """Name and vector instructions, where the system tells."""
    info = Path("/proc/cpuinfo")
    fields = {}
    if info.exists():
        pairs = (line.partition(":") for line in info.read_text().splitlines())
        fields = {name.strip(): value.strip() for name, _, value in pairs}
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return fields.get("model name") or platform.processor() or platform.machine(), [v for v in _VECTORS if v in flags]


def describe(torch: dict[str, str] | None) -> list[tuple[str, str]]:
    """What the saved table says of machine and libraries."""
    name, vectors = _processor()
    processor = f"{name}, {cores()} of {os.cpu_count()} CPUs, {platform.machine()}"
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    ours = versions(sys.executable, "nyala", NYALA_PACKAGES)
    listed = ours if isinstance(ours, dict) else {"nyala": ours}
    found = [
        ("date", time.strftime("%Y-%m-%d %H:%M")),
        ("commit", commit.stdout.strip() or "unknown"),
        ("processor", f"{processor}, {' '.join(vectors) or 'vector instructions unknown'}"),
        ("nyala's side", ", ".join(f"{k} {v}" for k, v in listed.items())),
        ("torch's side", ", ".join(f"{k} {v}" for k, v in torch.items()) if torch else "none"),
        ("environment", " ".join(f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith(_PREFIXES)) or "nothing set"),
    ]
    if hasattr(os, "getloadavg"):
        found.append(("load before the run", f"{os.getloadavg()[0]:.1f} (above 0: other programs were at work)"))
    return found

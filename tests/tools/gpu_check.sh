#!/usr/bin/env bash
# Every test that has something to say on a GPU, on a machine with one: the operation tables, modules, optimizers, models and
# pipelines on the real CuPy, and what tests/core/test_gpu.py asks of a GPU alone. Arguments go on to pytest.
#   tests/tools/gpu_check.sh -x          (PYTHON=... chooses the interpreter)
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python}

"$python" - <<'PYTHON'
import sys

from nyala.core import devices
from nyala.errors import DeviceError

try:
    cupy = devices.cupy()
except DeviceError as error:
    sys.exit(f"gpu_check: {error}")
runtime = cupy.cuda.runtime
for number in range(runtime.getDeviceCount()):
    name = runtime.getDeviceProperties(number)["name"].decode()
    print(f"cuda:{number}: {name}; CuPy {cupy.__version__}, CUDA {runtime.runtimeGetVersion()}, driver {runtime.driverGetVersion()}")
PYTHON

exec "$python" -m pytest -m gpu tests/core tests/vision tests/text tests/audio "$@"

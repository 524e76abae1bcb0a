#!/usr/bin/env bash
# What is to be seen on a machine with a GPU, in stages of less than ten minutes each:
#   tests/tools/gpu_check.sh STAGE [FOLDER] [ARGUMENTS]    (PYTHON=... chooses the interpreter)
#   tests       all tests that have something to say on a GPU, on the real CuPy
#   sanitizer   compute-sanitizer's memcheck and racecheck over the tests of the kernels
#   bits        the same training twice, in two processes: the same bits
#   kernels     each kernel's bytes a second, beside those of a copy, and torch's time
#   benchmarks  models beside torch eager and torch.compile (NYALA_TORCH_PYTHON names torch's interpreter): as many rows as
#               there is time for; called again with the same folder, it goes on
#   all         all of these, one after the other; those that fail do not stop the rest
# What they print, and tables, go to FOLDER (gpu-check). Further arguments go to the stage's program; 'all' takes none.
set -uo pipefail
stages="tests sanitizer bits kernels benchmarks"
stage=${1:-}
case " $stages all " in
  *" $stage "*) ;;
  *) stage="" ;;
esac
if [ -z "$stage" ]; then
  sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
folder=${2:-gpu-check}
shift $(($# < 2 ? $# : 2))
python=${PYTHON:-python}
mkdir -p "$folder" && folder=$(cd "$folder" && pwd) || exit 1
cd "$(dirname "$0")/../.." || exit 1
limit=580 # seconds a stage

describe() {
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
}

run_tests() {
  timeout "$limit" "$python" -m pytest -m gpu tests/core tests/vision tests/text tests/audio tests/recipes tests/test_gpu_benchmarks.py "$@"
}

run_sanitizer() {
  if ! command -v compute-sanitizer >/dev/null; then
    echo "compute-sanitizer is not installed: nothing was checked (it comes with the CUDA toolkit)"
    return 0
  fi
  local tool status=0
  for tool in memcheck racecheck; do
    echo "== $tool"
    timeout $((limit / 2)) compute-sanitizer --tool "$tool" --error-exitcode 9 --target-processes all \
      "$python" -m pytest -q -x -m gpu tests/core/test_kernels_cuda*.py "$@" || status=$?
  done
  return "$status"
}

run_bits() {
  local turn
  for turn in 1 2; do
    timeout $((limit / 2)) "$python" -m tests.tools.gpu_bits "$@" >"$folder/bits-$turn.txt" || return 1
  done
  diff "$folder/bits-1.txt" "$folder/bits-2.txt" && echo "the same bits in both runs: $(wc -l <"$folder/bits-1.txt") arrays"
}

run_kernels() {
  timeout "$limit" "$python" -m tests.benchmarks.kernels ${NYALA_TORCH_PYTHON:+--torch-python "$NYALA_TORCH_PYTHON"} \
    --table "$folder/kernels.md" "$@"
}

run_benchmarks() {
  timeout "$limit" "$python" -m tests.benchmarks --device cuda --against torch --json "$folder/benchmarks.json" --resume \
    --within $((limit - 40)) "$@"
}

one() {
  local name=$1 status
  shift
  echo "== $name: $(date -u +%FT%TZ), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
  "run_$name" "$@"
  status=$?
  [ "$status" -eq 124 ] && echo "gpu_check: $name took longer than ten minutes; name fewer tests or rows"
  echo "== $name ended with status $status"
  return "$status"
}

describe | tee "$folder/device.txt" || exit 1
status=0
[ "$stage" = all ] && set --
for name in $([ "$stage" = all ] && echo "$stages" || echo "$stage"); do
  one "$name" "$@" 2>&1 | tee "$folder/$name.txt" || status=1
done
exit "$status"

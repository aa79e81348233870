#!/usr/bin/env bash
# What a machine with a GPU should run, in one command or stage by stage:
#
#   bench/gpu.sh OUT [build|tests|sanitizers|bench|profile ...]
#
# Each stage takes at most 8 minutes, writes OUT/STAGE.log and its line of OUT/summary.json; bench and profile also write
# OUT/bench.json and OUT/profile.json: 8 files at most. A stage that fails does not stop the next one; the exit status
# is the number of stages that did. Nothing is fetched: PyTorch, Triton, pytest, pytest-benchmark, pybind11, cmake, ninja
# and nvcc have to be there.
#
#   WHEELS=DIR     packages to install first, as wheels (tyro, roma: what is missing there)
#   OFFICIAL=DIR   a clone of the released ITES code, which tests and benchmarks then compare with
#   COMMIT=ID      what the results call this version, where there is no clone
#   PYTHON=...     the interpreter, python3 by default
set -uo pipefail

STAGES=(build tests sanitizers bench profile)
SECONDS_A_STAGE=470 # with what stopping takes, 8 minutes

usage() { sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

if [[ $# -lt 1 || $1 == -h || $1 == --help ]]; then
    usage
    exit 2
fi
mkdir -p "$1" || exit 2
OUT=$(cd "$1" && pwd)
shift
chosen=("$@")
[[ ${#chosen[@]} -eq 0 ]] && chosen=("${STAGES[@]}")
for stage in "${chosen[@]}"; do
    if [[ " ${STAGES[*]} " != *" $stage "* ]]; then
        echo "there is no stage $stage; stages are ${STAGES[*]}" >&2
        exit 2
    fi
done

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
export OUT PYTHON=${PYTHON:-python3} PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_BREAK_SYSTEM_PACKAGES=1
unset TRITON_INTERPRET # kernels are compiled here, not interpreted
official=()
[[ -n ${OFFICIAL:-} ]] && official=(--official "$OFFICIAL")

build() {
    nvidia-smi || return 1
    if [[ -n ${WHEELS:-} ]]; then
        "$PYTHON" -m pip install --quiet --no-index --no-deps "$WHEELS"/*.whl || return 1
    fi
    ITES_FAST_CUDA=1 ITES_FAST_WERROR=1 "$PYTHON" -m pip install --no-build-isolation --no-deps -e . || return 1
    "$PYTHON" - <<'PYTHON'
import json

import torch

from ites_fast import build_info

info = build_info()
print(json.dumps(info, indent=1))
assert torch.cuda.is_available(), "PyTorch sees no GPU"
assert info["extension"] and info["extension"]["cuda"], "the extension has no CUDA"
on_cuda = {name: by["cuda"] for name, by in info["operators"].items()}
print("operators that stay PyTorch on CUDA:", ", ".join(n for n, how in on_cuda.items() if how == "PyTorch") or "none")
PYTHON
}

tests() {
    local parallel=()
    "$PYTHON" -c "import xdist" 2> /dev/null && parallel=(-n 6 --dist loadfile) # mostly waits for compilers
    "$PYTHON" -m pytest tests -m "not slow" -rs -q --durations=15 -p no:cacheprovider "${parallel[@]}" "${official[@]}"
}

# Every operator, forward and backward, on 33 poses, against its definition.
sanitizers() {
    local status=0 tool
    command -v compute-sanitizer || { echo "compute-sanitizer is not installed: nothing was checked"; return 1; }
    for tool in memcheck racecheck; do
        echo "=== $tool"
        # without PyTorch's cache every tensor is an allocation of its own, whose ends memcheck knows
        PYTORCH_NO_CUDA_MEMORY_CACHING=1 timeout 225 compute-sanitizer --tool "$tool" --error-exitcode 97 \
            --print-limit 20 "$PYTHON" -m pytest bench/ --bench-check -q -rs -p no:cacheprovider -k "not step" ||
            { echo "$tool: status $?"; status=1; }
    done
    return $status
}

bench() {
    rm -f "$OUT/bench.json"
    "$PYTHON" -m pytest bench/ --benchmark-only --benchmark-json="$OUT/bench.json" -q -rs -p no:cacheprovider \
        --bench-seconds "${BENCH_SECONDS:-430}" ${COMMIT:+--bench-commit "$COMMIT"} "${official[@]}" || return 1
    [[ -s $OUT/bench.json ]] || { echo "nothing was measured"; return 1; }
}

profile() {
    local status=0
    "$PYTHON" -m bench.trace --json "$OUT/profile.json" || status=1
    command -v ncu || { echo "ncu is not installed: no hardware counters were read"; return 1; }
    # the clocks are left as they are
    timeout 200 ncu --clock-control none --profile-from-start off --section SpeedOfLight --section LaunchStats \
        "$PYTHON" -m bench.trace --once "inference, 1024 poses" || { echo "ncu: status $?"; status=1; }
    return $status
}

export -f "${STAGES[@]}"

# One line of summary.json; the lines of other stages are kept.
record() {
    "$PYTHON" - "$OUT" "$@" <<'PYTHON'
import json
import sys
from pathlib import Path

folder, stage, status, seconds = Path(sys.argv[1]), *sys.argv[2:]
path = folder / "summary.json"
summary = json.loads(path.read_text()) if path.exists() else {}
last = (folder / f"{stage}.log").read_text(errors="replace").strip().splitlines()[-1:]
summary[stage] = {"status": int(status), "seconds": int(seconds), "last_line": last[0][:300] if last else ""}
path.write_text(json.dumps(summary, indent=1))
word = {0: "passed", 124: "OUT OF TIME"}.get(int(status), f"FAILED, status {status}")
print(f"--- {stage}: {word} after {seconds} s; {summary[stage]['last_line']}")
PYTHON
}

failed=0
for stage in "${chosen[@]}"; do
    echo "=== $stage"
    start=$SECONDS
    # the arrays of options are not exported, so the functions get them as text
    timeout --kill-after=10 $SECONDS_A_STAGE bash -uo pipefail -c \
        "official=(${official[*]@Q}); $stage" 2>&1 | tee "$OUT/$stage.log"
    status=${PIPESTATUS[0]}
    record "$stage" "$status" $((SECONDS - start))
    [[ $status -ne 0 ]] && failed=$((failed + 1))
done
exit $failed

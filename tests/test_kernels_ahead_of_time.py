"""Every Triton kernel compiles for real GPUs on a machine that has none, within its bounds of registers and stack."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

ARCHITECTURES = ("80", "90", "100")
WITHOUT_INTERPRETER = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}


def compile_ahead(*arguments, environment=WITHOUT_INTERPRETER):
    command = [sys.executable, "-m", "ites_fast.kernels.ahead_of_time", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_keeps_to_its_bounds(architecture):
    result = compile_ahead("--json", "--architectures", architecture)
    assert result.stdout, result.stderr
    usages = json.loads(result.stdout)
    assert usages
    over = [usage for usage in usages if not usage["within_bounds"]]
    assert not over, over
    assert result.returncode == 0


def test_a_bound_that_is_exceeded_fails(tmp_path):
    script = tmp_path / "over.py"
    script.write_text(
        "import triton, triton.language as tl\n"
        "from ites_fast.kernels.ahead_of_time import Build, compile_kernel, table\n"
        "@triton.jit\n"
        "def twice(source, target, BLOCK: tl.constexpr):\n"
        "    at = tl.arange(0, BLOCK)\n"
        "    tl.store(target + at, 2 * tl.load(source + at))\n"
        "types = {'source': '*fp32', 'target': '*fp32'}\n"
        "print(table([compile_kernel(Build(twice, types, {'BLOCK': 128}, max_registers=n), 90) for n in (255, 1)]))\n"
    )
    result = subprocess.run(
        [sys.executable, str(script)], env=WITHOUT_INTERPRETER, capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    within, over = result.stdout.splitlines()[2:]
    assert "OVER" not in within
    assert "OVER ITS BOUND" in over


def test_the_interpreter_leaves_nothing_to_compile():
    result = compile_ahead("--kernel", "rotate_project", environment=os.environ | {"TRITON_INTERPRET": "1"})
    assert result.returncode != 0
    assert "TRITON_INTERPRET=1" in result.stderr

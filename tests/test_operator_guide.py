"""docs/operators.md is followed word for word in a copy of the tree, and what it builds works."""

import importlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "operators.md"
BLOCK = re.compile(r"<!-- (file|append|commands)(?:: (\S+))? -->\n```\w+\n(.*?)```", re.DOTALL)


def blocks(kind):
    return [(name, text) for found, name, text in BLOCK.findall(PAGE.read_text()) if found == kind]


def test_the_page_names_all_five_files():
    folders = [str(Path(name).parent) for name, _ in blocks("file")]
    assert folders == ["ites_fast/reference", "kernels", "ites_fast/ops", "tests", "bench"]
    assert not any((ROOT / name).exists() for name, _ in blocks("file")), "the page's example is an operator now"


@pytest.mark.slow
def test_the_page_can_be_followed(monkeypatch, tmp_path):
    pytest.importorskip("triton")
    monkeypatch.syspath_prepend(str(ROOT))
    copy = importlib.import_module("tests.mutate").Copy(tmp_path)
    for name, text in blocks("file"):
        (copy.root / name).write_text(text)
    for name, text in blocks("append"):
        with (copy.root / name).open("a") as file:
            file.write(text)
    ((_, commands),) = blocks("commands")
    printed = ""
    for command in commands.splitlines():
        # pytest turns the interpreter on by itself, and where it is on nothing can be compiled
        environment = {name: value for name, value in copy.environment.items() if name != "TRITON_INTERPRET"}
        result = subprocess.run(
            command, shell=True, cwd=copy.root, env=environment, capture_output=True, text=True, timeout=900
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        printed += result.stdout
    assert re.search(r"^pose_size +PyTorch +Triton$", printed, re.MULTILINE), printed
    assert "_pose_size_bwd_kernel" in printed

"""The mutation check: its faults are up to date, it leaves the tree alone, and it knows a noticed fault."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def mutate(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("tests.mutate")


def test_every_fault_fits_the_sources(mutate):
    assert len(mutate.FAULTS) >= 10
    stale = [fault for fault in mutate.FAULTS if (ROOT / fault.file).read_text().count(fault.old) != 1]
    assert not stale, "\n".join(f"{fault.file} does not hold once: {fault.old}" for fault in stale)
    for fault in mutate.FAULTS:
        assert (ROOT / fault.test.partition("::")[0]).is_file(), fault
        assert fault.new != fault.old


def test_a_file_gets_its_text_back(mutate, tmp_path):
    path = tmp_path / "source.py"
    path.write_text("a = 1\n")
    with mutate.replaced(path, "1", "2"):
        assert path.read_text() == "a = 2\n"
    assert path.read_text() == "a = 1\n"
    with pytest.raises(mutate.UntriedError, match="0 times: b"), mutate.replaced(path, "b", "c"):
        pass


@pytest.fixture
def small_tree(tmp_path):
    """A tree with one module, one test of it and an empty kernel package."""
    (tmp_path / "ites_fast").mkdir()
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("")
    (tmp_path / "ites_fast" / "__init__.py").write_text("def twice(x):\n    return 2 * x\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    test = "from ites_fast import twice\ndef test_twice():\n    assert twice(2) == 4\n"
    (tmp_path / "test_twice.py").write_text(test)
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    (tmp_path / "test_wrong.py").write_text("def test_wrong():\n    assert False\n")
    return tmp_path


def test_verdicts(mutate, small_tree):
    source = "ites_fast/__init__.py"
    faults = {
        "noticed": mutate.Fault("sum", source, "2 * x", "1 + x", "test_twice.py"),
        "same here": mutate.Fault("square", source, "2 * x", "x * x", "test_twice.py"),
        "no such text": mutate.Fault("other", source, "3 * x", "x", "test_twice.py"),
        "fails anyway": mutate.Fault("sum", source, "2 * x", "1 + x", "test_wrong.py"),
        "does not import": mutate.Fault("syntax", source, "2 * x", "2 *", "test_twice.py"),
        "not tested": mutate.Fault("sum", source, "2 * x", "1 + x", "test_nothing.py"),
    }
    lines = []
    assert mutate.run(faults.values(), lines.append, small_tree) == 5
    verdicts = [line.split(" | ")[3] for line in lines[1:] if line.startswith("| ")]
    assert verdicts == ["noticed", "SURVIVED", "NOT TRIED", "NOT TRIED", "NOT TRIED", "SURVIVED"]
    assert (small_tree / source).read_text() == "def twice(x):\n    return 2 * x\n"
    assert not list(small_tree.rglob("*.pyc"))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["clamped joint", "other axis", "inverse size"])
def test_a_fault_is_noticed(mutate, what, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mutate", "--only", what])
    assert mutate.main() == 0, capsys.readouterr().out

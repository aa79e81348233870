"""Imports point down only. The layers are those of the picture in CONTRIBUTING.md."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ites_fast"
KERNELS = ROOT / "kernels"  # installed as ites_fast.kernels


def read_layers():
    """The modules and packages of ites_fast, as the picture names them from top to bottom and left to right."""
    picture = (ROOT / "CONTRIBUTING.md").read_text().split("```")[1]
    return [name for row in picture.strip().splitlines() for name in re.split(r" {2,}", row)[0].split()]


LAYERS = read_layers()
MODULES = sorted(path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists())


def imported(path):
    """The parts of ites_fast that a source file imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for package, part, *_ in ([*name.split("."), ""] for name in names):
            if package == "ites_fast":
                yield part if part in [*MODULES, "kernels"] else "__init__"


def sources(module):
    return (PACKAGE / module).rglob("*.py") if (PACKAGE / module).is_dir() else [PACKAGE / f"{module}.py"]


def test_the_picture_names_every_module_once():
    assert sorted(LAYERS) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    allowed = {module, *LAYERS[LAYERS.index(module) + 1 :]}
    if module == "ops":
        allowed.add("kernels")
    for path in sources(module):
        assert set(imported(path)) <= allowed, f"{path.relative_to(ROOT)} imports what stands above or before it"


@pytest.mark.parametrize("module", ["models", "losses", "views", "stages"])
def test_networks_and_losses_use_the_operators(module):
    assert all("reference" not in imported(path) for path in sources(module))


@pytest.mark.parametrize(("folder", "itself"), [(PACKAGE / "reference", "reference"), (KERNELS, "kernels")])
def test_definition_and_kernels_know_only_themselves(folder, itself):
    assert all(set(imported(path)) <= {itself} for path in folder.rglob("*.py"))


def test_compiled_code_knows_no_torch():
    for path in (ROOT / "csrc").iterdir():
        for bracket, header in re.findall(r'#\s*include\s*([<"])([^>"]+)', path.read_text()):
            assert not header.startswith(("torch/", "ATen/", "c10/")), f"{path.name} includes {header}"
            assert bracket == "<" or (ROOT / "csrc" / header).is_file(), f"{path.name} includes {header}"


def test_the_check_sees_an_import_that_points_up(tmp_path):
    source = tmp_path / "source.py"
    source.write_text("def f():\n    from ites_fast import cli, train\n    import ites_fast.data.bvh\nimport torch\n")
    assert set(imported(source)) == {"cli", "train", "data"}
    source.write_text("from ites_fast import load\nimport ites_fast\n")
    assert set(imported(source)) == {"__init__"}

"""docs/SCENES.md says what is in the files."""

import re
from pathlib import Path

import numpy as np

from ites_fast.scene.armature import JOINTS
from ites_fast.scene.files import FORMATS, write_scene

PAGE = (Path(__file__).parents[2] / "docs" / "SCENES.md").read_text(encoding="utf-8")


def test_every_format_has_its_section():
    assert re.findall(r"^## (\.\w+)$", PAGE, re.M) == list(FORMATS)
    assert re.findall(r"^\| `(\.\w+)` \|", PAGE, re.M) == list(FORMATS)


def test_keys_of_npz(crowd, tmp_path):
    write_scene(crowd, tmp_path / "walk.npz")
    section = PAGE.split("\n## .npz\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    documented = [key for row in rows for key in re.findall(r"`(\w+)`", row)]
    with np.load(tmp_path / "walk.npz") as file:
        assert sorted(documented) == sorted(file.files)


def test_tree_of_bvh():
    section = PAGE.split("\n## .bvh\n")[1].split("\n## ")[0]
    tree = [line for line in section.splitlines() if line.startswith("    ")]
    assert re.findall(r"[A-Z]\w+", "\n".join(tree)) == [joint.name for joint in JOINTS]


def test_code_runs(walk, tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path)
    write_scene(walk, "walk.npz")
    exec(blocks[0], {})
    assert capsys.readouterr().out == "walk.csv\n"
    names = {}
    exec(blocks[1].replace('"1"', '"walker"'), names)
    np.testing.assert_array_equal(names["positions"], walk.people[0].positions)

"""docs/SKELETONS.md says what the code does."""

import re
from pathlib import Path

import pytest

from ites_fast.skeleton import H36M_17, SKELETONS, conversion, get_skeleton
from ites_fast.skeleton.__main__ import SkeletonOptions, main, text
from ites_fast.skeleton.registry import VOCABULARY
from ites_fast.skeleton.rules import EARS_TO_HEAD_TOP, NECK

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "SKELETONS.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in SKELETONS if name != "h36m_17"])
def test_the_page_has_the_table_of_every_skeleton(name):
    section = PAGE.partition(f"### {name}\n")[2].partition("\n### ")[0]
    assert text(SKELETONS[name], H36M_17) == section.partition("\n\n")[2].rstrip(), (
        f"python -m ites_fast.skeleton {name}"
    )


def test_the_command_prints_the_table(capsys):
    main(SkeletonOptions("coco_17", to="halpe_26"))
    assert capsys.readouterr().out.endswith(conversion(SKELETONS["coco_17"], SKELETONS["halpe_26"]).describe() + "\n")


def test_the_constants_in_the_text():
    assert f"{EARS_TO_HEAD_TOP:g} times its length, and the neck at {NECK:g} of the way" in PAGE


def test_the_example_is_read(tmp_path):
    example = tmp_path / "my_detector.yaml"
    example.write_text(re.search("```yaml\n(.*?)```", PAGE, re.DOTALL)[1])
    skeleton = get_skeleton(example)
    assert (skeleton.name, skeleton.num_joints, skeleton.head) == ("my_detector", 8, 6)
    kinds = {joint.name: joint.kind for joint in conversion(skeleton, H36M_17).joints}
    assert (kinds["hip"], kinds["neck_nose"], kinds["left_wrist"]) == ("exact", "averaged", "missing")


def test_the_words_that_the_page_names_are_the_vocabulary():
    named = re.search(r"The words for the body are (.*?), and the same", PAGE, re.DOTALL)[1]
    words = set(re.findall(r"`(\w+)`", named))
    assert words | {word.replace("left_", "right_") for word in words} <= set(VOCABULARY)
    assert not {"head", "neck", "hip", "pelvis"} & set(VOCABULARY)

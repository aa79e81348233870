"""Skeletons in YAML: what they may say, and the message for everything that they may not."""

import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ites_fast.errors import InputError
from ites_fast.skeleton import H36M_17, SKELETONS, Skeleton, conversion, get_skeleton

GOOD = """\
name: torso
joints:
  - {name: pelvis}
  - {name: left_hip, parent: pelvis}
  - {name: right_hip, parent: pelvis}
  - {name: neck, parent: pelvis}
  - {name: top, parent: neck}
links:
  - [left_hip, right_hip]
head: top
mapping:
  mid_hip: pelvis
  thorax: neck
  head_top: top
  spine: [pelvis, neck]
"""


def written(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path, text):
    with pytest.raises(InputError) as error:
        get_skeleton(written(path, text))
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_what_it_says(tmp_path):
    path = written(tmp_path / "torso.YML", GOOD)
    assert get_skeleton(path) == Skeleton(
        name="torso",
        joint_names=("pelvis", "left_hip", "right_hip", "neck", "top"),
        parents=(-1, 0, 0, 0, 3),
        left=(1,),
        right=(2,),
        head=4,
        links=((1, 2),),
        mapping=(("mid_hip", (0,)), ("thorax", (3,)), ("head_top", (4,)), ("spine", (0, 3))),
    )
    assert get_skeleton(str(path)) == get_skeleton(path)


def test_its_mapping_is_used(tmp_path):
    torso = get_skeleton(written(tmp_path / "torso.yaml", GOOD))
    points = np.random.default_rng(0).normal(size=(5, 3))
    there = conversion(torso, H36M_17)
    converted = dict(zip(H36M_17.joint_names, there.apply_points(points), strict=True))
    expected = {"hip": points[0], "thorax": points[3], "head": points[4], "spine": (points[0] + points[3]) / 2}
    for name, position in expected.items():
        np.testing.assert_allclose(converted[name], position, err_msg=name)
    assert {joint.name: joint.kind for joint in there.joints}["spine"] == "averaged"
    np.testing.assert_array_equal(conversion(H36M_17, torso).apply_points(there.apply_points(points)), points)


def test_a_mapping_takes_a_name_away_from_a_joint(tmp_path):
    """A joint called spine that the mapping calls thorax is no spine any more."""
    text = "name: x\njoints: [{name: mid_hip}, {name: spine, parent: mid_hip}]\nmapping: {thorax: spine}\n"
    found = conversion(get_skeleton(written(tmp_path / "x.yaml", text)), H36M_17).joints
    sources = {joint.name: joint.sources for joint in found}
    assert sources["thorax"] == ("spine",)
    assert sources["spine"] == ("mid_hip", "spine")


def test_pairs_by_name_or_as_given(tmp_path):
    text = "name: arms\njoints: [{name: c}, {name: l, parent: c}, {name: r, parent: c}]\npairs: [[l, r]]\n"
    arms = get_skeleton(written(tmp_path / "arms.yaml", text))
    assert arms.flip_order == (0, 2, 1)
    one_sided = text.replace("name: l,", "name: left_x,").replace("[l, r]", "[left_x, r]")
    assert get_skeleton(written(tmp_path / "one_sided.yaml", one_sided)).left == (1,)


def test_every_built_in_skeleton_can_be_written(tmp_path):
    for skeleton in SKELETONS.values():
        names = skeleton.joint_names
        lines = [f"name: my_{skeleton.name}", "joints:"]
        for name, parent in zip(names, skeleton.parents, strict=True):
            lines.append(f"- {{name: {name}, parent: {names[parent] if parent >= 0 else 'null'}}}")
        pairs = zip(skeleton.left, skeleton.right, strict=True)
        lines += ["pairs:", *(f"- [{names[a]}, {names[b]}]" for a, b in pairs)]
        read = get_skeleton(written(tmp_path / f"{skeleton.name}.yaml", "\n".join(lines)))
        assert (read.joint_names, read.parents) == (skeleton.joint_names, skeleton.parents)
        assert (read.left, read.right) == (skeleton.left, skeleton.right)


def joints(*rows):
    listed = [row.split() for row in rows]
    lines = [f"  - {{name: {row[0]}{', parent: ' + row[1] if len(row) > 1 else ''}}}" for row in listed]
    return "name: x\njoints:\n" + "\n".join(lines) + "\n"


BAD = {
    "cycle": (
        joints("a", "b d", "c b", "d c", "e d"),
        "line 3: the parents form a cycle: b -> d -> c -> b; expected a tree with one root",
    ),
    "own parent": (joints("a", "b b"), "line 3: the parents form a cycle: b -> b; expected a tree with one root"),
    "two roots": (joints("a", "b", "c a"), "line 3: 2 joints have no parent (a, b), expected one root"),
    "unknown parent": (
        joints("pelvis", "knee pelvsi"),
        "line 4: the parent of knee: unknown joint 'pelvsi', expected one of pelvis",
    ),
    "duplicate": (joints("a", "b a", "b a"), "line 5: the joint b is there twice"),
    "left alone": (
        joints("a", "left_hand a"),
        "line 3: left_hand has no right_hand; expected both, or 'pairs' that say what is mirrored",
    ),
    "right alone": (
        joints("a", "right_hand a"),
        "line 3: right_hand has no left_hand; expected both, or 'pairs' that say what is mirrored",
    ),
    "mapping to nothing": (
        joints("a", "b a") + "mapping: {thorax: c}",
        "line 5: mapping: thorax: unknown joint 'c', expected one of a, b",
    ),
    "mapping of a typing error": (
        joints("a") + "mapping: {thoraks: a}",
        "line 4: mapping: 'thoraks' is no word of the vocabulary, perhaps thorax",
    ),
    "mapping of nonsense": (
        joints("a") + "mapping: {qqqqqq: a}",
        "line 4: mapping: 'qqqqqq' is no word of the vocabulary, expected one of mid_hip, ",
    ),
    "mapping to no joints": (
        joints("a") + "mapping: {thorax: []}",
        "line 4: mapping: thorax: expected one joint or several different ones",
    ),
    "mean of one joint twice": (
        joints("a") + "mapping: {thorax: [a, a]}",
        "line 4: mapping: thorax: expected one joint or several different ones",
    ),
    "pair of one": (joints("a", "b a") + "pairs: [[b, b]]", "line 5: pairs: expected two different joints"),
    "pair of three": (joints("a", "b a", "c a") + "pairs: [[a, b, c]]", "line 6: pairs: expected two different joints"),
    "two pairs share": (joints("a", "b a", "c a") + "pairs: [[a, b], [a, c]]", "line 6: pairs: a is there twice"),
    "no joint for the head": (joints("a") + "head: b", "line 4: head: unknown joint 'b', expected one of a"),
    "unknown key": (
        joints("a") + "joint: []",
        "line 4: unknown key 'joint', expected name, joints, pairs, links, head, mapping",
    ),
    "unknown key of a joint": (
        "name: x\njoints: [{name: a, father: b}]",
        "line 2: unknown key 'father', expected name, parent",
    ),
    "a key twice": (joints("a") + "name: y", "line 4: the key 'name' is there twice"),
    "no name": ("joints: [{name: a}]", "has no 'name'; expected the keys name, joints, pairs, links, head, mapping"),
    "no joints": ("name: x", "has no 'joints'; expected the keys name, joints, pairs, links, head, mapping"),
    "empty joints": ("name: x\njoints: []", "line 2: joints is empty"),
    "joint without a name": ("name: x\njoints: [{parent: a}]", "line 2: a joint has no 'name'"),
    "a name of ours": (
        joints("a").replace("name: x", "name: coco_17"),
        "line 1: the name coco_17 is that of a built-in skeleton, expected another",
    ),
    "a number as a name": ("name: x\njoints: [{name: 7}]", "line 2: a joint's name: expected text, received '7'"),
    "an empty name": ("name: ''\njoints: [{name: a}]", "line 1: name: expected text, received ''"),
    "a list as a name": ("name: [x]\njoints: [{name: a}]", "line 1: name: expected text, received a sequence"),
    "a control character in a name": ('name: "x\\a"\njoints: [{name: a}]', "line 1: name: expected text, received "),
    "names alone": ("name: x\njoints: [a, b]", "line 2: a joint: expected keys with values, received a scalar"),
    "joints as keys": ("name: x\njoints: {a: b}", "line 2: joints: expected a list, received a mapping"),
    "a list": ("[1, 2]", "line 1: the file: expected keys with values, received a sequence"),
    "empty": ("", "empty, expected the keys name, joints, pairs, links, head, mapping"),
    "two documents": ("a: b\n---\nc: d", "line 2: not YAML: but found another document"),
    "cut in the middle": (GOOD[:60], "line 4: not YAML: expected the node content, but found '<stream end>'"),
    "not text": (b"\x00\xff\xfe\x80", "not YAML: "),
    "a tag": (
        "name: !!python/object/apply:os.system [id]\njoints: []",
        "line 1: the tag tag:yaml.org,2002:python/object/apply:os.system is not accepted",
    ),
    "another tag": ("!thing\nname: x", "line 1: the tag !thing is not accepted, expected plain text, lists and keys"),
    "aliases": ("a: &a [x]\nb: [*a, *a]", "line 1: anchors and aliases (& and *) are not accepted"),
    "nine deep": ("[" * 9 + "]" * 9, "line 1: nested more than 8 deep"),
    "too deep": ("[" * 5000, "line 1: nested more than 8 deep"),
    "too deep in blocks": ("- " * 5000 + "a", "line 1: nested more than 8 deep"),
    "too long": ("#" * 70000, "longer than 65536 bytes, expected a skeleton in YAML"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(tmp_path, case):
    text, message = BAD[case]
    assert refused(tmp_path / "bad.yaml", text).startswith(message)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read \(No such file or directory\)"):
        get_skeleton(tmp_path / "none.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        get_skeleton(tmp_path / "folder.yaml")


def test_tags_run_nothing(tmp_path):
    target = tmp_path / "made"
    refused(tmp_path / "bad.yaml", f"name: !!python/object/apply:pathlib.Path.touch [!!python/name:x {target}]")
    refused(tmp_path / "bad.yaml", f"!!python/object/apply:os.mkdir ['{target}']")
    assert not target.exists()


def test_a_long_chain_of_parents(tmp_path):
    rows = ["j0", *(f"j{i} j{i - 1}" for i in range(1, sys.getrecursionlimit() + 200))]
    chain = get_skeleton(written(tmp_path / "chain.yaml", joints(*rows)))
    assert chain.parents == tuple(range(-1, len(rows) - 1))


WORDS = (
    "name: |joints:|parent: |pairs: |mapping: |links: |head: |{name: a}|{name: b, parent: a}|{name: a, parent: b}|"
    "left_a|right_a|thorax|null|~|<<: |&x |*x|!!python/name:os.system |!!binary |!!set |0x1|1e9|\n- |\n  - |---\n|...\n"
)
PIECES = st.sampled_from("[]{}:,&*!|>'\"#%@`-? \n\t\x85\ufeff") | st.sampled_from(WORDS.split("|"))
EDITS = st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 12), PIECES), min_size=1, max_size=6)


def reads_or_refuses(path, data):
    try:
        skeleton = get_skeleton(written(path, data))
    except InputError:
        return
    assert conversion(skeleton, H36M_17).apply_points(np.zeros((skeleton.num_joints, 2))).shape == (17, 2)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "fuzz.yaml"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=200) | st.lists(PIECES, max_size=40).map("".join).map(str.encode))
def test_any_bytes_are_read_or_refused(scratch, data):
    reads_or_refuses(scratch, data)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edits=EDITS)
def test_any_edit_of_a_good_file_is_read_or_refused(scratch, edits):
    text = GOOD
    for start, length, piece in edits:
        text = text[:start] + piece + text[start + length :]
    reads_or_refuses(scratch, text)

"""GLB: valid by the format's own validator, and read by independent programs."""

import json
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ites_fast.errors import InputError
from ites_fast.scene import Person
from ites_fast.scene.armature import JOINTS
from ites_fast.scene.files import read_scene, write_scene
from ites_fast.scene.scene import FLOOR_QUANTILE, MOST_FRAMES
from ites_fast.skeleton import Skeleton

VALIDATOR = Path(__file__).with_name("validate_glb.js")


@pytest.fixture
def pair(rigid, walk):
    """A dancer with constant bones in every frame, and another who comes late, leaves and returns."""
    pose = rigid(35, 40).astype(np.float32)
    dancer = Person("dancer", np.arange(40), pose, np.ones((40, 17), np.float32))
    frame = np.r_[5:15, 20:30]
    other = Person("other", frame, pose[:20] + np.float32([1, 0, 0]), np.ones((20, 17), np.float32))
    return replace(walk, people=(dancer, other), fps=25.0)


def test_positions_come_back(pair, tmp_path):
    assert write_scene(pair, tmp_path / "pair.glb") == [tmp_path / "pair.glb"]
    read = read_scene(tmp_path / "pair.glb")
    for name in ("source", "skeleton", "frames", "fps", "units", "axes", "placed", "notes"):
        assert getattr(read, name) == getattr(pair, name), name
    for one, other in zip(read.people, pair.people, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.frame, other.frame)
    # the other's bones are those of half of the frames
    np.testing.assert_allclose(read.people[0].positions, pair.people[0].positions, atol=1e-5)
    np.testing.assert_allclose(read.people[1].positions, pair.people[1].positions, atol=1e-5)


def test_the_validator_finds_nothing(pair, crowd, tmp_path):
    if shutil.which("node") is None:
        pytest.skip("needs node and npm's gltf-validator")
    still = replace(pair, people=(pair.people[1].cut(5, 6),), frames=1)
    for number, scene in enumerate((pair, crowd, still)):
        path = write_scene(scene, tmp_path / f"{number}.glb")[0]
        result = subprocess.run(["node", VALIDATOR, path], capture_output=True, text=True, check=False)
        if "Cannot find module 'gltf-validator'" in result.stderr:
            pytest.skip(
                "needs npm's gltf-validator: npm install --prefix DIR gltf-validator, NODE_PATH=DIR/node_modules"
            )
        assert result.returncode == 0, result.stderr
        report = json.loads(result.stdout)
        assert report["issues"]["numErrors"] == report["issues"]["numWarnings"] == 0, report["issues"]["messages"]
        assert report["info"]["animationCount"] == 1


def test_an_independent_reader_finds_the_first_pose_and_its_bones(pair, tmp_path):
    trimesh = pytest.importorskip("trimesh", reason="needs trimesh, an independent reader")
    dancer = replace(pair, people=pair.people[:1])
    scene = trimesh.load(write_scene(dancer, tmp_path / "dancer.glb")[0])
    expected = dancer.people[0].positions[0]
    for joint in JOINTS:
        np.testing.assert_allclose(scene.graph.get(joint.name)[0][:3, 3], expected[joint.at], atol=1e-5)
    # the bone of the left thigh reaches from hip to knee and nowhere else
    matrix, mesh = scene.graph.get("LeftUpLeg bone")
    ends = trimesh.transform_points(scene.geometry[mesh].bounds * [[0, 1, 0], [0, 1, 0]], matrix)
    np.testing.assert_allclose(ends, expected[[4, 5]], atol=1e-5)
    for geometry in scene.geometry.values():
        assert geometry.volume > 0  # faces look outwards
        towards = np.einsum("ij,ij->i", geometry.vertex_normals[geometry.faces[:, 0]], geometry.face_normals)
        np.testing.assert_allclose(towards, 1, atol=1e-5)
    # nothing is drawn far from the joints
    low, high = scene.bounds
    assert (low > expected.min(0) - 0.25).all()
    assert (high < expected.max(0) + 0.25).all()


def test_colours_tell_left_from_right(pair, tmp_path):
    pygltflib = pytest.importorskip("pygltflib", reason="needs pygltflib, an independent reader")
    gltf = pygltflib.GLTF2().load(str(write_scene(pair, tmp_path / "pair.glb")[0]))

    def colour(name):
        node = next(node for node in gltf.nodes if node.name == f"{name} bone")
        material = gltf.materials[gltf.meshes[node.mesh].primitives[0].material]
        return material.name, tuple(material.pbrMetallicRoughness.baseColorFactor)

    assert colour("LeftArm")[0] == colour("LHipJoint")[0] == "left"
    assert colour("RightArm")[0] == colour("RHipJoint")[0] == "right"
    assert colour("LowerBack")[0] == colour("Head")[0] == "middle"
    assert len({colour(name)[1] for name in ("LeftArm", "RightArm", "Head")}) == 3
    assert [animation.name for animation in gltf.animations] == ["motion"]


def play(gltf, time):
    """Places of all nodes by name and person at a time, as the specification of glTF 2.0 says animations are played."""
    blob = gltf.binary_blob()

    def array(number):
        accessor = gltf.accessors[number]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor.type]
        start = gltf.bufferViews[accessor.bufferView].byteOffset + (accessor.byteOffset or 0)
        return np.frombuffer(blob, "<f4", accessor.count * width, start).reshape(accessor.count, width)

    values = {}
    for channel in gltf.animations[0].channels:
        sampler = gltf.animations[0].samplers[channel.sampler]
        times, outputs = array(sampler.input)[:, 0], array(sampler.output)
        at = np.searchsorted(times, time + 1e-6) - 1  # the key at this time: tests ask for no other
        values[channel.target.node, channel.target.path] = outputs[max(at, 0)]
    found = {}

    def visit(number, matrix, person):
        node = gltf.nodes[number]
        local = np.eye(4)
        scale = values.get((number, "scale"), node.scale or [1, 1, 1])
        turn = Rotation.from_quat(values.get((number, "rotation"), node.rotation or [0, 0, 0, 1])).as_matrix()
        local[:3, :3] = turn * np.asarray(scale)
        local[:3, 3] = values.get((number, "translation"), node.translation or [0, 0, 0])
        matrix = matrix @ local
        found[person, node.name] = matrix
        for child in node.children or []:
            visit(child, matrix, person)

    for root in gltf.scenes[0].nodes:
        visit(root, np.eye(4), gltf.nodes[root].name)
    return found


def test_the_animation_moves_joints_and_hides_who_is_absent(pair, tmp_path):
    pygltflib = pytest.importorskip("pygltflib", reason="needs pygltflib, an independent reader")
    gltf = pygltflib.GLTF2().load(str(write_scene(pair, tmp_path / "pair.glb")[0]))
    for frame in (0, 5, 14, 15, 22, 39):
        found = play(gltf, frame / 25)
        for person in pair.people:
            shown = np.linalg.det(found[person.name, "Hips"][:3, :3])
            assert shown == pytest.approx(float(frame in person.frame), abs=1e-5), (person.name, frame)
            if frame in person.frame:
                expected = person.positions[list(person.frame).index(frame)]
                for joint in JOINTS:
                    np.testing.assert_allclose(found[person.name, joint.name][:3, 3], expected[joint.at], atol=1e-5)


@pytest.mark.parametrize("fps", [23.976, 30, 38, 240])
def test_the_last_frames_that_a_scene_may_have_are_told_apart(fps, walk, tmp_path):
    frame = MOST_FRAMES - 40 + np.arange(40)
    late = replace(walk, people=(replace(walk.people[0], frame=frame),), frames=MOST_FRAMES, fps=fps)
    write_scene(late, tmp_path / "late.glb")
    np.testing.assert_array_equal(read_scene(tmp_path / "late.glb").people[0].frame, frame)


def test_camera_axes_and_body_units(pair, tmp_path):
    turned = [replace(p, positions=p.positions * np.float32([1, -1, -1]) / np.float32(0.72)) for p in pair.people]
    seen = replace(pair, people=tuple(turned), axes="camera", units="body units")
    write_scene(seen, tmp_path / "seen.glb")
    read = read_scene(tmp_path / "seen.glb")
    assert (read.units, read.axes) == ("metres", "y")
    assert read.notes == ("one body unit was taken for 0.72 m",)
    expected = pair.people[0].positions
    floor = np.float32([0, np.quantile(expected[..., 1].min(1), FLOOR_QUANTILE, method="lower"), 0])
    np.testing.assert_allclose(read.people[0].positions, expected - floor, atol=1e-5)


def test_what_glb_cannot_hold(walk, tmp_path):
    with pytest.raises(InputError, match="nobody"):
        write_scene(replace(walk, people=()), tmp_path / "walk.glb")
    other = Skeleton("one", ("a",), (-1,), (), (), 0)
    person = Person("a", np.arange(2), np.zeros((2, 1, 3), np.float32), np.zeros((2, 1), np.float32))
    with pytest.raises(InputError, match="h36m_17, got one"):
        write_scene(replace(walk, people=(person,), skeleton=other), tmp_path / "walk.glb")


def test_glb_that_is_wrong(pair, tmp_path):
    path = tmp_path / "pair.glb"
    write_scene(pair, path)
    data = path.read_bytes()
    length = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20 : 20 + length])

    def check(message, changed=None, content=None):
        if changed is not None:
            text = json.dumps(changed).encode()
            text += b" " * (-len(text) % 4)
            rest = data[20 + length :]
            content = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON") + text + rest
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"pair\.glb.*{message}"):
            read_scene(path)

    check("truncated", content=data[:-100])
    check("version 1", content=data[:4] + struct.pack("<I", 1) + data[8:])
    check("begins with", content=b"PK" + data[2:])
    check("not JSON", content=data[:20] + b"x" + data[21:])
    check("not a scene that ites_fast wrote", {**document, "scenes": [{"nodes": [0]}]})
    check("not a scene that ites_fast wrote", {**document, "nodes": [{"name": "a"}]})
    check(
        "not a scene that ites_fast wrote",
        {**document, "accessors": [{**a, "count": 10**9} for a in document["accessors"]]},
    )
    nodes = [{**node, "extras": {"person": 5}} if "extras" in node else node for node in document["nodes"]]
    check("a person is called 5", {**document, "nodes": nodes})
    fields = document["scenes"][0]["extras"]["ites_fast"]
    scenes = [{**document["scenes"][0], "extras": {"ites_fast": {**fields, "frames": 3}}}]
    check("only 3 frames", {**document, "scenes": scenes})

"""Valid inputs of every reader, from recorded detections."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from ites_fast.detections import read_detections, tracks_npz
from ites_fast.detections.own_npz import write as write_npz
from ites_fast.scene import Person, Scene
from ites_fast.scene.files import read_scene, write_scene
from ites_fast.skeleton import H36M_17, get_skeleton
from tests.detections import mutations
from tests.detections.fuzz import Target, detections_reader, read_video

HERE = Path(__file__).parent
ARRAYS = HERE / "recorded_arrays"
FRAMES = 4
YAML = """
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


def all_targets(folder: Path) -> list[Target]:
    """Readers of detections, skeletons and 3D files; ``folder`` is for files that are written on the way."""
    return [*_json(), *_arrays(folder), *_tables(), _skeleton(), _video(), _anything(folder), *_scenes(folder)]


def _keypoints(skeleton: str = "body_25") -> np.ndarray:
    """Real detections of three people (3, T, J, 3), those of body_25's first joints in other skeletons; no NaN."""
    tracks = tracks_npz.read(ARRAYS / "wild_tracks.npz", None).tracks
    points = np.nan_to_num(np.stack([track.keypoints[:FRAMES] for track in tracks]))
    joints = get_skeleton(skeleton).num_joints
    return points[:, :, np.arange(joints) % 25]


def _lists(points: np.ndarray) -> list:
    return np.round(points.astype(float), 2).tolist()


def _documents() -> dict[str, list[Any]]:
    """Contents of JSON files by format."""
    coco, halpe = _keypoints("coco_17"), _keypoints("halpe_26")
    flat = [
        {"image_id": f"{t}.jpg", "category_id": 1, "keypoints": _lists(person[t].ravel()), "score": 2.5, "idx": p}
        for t in range(FRAMES)
        for p, person in enumerate(coco)
    ]
    results = [{**item, "image_id": int(item["image_id"][0])} for item in flat]
    truth = {
        "images": [{"id": t, "file_name": f"{t}.jpg", "width": 640, "height": 480} for t in range(FRAMES)],
        "annotations": [{**item, "id": i, "num_keypoints": 17, "iscrowd": 0} for i, item in enumerate(results)],
        "categories": [{"id": 1, "name": "person", "keypoints": list(get_skeleton("coco_17").joint_names)}],
    }
    people = np.moveaxis(halpe, 1, 0)  # frame by frame
    instances = [
        [{"keypoints": _lists(p[:, :2]), "keypoint_scores": _lists(p[:, 2]), "bbox": [[1, 2, 3, 4]]} for p in frame]
        for frame in people
    ]
    numbered = [{"frame_id": t, "instances": people} for t, people in enumerate(instances)]
    names = {str(i): name for i, name in enumerate(get_skeleton("halpe_26").joint_names)}
    media = _keypoints("mediapipe_33")[0] / [640, 480, 1]
    landmarks = [[dict(zip(("x", "y", "visibility"), _lists(j), strict=True)) | {"z": 0.1} for j in t] for t in media]
    cmu = {f"{t}.jpg": {"bodies": [{"joints": _lists(p[:18].ravel())} for p in f]} for t, f in enumerate(people)}
    return {
        "alphapose": [flat, cmu],
        "coco": [results, truth],
        "mmpose": [numbered, {"meta_info": {"keypoint_id2name": names}, "instance_info": numbered}, instances],
        "mediapipe": [landmarks, [{"frame": t, "landmarks": ls} for t, ls in enumerate(landmarks)]],
    }


def _json() -> list[Target]:
    targets = []
    for name, documents in _documents().items():
        seeds = tuple(json.dumps(document).encode() for document in documents)
        targets.append(Target(name, (".json",), seeds, mutations.mutate_json, detections_reader(name)))
    folders = tuple(
        {file.name: file.read_bytes() for file in sorted((HERE / "recorded" / name).glob("*.json"))[:FRAMES]}
        for name in ("one_person", "two_people")
    )
    return [Target("openpose", (), folders, mutations.mutate_json, detections_reader("openpose")), *targets]


def _arrays(folder: Path) -> list[Target]:
    wild = tracks_npz.read(ARRAYS / "wild_tracks.npz", None)
    write_npz(wild, folder / "own.npz")
    people = _npz(keypoints=_keypoints("coco_17"), skeleton=np.array("coco_17"), track=np.arange(3), fps=np.array(30.0))
    points = [person[..., :2] for person in _keypoints("coco_17")]
    positions = {"dance.mp4": {"custom": points[:1]}, "S9": {"Walking 1": points[1:]}}
    metadata = {"layout_name": "coco", "video_metadata": {"dance.mp4": {"w": 640, "h": 480, "fps": 30}}}
    videopose = _npz(positions_2d=np.array(positions, object), metadata=np.array(metadata, object))
    one = _npz(positions_2d=np.array({"a": {"b": points[:1]}}, object), metadata=np.array(metadata, object))
    seeds = {
        "npz": ((folder / "own.npz").read_bytes(), people),
        "videopose3d": (videopose, one),
        "tracks_npz": ((ARRAYS / "wild_tracks.npz").read_bytes(),),
        "calibrated_npz": ((ARRAYS / "balancing.npz").read_bytes(),),
    }
    return [Target(n, (".npz",), contents, mutations.mutate_npz, detections_reader(n)) for n, contents in seeds.items()]


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _tables() -> list[Target]:
    points, names = _keypoints("coco_17"), get_skeleton("coco_17").joint_names
    columns = [f"{name}_{axis}" for name in names for axis in ("x", "y", "confidence")]
    wide = [",".join(["frame", "person", *columns])]
    long = ["frame;person;joint;x;y;confidence"]
    deeplabcut = [
        ",".join([title, *row])
        for title, row in (
            ("scorer", ["net"] * 51),
            ("bodyparts", [name for name in names for _ in range(3)]),
            ("coords", ["x", "y", "likelihood"] * 17),
        )
    ]
    for t in range(FRAMES):
        deeplabcut.append(",".join(map(str, [t, *_lists(points[0, t].ravel())])))
        for p, person in enumerate(points):
            wide.append(",".join(map(str, [t, p, *_lists(person[t].ravel())])))
            long += [f"{t};{p};{name};{x};{y};{c}" for name, (x, y, c) in zip(names, _lists(person[t]), strict=True)]
    seeds = tuple("\n".join(lines).encode() for lines in (wide, long, deeplabcut))
    return [Target("csv", (".csv",), seeds, _mostly(mutations.mutate_text), detections_reader("csv"))]


def _mostly(mutate: Callable[[bytes, Random], bytes]) -> Callable[[bytes, Random], bytes]:
    """This mutation, and sometimes that of bytes."""
    return lambda data, random: (mutate if random.random() < 0.8 else mutations.mutate_bytes)(data, random)


def _skeleton() -> Target:
    def read(path: Path, random: Random) -> Any:
        return get_skeleton(path)

    return Target("yaml skeleton", (".yaml",), (YAML.encode(),), _mostly(mutations.mutate_text), read)


def _video() -> Target:
    seeds = ((ARRAYS / "upright.mp4").read_bytes(),)
    return Target("video", (".mp4",), seeds, mutations.mutate_bytes, read_video)


def _anything(folder: Path) -> Target:
    """Files of no format, and files that are called what they are not."""
    seeds = (*mutations.GARBAGE, (folder / "own.npz").read_bytes(), YAML.encode(), b"frame,nose_x,nose_y\n0,1,2")

    def mutate(data: bytes, random: Random) -> bytes:
        return data if random.random() < 0.1 else mutations.mutate_bytes(data, random)

    def read(path: Path, random: Random) -> Any:
        return read_detections(path)

    return Target("anything", (".npz", ".json", ".csv", ".mp4", ".txt", ""), seeds, mutate, read)


def _scenes(folder: Path) -> list[Target]:
    """Two people, one of whom comes later, in each format of scenes."""
    with np.load(ARRAYS / "balancing.npz") as file:
        positions = file["joints17_3d"][:6].astype(np.float32)[..., [1, 2, 0]]
    confidence = np.ones(positions.shape[:2], np.float32)
    people = (
        Person("1", np.arange(6), positions, confidence),
        Person("2", np.arange(2, 6), positions[:4] + np.float32(1), confidence[:4]),
    )
    said = {"units": "metres", "axes": "y", "placed": True, "image_size": (640, 480), "notes": ("made",)}
    scene = Scene("made", H36M_17, people, 8, 30.0, **said)
    mutate = {
        ".npz": mutations.mutate_npz,
        ".json": mutations.mutate_json,
        ".csv": _mostly(mutations.mutate_text),
        ".bvh": _mostly(mutations.mutate_text),
        ".trc": _mostly(mutations.mutate_text),
        ".glb": mutations.mutate_glb,
    }
    targets = []
    for suffix, change in mutate.items():
        files = write_scene(scene, folder / f"scene{suffix}")
        seeds = tuple(Path(file).read_bytes() for file in files)
        targets.append(Target(f"scene {suffix}", (suffix,), seeds, change, lambda path, random: read_scene(path)))
    return targets

"""Wrong files for every reader, a few of each; ``python -m tests.detections.fuzz`` tries as many as one likes."""

import importlib
import signal
import sys
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = (
    *("openpose", "alphapose", "coco", "mmpose", "mediapipe", "npz", "videopose3d", "tracks_npz", "calibrated_npz"),
    *("csv", "yaml skeleton", "video", "anything"),
    *(f"scene .{suffix}" for suffix in ("npz", "json", "csv", "bvh", "trc", "glb")),
)
EXAMPLES = 40  # of each reader

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs a timer that interrupts, as POSIX systems have"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # of numbers that overflow before they are refused
]


@pytest.fixture(scope="module")
def fuzz():
    sys.path.insert(0, str(ROOT))
    yield importlib.import_module("tests.detections.fuzz")
    sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def watch(fuzz):
    return fuzz.Watch()


@pytest.fixture(scope="module")
def targets(fuzz, tmp_path_factory):
    module = importlib.import_module("tests.detections.fuzz_targets")
    return {target.name: target for target in module.all_targets(tmp_path_factory.mktemp("seeds"))}


def test_every_reader_is_tried(targets):
    from ites_fast.detections.loading import READERS
    from ites_fast.scene.files import FORMATS

    assert set(targets) == set(NAMES)
    assert {*READERS, *(f"scene {suffix}" for suffix in FORMATS)} <= set(NAMES)


@pytest.mark.parametrize("name", sorted({*NAMES} - {"anything"}))
def test_whole_files_are_read(fuzz, watch, targets, tmp_path, name):
    """What is made wrong below is right to begin with."""
    random = Random(1)
    target = targets[name]
    for number, seed in enumerate(target.seeds):
        (tmp_path / str(number)).mkdir()
        whole = fuzz.Target(name, target.suffixes, (seed,), lambda data, random: data, target.read)
        path = fuzz.place(whole, Random(2), tmp_path / str(number))
        outcomes = {fuzz.run(whole, path, random, watch) for _ in range(20)}
        assert "read" in outcomes


@pytest.mark.parametrize("name", NAMES)
def test_wrong_files_are_refused_or_read(fuzz, watch, targets, name):
    target = targets[name]

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(seed=st.integers(0, 2**32))
    def try_one(seed):
        random = Random(seed)
        with tempfile.TemporaryDirectory() as folder:
            path = fuzz.place(target, random, Path(folder))
            assert fuzz.run(target, path, random, watch) in ("read", "refused")

    try_one()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda path: [][1], "list index out of range"),
        (lambda path: Path(path.parent, "new").write_text("x"), "forbidden: open"),
        (lambda path: signal.pause(), "more than 0.2 seconds"),
    ],
)
def test_faults_are_noticed(fuzz, watch, tmp_path, monkeypatch, fault, message):
    monkeypatch.setattr(fuzz, "SECONDS", 0.2)
    target = fuzz.Target("made", (".bin",), (b"x",), lambda data, random: data, lambda path, random: fault(path))
    path = fuzz.place(target, Random(0), tmp_path)
    with pytest.raises((Exception, fuzz.Hang), match=message):
        fuzz.run(target, path, Random(0), watch)

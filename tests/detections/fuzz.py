"""``python -m tests.detections.fuzz --cases N``: wrong files for every reader.

Recorded and written files are changed at random. A reader may give what it read or raise ``InputError``, in one line;
anything else, more than a few seconds, or a file opened to be written is a failure. The input of a failure is kept.
"""

import argparse
import faulthandler
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from tqdm import tqdm

from ites_fast.detections import Detections, read_detections
from ites_fast.detections.loading import READERS
from ites_fast.errors import InputError
from ites_fast.scene import Scene
from ites_fast.skeleton import Skeleton, get_skeleton

SECONDS = 20  # of one case, on a busy machine
MEMORY = 4 << 30  # bytes on top of what the imports take
MAX_MESSAGE = 10_000  # characters; some name all joints of a skeleton
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FORBIDDEN = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.system", "subprocess.Popen", "socket.connect"}

# What is asked of files that hold several videos or cameras.
CHOICES = {
    "videopose3d": ("", "::S9", "::a/b/0", "::dance.mp4"),
    "tracks_npz": ("", "", "::motionet_1", "::"),
    "calibrated_npz": ("::1", "::2", "::4", "::5", ""),
}


class Hang(BaseException):
    """A reader took too long."""


@dataclass(frozen=True)
class Target:
    """A reader and valid inputs of it.

    Args:
        name: of the format.
        suffixes: of its files, one of which each gets; not for folders.
        seeds: contents of whole files; for a folder, files by name.
        mutate: makes a content wrong.
        read: what is called with the path.
    """

    name: str
    suffixes: tuple[str, ...]
    seeds: tuple[Any, ...]
    mutate: Callable[[bytes, Random], bytes]
    read: Callable[[Path, Random], Any]


class Watch:
    """Notes files that are opened to be written, other changes of the disk, processes and connections."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.on = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if not self.on:
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if (writes and str(arguments[0]) != os.devnull) or event in FORBIDDEN:
            self.seen.append(f"{event} {arguments[:1]}")


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise ``Hang`` after so many seconds."""

    def stop(*_: object) -> None:
        raise Hang(f"more than {seconds} seconds")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def place(target: Target, random: Random, folder: Path) -> Path:
    """Write a wrong input of a reader into an empty folder."""
    seed = random.choice(target.seeds)
    if isinstance(seed, dict):
        path = folder / "input"
        path.mkdir()
        wrong = random.sample(list(seed), random.choice((1, 1, 2, len(seed))))
        for name, content in seed.items():
            name = random.choice((name, name, name, "x.json", name.replace("0", "9"))) if name in wrong else name
            (path / name).write_bytes(target.mutate(content, random) if name in wrong else content)
        return path
    path = folder / f"input{random.choice(target.suffixes)}"
    path.write_bytes(target.mutate(seed, random))
    return path


def check(result: Any) -> None:
    """What a reader gives must be what its type promises."""
    if isinstance(result, Detections):
        assert 0 <= result.frames <= 10_000_000
        "".join([*(track.name for track in result.tracks), *result.notes]).encode()  # they are written to files
        assert result.fps is None or 0 < result.fps < float("inf")
        for track in result.tracks:
            points = track.keypoints
            seen = points[..., 2] > 0
            assert points.dtype == np.float32
            assert np.isfinite(points[seen]).all()
            assert np.isnan(points[~seen][:, :2]).all()
            assert ((points[..., 2] >= 0) & (points[..., 2] <= 1)).all()
            assert track.frame.dtype == np.int64
    if isinstance(result, Scene):
        "".join([*(person.name for person in result.people), *result.notes]).encode()
        for person in result.people:
            assert np.isfinite(person.positions).all()
            assert (person.frame < result.frames).all()
    if isinstance(result, Skeleton):
        assert len(set(result.joint_names)) == len(result.parents) == result.num_joints


def run(target: Target, path: Path, random: Random, watch: Watch) -> str:
    """One case: "read", "refused", or raises what is wrong."""
    before = sorted(path.parent.rglob("*"))
    watch.seen.clear()
    watch.on = True
    try:
        with time_limit(SECONDS):
            check(target.read(path, random))
        message = None
    except InputError as error:
        message = str(error)
    finally:
        watch.on = False
    if message is not None:
        assert "\n" not in message, f"a message of several lines: {message[:200]!r}"
        assert len(message) <= MAX_MESSAGE, f"a message of {len(message)} characters"
    assert not watch.seen, f"forbidden: {watch.seen[0]}"
    assert sorted(path.parent.rglob("*")) == before, "files were written"
    return "read" if message is None else "refused"


def detections_reader(name: str) -> Callable[[Path, Random], Detections]:
    """The reader of a format, by itself or as users call it, with and without a skeleton."""

    def read(path: Path, random: Random) -> Detections:
        assert READERS[name].recognise(path) in (True, False)
        skeleton = get_skeleton(random.choice(("coco_17", "body_25", "h36m_17"))) if random.random() < 0.2 else None
        chosen = Path(f"{path}{random.choice(CHOICES.get(name, ('',)))}")
        if name == "mediapipe":
            return read_detections(chosen, format=name, skeleton=skeleton, image_size=(640, 480))
        if random.random() < 0.3:
            return read_detections(chosen, skeleton=skeleton)
        return READERS[name].read(chosen, skeleton)

    return read


def read_video(path: Path, random: Random) -> None:
    """The first pictures."""
    from ites_fast.detections.video import frames, recognise, video_info

    recognise(path)
    info = video_info(path)
    for picture in islice(frames(path), 30):
        assert picture.shape == (info.height, info.width, 3)


def fuzz(targets: list[Target], cases: int, seed: int, keep: Path) -> tuple[dict[str, Counter], list[str]]:
    """So many cases in all, shared evenly; outcomes by reader, and the failures."""
    watch = Watch()
    outcomes: dict[str, Counter] = {target.name: Counter() for target in targets}
    failures: dict[str, str] = {}
    for case in tqdm(range(cases), unit=" cases", disable=None):
        target = targets[case % len(targets)]
        random = Random(f"{seed} {case}")
        with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
            path = place(target, random, Path(name))
            # What hangs outside of Python does not hear the alarm of ``run``; this ends the process and says where.
            faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
            try:
                outcome = run(target, path, random, watch)
            except (Exception, Hang) as error:
                outcome = "failed"
                last = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{target.name}: {type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
                if where not in failures:
                    failures[where] = f"{where}: {str(error)[:200]} (case {case})"
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.move(path, keep / f"{target.name}-{case}{path.suffix}")
        outcomes[target.name][outcome] += 1
    faulthandler.cancel_dump_traceback_later()
    return outcomes, list(failures.values())


def limit_memory() -> None:
    """An allocation beyond ``MEMORY`` raises MemoryError, which is a failure."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)


def main() -> int:
    """Count the outcomes and print the failures; 1 where there are any."""
    from tests.detections.fuzz_targets import all_targets

    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="readers whose name contains this")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="folder for inputs of failures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        targets = [target for target in all_targets(Path(folder)) if options.only in target.name]
    limit_memory()
    logging.getLogger("ites_fast").setLevel(logging.ERROR)
    start = time.perf_counter()
    outcomes, failures = fuzz(targets, options.cases, options.seed, options.keep)
    for name, counts in outcomes.items():
        total, read, refused, failed = sum(counts.values()), counts["read"], counts["refused"], counts["failed"]
        print(f"{name:18} {total:7d} cases: {read:6d} read, {refused:6d} refused, {failed} failed")
    print(f"{options.cases} cases in {time.perf_counter() - start:.0f} s, {len(failures)} kinds of failure")
    print("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

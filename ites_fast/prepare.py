"""Convert a folder of motion files to one npz: ``python -m ites_fast.prepare FOLDER OUTPUT.npz``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tqdm import tqdm

from ites_fast import cli
from ites_fast.data import asf_amc, bvh, motion_files
from ites_fast.data.motion import Motion
from ites_fast.data.plain_npz import save_npz
from ites_fast.data.virtual_cameras import views
from ites_fast.errors import InputError
from ites_fast.files import write_json
from ites_fast.skeleton import H36M_17

DESCRIPTION = """Convert the BVH and ASF/AMC files of a folder, and of the folders below it, to one npz.

Each motion is mapped to the 17 joints of Human3.6M and seen by four virtual cameras, drawn as those of the bundled
sample. Files that cannot be used are skipped; what was skipped and why is printed and written to OUTPUT.report.json."""

MAX_SPEED = 40.0  # metres a second; a joint that moves faster was not tracked


@dataclass(frozen=True)
class Options:
    """What ``python -m ites_fast.prepare`` takes."""

    input_folder: Annotated[Path, tyro.conf.Positional]  # BVH files, or AMC files beside their ASF
    output: Annotated[Path, tyro.conf.Positional]  # the npz to write
    fps: float = 15.0  # frames a second to keep; the whole step through the recording that comes nearest is taken
    still_mm: float = 15.0  # drop a frame when no joint has moved this far since the last kept one; 0 keeps all
    test_subjects: tuple[str, ...] = ()  # these subjects are the test split, the others train; none: all is test data
    seed: int = 0  # of the virtual cameras


def main(options: Options) -> None:
    """Convert, write and report.

    Raises:
        InputError: the folder does not exist, or nothing in it can be used; nothing is written then.
    """
    _check(options)
    motions, report = _read_all(options)
    dataset = views(motions, options.seed, str(options.output))
    dataset.check()
    split = None
    if options.test_subjects:
        unknown = set(options.test_subjects) - set(dataset.subjects)
        if unknown:
            raise InputError(f"--test-subjects: {', '.join(sorted(unknown))} not among {', '.join(dataset.subjects)}")
        is_test = np.isin(dataset.subjects, options.test_subjects)[dataset.subject]
        split = np.where(is_test, "test", "train")
    save_npz(dataset, options.output, split)
    report["views"] = len(dataset)
    report["subjects"] = list(dataset.subjects)
    report_path = options.output.with_suffix(".report.json")
    write_json(report_path, report)
    _print(report, options.output, report_path)


def _check(options: Options) -> None:
    if not options.input_folder.is_dir():
        raise InputError(f"{options.input_folder}: no such folder")
    if options.output.suffix != ".npz":
        raise InputError(f"{options.output}: expected a name that ends in .npz")
    if not options.fps > 0 or not options.still_mm >= 0:
        raise InputError(f"--fps {options.fps} must be positive and --still-mm {options.still_mm} not negative")


def _read_all(options: Options) -> tuple[dict[str, Motion], dict[str, Any]]:
    files = motion_files.find(options.input_folder)
    if not files:
        raise InputError(f"{options.input_folder}: no BVH or AMC file in it or below it")
    motions: dict[str, Motion] = {}
    used, skipped = [], []
    for path in tqdm(files, unit="file", disable=None):
        name = path.relative_to(options.input_folder).as_posix()
        try:
            whole = motion_files.read_motion(path)
            _check_motion(whole, path)
        except (InputError, OSError) as error:
            skipped.append({"file": name, "reason": str(error).removeprefix(str(path)).lstrip(":, ")})
            continue
        motion = whole.thinned(options.fps)
        if options.still_mm > 0:
            motion = motion.moving(options.still_mm / 1000)
        motions[name] = motion
        used.append({"file": name, "subject": motion.subject, "frames": len(whole), "kept": len(motion)})
    if not motions:
        reasons = "; ".join(f"{entry['file']}: {entry['reason']}" for entry in skipped[:3])
        raise InputError(f"{options.input_folder}: none of {len(files)} files can be used: {reasons}")
    mapping = {
        "bvh": dict(zip(H36M_17.joint_names, bvh.JOINTS, strict=True)),
        "amc": dict(zip(H36M_17.joint_names, asf_amc.JOINTS, strict=True)),
    }
    return motions, {"used": used, "skipped": skipped, "joint_mapping": mapping}


def _check_motion(motion: Motion, path: Path) -> None:
    if not np.isfinite(motion.positions).all():
        raise InputError(f"{path}: joints that are NaN or infinite")
    if len(motion) > 1:
        speed = np.linalg.norm(np.diff(motion.positions, axis=0), axis=-1).max() * motion.fps
        if speed > MAX_SPEED:
            raise InputError(f"{path}: a joint moves at {speed:.0f} m/s, expected at most {MAX_SPEED:.0f}")


def _print(report: dict[str, Any], output: Path, report_path: Path) -> None:
    kept = sum(entry["kept"] for entry in report["used"])
    print(f"{len(report['used'])} files, {len(report['subjects'])} subjects, {kept} poses, {report['views']} views")
    for entry in report["skipped"]:
        print(f"skipped {entry['file']}: {entry['reason']}")
    print("joints: " + ", ".join(H36M_17.joint_names))
    print(f"written: {output} and {report_path}")


if __name__ == "__main__":
    cli.run(main, Options, prog="python -m ites_fast.prepare", description=DESCRIPTION)

"""How large the networks are and how long a pose takes them. Nothing is trained for it."""

import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ites_fast.ablation.plan import resolve
from ites_fast.ablation.render import markdown_table
from ites_fast.ablation.tables import C3DPO, RESFC_STUDENT, Row
from ites_fast.config import TrainOptions
from ites_fast.models import ViewLifter, build_network
from ites_fast.normalization import Normalization
from ites_fast.skeleton import H36M_17, Skeleton
from ites_fast.stages import student_architecture, teacher_architecture
from ites_fast.tables import format_columns

BATCHES = (1, 1024)
# Rounds of each network at each batch size: enough for quartiles, and seconds in all.
ROUNDS, QUICK_ROUNDS = {1: 300, 1024: 30}, {1: 60, 1024: 6}
WARMUP_ROUNDS = 3
POSE_SIZE = 0.1  # of normalised 2D poses


class PublishedSize(NamedTuple):
    """What the paper prints, on a GTX 1080 Ti: millions of parameters and milliseconds a pose."""

    parameters: float
    milliseconds: float


SIZE_ROWS = (
    Row("teacher (dictionary)", "teacher", {}),
    Row("student (AGCN)", "student", {}),
    Row("C3DPO", "teacher", C3DPO),
    Row("student (ResFC)", "student", RESFC_STUDENT),
)
PUBLISHED_SIZES = {"student (AGCN)": PublishedSize(7.27, 0.28), "C3DPO": PublishedSize(0.53, 0.17)}
LIGHTER, HEAVIER = "student (AGCN)", "C3DPO"
NOTE = (
    "published as printed, for ITES-TS and C3DPO. The paper's text calls ITES-TS the lighter and the faster one, "
    "so its two rows are probably swapped: 0.53 M is the size of the AGCN student, and two fully connected networks "
    "have about 7.2 M"
)
UNITS = (
    "parameters in millions: those used for lifting and, where training needs more, all; time a pose: median (quartile "
    "range) of rounds in which the networks take turns, normalised 2D to 3D, float32"
)


@dataclass(frozen=True)
class Size:
    """The figures of one network."""

    name: str
    parameters: int
    training_parameters: int
    milliseconds: dict[int, tuple[float, float]]  # median and quartile range a pose, by batch size

    def to_dict(self) -> dict[str, Any]:
        published = PUBLISHED_SIZES.get(self.name)
        return {
            "name": self.name,
            "parameters": self.parameters,
            "training_parameters": self.training_parameters,
            "milliseconds_per_pose": {
                str(batch): {"median": median, "quartile_range": spread}
                for batch, (median, spread) in self.milliseconds.items()
            },
            "published": published and published._asdict(),
        }


@dataclass(frozen=True)
class SizeReport:
    """What is said of the sizes: ``setting`` names device, threads and preset."""

    setting: str
    sizes: tuple[Size, ...]
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "title": "parameters and inference time",
            "setting": self.setting,
            "units": UNITS,
            "notes": [NOTE],
            "rows": [size.to_dict() for size in self.sizes],
            "claims": [{"sentence": self.sentence}],
        }

    def header(self) -> list[str]:
        times = [f"ms a pose/batch {batch}" for batch in BATCHES]
        return ["network", "parameters/M", *times, "published/M", "published/ms"]

    def cells(self) -> list[list[str]]:
        rows = []
        for size in self.sizes:
            parameters = f"{size.parameters / 1e6:.2f}"
            if size.training_parameters != size.parameters:
                parameters += f" ({size.training_parameters / 1e6:.2f})"
            times = [f"{median:.3g} ({spread:.2g})" for median, spread in size.milliseconds.values()]
            published = PUBLISHED_SIZES.get(size.name)
            printed = ["-", "-"] if published is None else [f"{value:.2f}" for value in published]
            rows.append([size.name, parameters, *times, *printed])
        return rows

    def text(self) -> str:
        """Setting, columns, legend and whether the paper's sentence holds."""
        columns = format_columns(self.header(), self.cells())
        return f"parameters and inference time: {self.setting}\n\n{columns}\n\n{UNITS}\n{NOTE}\n\n{self.sentence}"

    def markdown(self) -> str:
        """The same as a Markdown section."""
        table = markdown_table(self.header(), self.cells())
        title = "## Parameters and inference time"
        return "\n\n".join([title, self.setting, table, f"{UNITS}  \n{NOTE}", self.sentence]) + "\n"


def measure_sizes(base: TrainOptions, device: torch.device, rounds: dict[int, int] = ROUNDS) -> SizeReport:
    """Build the networks of a preset, count, and time them.

    Args:
        base: options of the recipe "ites".
        device: that runs them.
        rounds: timed rounds by batch size.
    """
    lifters = {row.name: build_lifter(row, base, H36M_17).to(device).eval() for row in SIZE_ROWS}
    timings = {batch: time_in_turns(list(lifters.values()), batch, count) for batch, count in rounds.items()}
    sizes = tuple(
        Size(
            name,
            inference_parameters(lifter.network),
            sum(parameter.numel() for parameter in lifter.network.parameters()),
            {batch: timings[batch][index] for batch in rounds},
        )
        for index, (name, lifter) in enumerate(lifters.items())
    )
    setting = f"preset {base.preset}, random weights, {device_name(device)}, torch {torch.__version__}"
    return SizeReport(setting, sizes, judge_sizes({size.name: size for size in sizes}))


def build_lifter(row: Row, base: TrainOptions, skeleton: Skeleton) -> ViewLifter:
    """The untrained network of a row, behind the interface that lifts."""
    options = resolve(base, row.changes)
    is_teacher = row.model == "teacher"
    architecture = teacher_architecture(options.teacher) if is_teacher else student_architecture(options.student)
    network = build_network(architecture["network"], skeleton, architecture["options"])
    generator = torch.Generator().manual_seed(0)
    image = POSE_SIZE * torch.randn(2, skeleton.num_joints, 2, generator=generator)
    wanted = options.normalization
    return ViewLifter(
        network,
        skeleton,
        Normalization.fit(image, skeleton, wanted.view, wanted.scale, wanted.camera_depth, source="-"),
    )


def inference_parameters(network: nn.Module) -> int:
    """Parameters that lifting needs: C3DPO's canonicalisation network is for training alone."""
    return sum(p.numel() for name, p in network.named_parameters() if not name.startswith("canonicalizer."))


@torch.inference_mode()
def time_in_turns(lifters: list[ViewLifter], batch: int, rounds: int) -> list[tuple[float, float]]:
    """Milliseconds a pose, median and quartile range, of each network at one batch size."""
    device = next(lifters[0].parameters()).device
    pose_2d = POSE_SIZE * torch.randn(batch, H36M_17.num_joints, 2, generator=torch.Generator().manual_seed(0))
    pose_2d = pose_2d.to(device)
    times: list[list[float]] = [[] for _ in lifters]
    for number in range(WARMUP_ROUNDS + rounds):
        for lifter, taken in zip(lifters, times, strict=True):
            seconds = _seconds(lifter, pose_2d)
            if number >= WARMUP_ROUNDS:
                taken.append(1000 * seconds / batch)
    return [(statistics.median(taken), _quartile_range(taken)) for taken in times]


def _seconds(lifter: ViewLifter, pose_2d: Tensor) -> float:
    if pose_2d.is_cuda:
        torch.cuda.synchronize()
    started = time.perf_counter()
    lifter.lift_normalized(pose_2d)
    if pose_2d.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _quartile_range(values: list[float]) -> float:
    first, _, third = statistics.quantiles(values, n=4)
    return third - first


def judge_sizes(sizes: dict[str, Size]) -> str:
    """Whether the student is the lighter and the faster one, as the paper's text says."""
    light, heavy = sizes[LIGHTER], sizes[HEAVIER]
    pairs = {"parameters, in millions": (light.parameters / 1e6, heavy.parameters / 1e6)}
    pairs |= {
        f"ms a pose in batches of {batch}": (light.milliseconds[batch][0], heavy.milliseconds[batch][0])
        for batch in light.milliseconds
    }
    parts = [
        f"{name} {first:.3g} {'<' if first < second else '>='} {second:.3g} "
        f"({'reproduced' if first < second else 'NOT reproduced'})"
        for name, (first, second) in pairs.items()
    ]
    return f"{LIGHTER} < {HEAVIER}: the paper calls its student lighter and faster; here {'; '.join(parts)}."


def device_name(device: torch.device) -> str:
    """What a timing ran on: the GPU, or the processor with its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{_processor()} ({threads} thread{'s' * (threads > 1)})"


def _processor() -> str:
    path = Path("/proc/cpuinfo")  # platform.processor() is empty on many Linux systems
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

"""What each source measures and calls its result. A protocol is data: measures, headline, and how means are taken.

Columns of different protocols must not be compared, except ``p_mpjpe/flip=none`` with itself. Every protocol computes
the common rows, without and with the flip oracle, and adds the rows of its source.
"""

from dataclasses import dataclass
from typing import Literal

from ites_fast import metrics
from ites_fast.errors import InputError
from ites_fast.measures import FlipRule, Measure

ProtocolName = Literal["strict", "ites", "c3dpo", "elepose"]

# Of H36M-17 without hip and hip joints.
ITES_PCK_JOINTS = (2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)


@dataclass(frozen=True)
class Protocol:
    """One source's way to measure.

    Args:
        name: what ``--protocol`` takes.
        convention: what is done, in one sentence for reports.
        headline: keys of the figures that the source reports.
        measures: everything that is computed; keys are unique.
        scales: what the ``scale`` in a key means, by its name.
        pck_scale: scale of the poses behind every pck and auc.
        mean_over: "poses" weighs poses equally, "actions" takes the mean over actions of the mean over their poses.
    """

    name: str
    convention: str
    headline: tuple[str, ...]
    measures: tuple[Measure, ...]
    scales: dict[str, str]
    pck_scale: metrics.Scale
    mean_over: Literal["poses", "actions"] = "poses"

    def __post_init__(self) -> None:
        keys = [measure.key for measure in self.measures]
        assert len(set(keys)) == len(keys), f"two measures of {self.name} share a key"
        assert set(self.headline) <= set(keys), f"a headline of {self.name} is not measured"


SCALES = {
    "none": "body units times the stated metres per unit; nothing is taken from the ground truth",
    "lstsq": "one factor per pose, least squares over root-relative joints",
    "procrustes": "one factor per pose, that of its similarity alignment (proper rotations)",
}


def common_rows(procrustes: metrics.Scale, pck_scale: metrics.Scale) -> tuple[Measure, ...]:
    """The rows of every protocol, without and with the flip oracle."""
    flips: tuple[FlipRule, ...] = ("none", "best")
    rows = (
        ("p_mpjpe", "none"),
        ("n_mpjpe", "lstsq"),
        ("mpjpe", procrustes),
        ("mpjpe", "none"),
        ("pck@150", pck_scale),
        ("auc", pck_scale),
    )
    return (*(Measure(metric, scale, flip) for metric, scale in rows for flip in flips), Measure("flip_rate", "lstsq"))


STRICT = Protocol(
    name="strict",
    convention="no oracle but one scale per pose: the predicted sign of depth counts",
    headline=("p_mpjpe/flip=none", "n_mpjpe/flip=none/scale=lstsq"),
    measures=common_rows("procrustes", "lstsq"),
    scales=SCALES,
    pck_scale="lstsq",
)

ITES = Protocol(
    name="ites",
    convention=(
        "best of z and -z per pose, separately for mpjpe and p_mpjpe; scale from the sum of singular values without "
        "the determinant's sign; source: test_student.py, common/camera.py and common/loss.py of the ITES release"
    ),
    headline=("mpjpe/flip=best/scale=procrustes", "p_mpjpe/flip=best"),
    measures=(
        *common_rows("unsigned", "unsigned"),
        Measure("pck@150", "unsigned", "best_joint", ITES_PCK_JOINTS),
        Measure("auc", "unsigned", "best_joint", ITES_PCK_JOINTS),
    ),
    scales=SCALES | {"procrustes": "one factor per pose, sum of all three singular values, the sign ignored"},
    pck_scale="unsigned",
)
"""The evaluation of the released code, its peculiarity included.

For each pose and its copy with negated z the release centres both poses on their mean joint, takes the singular values
of the normalised 3x3 correlation with the ground truth, and multiplies the prediction, not centred, by the sum of the
three values times the ratio of the norms; then it subtracts the root joint. The subtraction makes it indifferent that
the prediction was not centred. A similarity alignment has the smallest singular value with the sign of the determinant;
the release leaves that sign out here (its P-MPJPE has it). The two candidates are mirror images, so one of them has a
negative determinant and gets a larger scale than the least squares one. ``metrics.fit_scale`` calls it "unsigned".

PCK and AUC: 14 joints (no hip, no hip joints), the better candidate for each joint and not for each pose. The function
in the release leaves the alignment to a caller that is not part of it; we use the scale of mpjpe.
"""

C3DPO = Protocol(
    name="c3dpo",
    convention=(
        "best of z and -z per pose after root alignment, mean over actions; source: dataset/eval_zoo.py of C3DPO, "
        "except that the scale is fitted on x and y"
    ),
    headline=("mpjpe/flip=best/scale=xy", "stress/flip=none/scale=xy"),
    measures=(
        *common_rows("procrustes", "lstsq"),
        Measure("mpjpe", "xy", "none"),
        Measure("mpjpe", "xy", "best"),
        Measure("stress", "xy"),
    ),
    scales=SCALES | {"xy": "one factor per pose, least squares over x and y, the part that the image determines"},
    pck_scale="lstsq",
    mean_over="actions",
)
"""C3DPO fits no scale: its Human3.6M files hold 2D and 3D in one unit, with a factor to millimetres per pose, so its
predictions have the size of the 2D. Our 2D has no such unit; the scale that matches x and y takes its place. Stress is
the mean absolute difference of the distances between joints and needs no flip.
"""

ELEPOSE = Protocol(
    name="elepose",
    convention=(
        "no flip oracle; scale from the ratio of norms; p_mpjpe may reflect; "
        "source: utils/metrics_batch.py and train.py of ElePose"
    ),
    headline=("p_mpjpe/flip=none/reflection=allowed", "n_mpjpe/flip=none/scale=norm"),
    measures=(
        *common_rows("procrustes", "norm"),
        Measure("p_mpjpe", flip="reflection"),
        Measure("n_mpjpe", "norm"),
    ),
    scales=SCALES | {"norm": "one factor per pose, ratio of the norms of the root-relative poses"},
    pck_scale="norm",
)
"""The released code multiplies by the ratio of norms where n_mpjpe usually means least squares; both rows are computed.
PCK and AUC use the same scale. Its P-MPJPE is called with ``reflection="best"``: the orthogonal matrix that fits best
in the least squares sense, a reflection or not, which amounts to a flip oracle.
"""

PROTOCOLS = {protocol.name: protocol for protocol in (STRICT, ITES, C3DPO, ELEPOSE)}


def get_protocol(name: str) -> Protocol:
    """The protocol called ``name``.

    Raises:
        InputError: no protocol has this name.
    """
    if name not in PROTOCOLS:
        raise InputError(f"protocol {name!r} is unknown; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]

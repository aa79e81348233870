"""The tables as data: a row is a name and what it changes in the options of a run.

Published figures are those of the paper (Xu et al., "Invariant Teacher and Equivariant Student for Unsupervised 3D
Human Pose Estimation", AAAI 2021): Human3.6M, ground-truth 2D, scale-normalised MPJPE and P-MPJPE with the better sign
of depth for each pose, in millimetres.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Published(NamedTuple):
    """A published error in millimetres; None where the paper has none."""

    mpjpe: float
    p_mpjpe: float | None = None


@dataclass(frozen=True)
class Same:
    """The value that another option has in the same run, as ``Same("student.blocks")``."""

    option: str


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        name: what the table calls it.
        model: stage of the run whose model is evaluated.
        changes: values, or ``Same``, by dotted option, as ``{"teacher.atoms": 8}``.
        published: the paper's figures.
    """

    name: str
    model: str
    changes: Mapping[str, Any]
    published: Published | None = None


@dataclass(frozen=True)
class Claim:
    """An ordering: the row called ``better`` has the smaller error."""

    better: str
    worse: str


@dataclass(frozen=True)
class Table:
    """Rows, and the orderings that they are to show.

    Args:
        name: what ``--table`` takes.
        title: what it compares.
        recipe: whose options the rows change.
        rows: lines, with names of their own.
        claims: orderings between rows.
        notes: sentences below the table.
        sweep: option along the horizontal axis of a figure, where the rows are a sweep.
        chosen: value of ``sweep`` that the paper settles on.
    """

    name: str
    title: str
    recipe: str
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()
    sweep: str | None = None
    chosen: float | None = None

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        assert len(set(names)) == len(names), f"two rows of {self.name} share a name"
        assert {name for claim in self.claims for name in (claim.better, claim.worse)} <= set(names), self.name


BOTH = Published(77.2, 51.9)
TEACHER_ALONE = Published(85.6, 54.9)
RESFC_STUDENT = {
    "student.network": "resfc",
    "student.blocks": Same("teacher.blocks"),
    "student.width": Same("teacher.width"),
    "student.bottleneck": Same("teacher.bottleneck"),
}
AGCN_FEATURES = {
    "teacher.features": "agcn",
    "teacher.blocks": Same("student.blocks"),
    "teacher.channels": Same("student.channels"),
    "teacher.graph_variant": Same("student.variant"),
}
C3DPO = {"teacher.method": "c3dpo"}

LOSSES = Table(
    "losses",
    "what each training loss is worth",
    "ites",
    (
        Row("teacher: reprojection", "teacher", {"teacher.invariance_weight": 0.0}, Published(153.5, 120.4)),
        Row("teacher: reprojection, invariance", "teacher", {}, TEACHER_ALONE),
        Row("student: equivariance", "student", {"student.distillation_weight": 0.0}, Published(192.3, 159.7)),
        Row("student: distillation", "student", {"student.equivariance_weight": 0.0}, Published(82.4, 54.3)),
        Row("student: distillation, equivariance", "student", {}, BOTH),
    ),
    (
        Claim("teacher: reprojection, invariance", "teacher: reprojection"),
        Claim("student: distillation", "student: equivariance"),
        Claim("student: distillation, equivariance", "student: distillation"),
        Claim("student: distillation, equivariance", "teacher: reprojection, invariance"),
    ),
)
SUBSTITUTES = Table(
    "substitutes",
    "other teachers and students",
    "ites",
    (
        Row("C3DPO alone", "teacher", C3DPO, Published(95.6)),
        Row("dictionary alone", "teacher", {}, TEACHER_ALONE),
        Row("C3DPO, then ResFC", "student", C3DPO | RESFC_STUDENT, Published(93.2, 60.0)),
        Row("C3DPO, then AGCN", "student", C3DPO, Published(91.7, 59.6)),
        Row("dictionary, then ResFC", "student", RESFC_STUDENT, Published(82.3, 53.6)),
        Row("dictionary, then AGCN", "student", {}, BOTH),
    ),
    (
        Claim("dictionary alone", "C3DPO alone"),
        Claim("dictionary, then ResFC", "C3DPO, then ResFC"),
        Claim("dictionary, then AGCN", "C3DPO, then AGCN"),
        Claim("C3DPO, then AGCN", "C3DPO, then ResFC"),
        Claim("dictionary, then AGCN", "dictionary, then ResFC"),
    ),
    ("C3DPO is ours, with the teacher's trunk, dictionary, weights and optimizer; the paper's is the released one.",),
)
GRAPHS = Table(
    "graphs",
    "graphs of the student",
    "ites",
    (
        Row("physical", "student", {"student.graphs": "physical"}, Published(81.1, 52.8)),
        Row("nonphysical", "student", {"student.graphs": "nonphysical"}, Published(83.3, 53.4)),
        Row("both", "student", {}, BOTH),
    ),
    (Claim("both", "physical"), Claim("both", "nonphysical"), Claim("physical", "nonphysical")),
)
ATOMS, CHOSEN_ATOMS = (2, 4, 8, 12, 16, 24, 48), 12
DICTIONARY = Table(
    "dictionary",
    "atoms of the teacher's dictionary",
    "ites",
    tuple(
        Row(f"{atoms} atoms", "teacher", {"teacher.atoms": atoms}, TEACHER_ALONE if atoms == CHOSEN_ATOMS else None)
        for atoms in ATOMS
    ),
    tuple(Claim(f"{CHOSEN_ATOMS} atoms", f"{atoms} atoms") for atoms in (ATOMS[0], ATOMS[-1])),
    ("The paper shows other sizes in a figure without numbers: smaller and larger dictionaries are worse.",),
    sweep="teacher.atoms",
    chosen=CHOSEN_ATOMS,
)


RATIOS, CHOSEN_RATIO = (1.0, 2.0, 5.0, 10.0, 20.0), 5.0


def _weight_rows(stage: str, losses: tuple[str, str], published: Published) -> tuple[Row, ...]:
    return tuple(
        Row(
            f"{stage}: {losses[0]} {ratio:g}, {losses[1]} 1",
            stage,
            {f"{stage}.{losses[0]}_weight": ratio, f"{stage}.{losses[1]}_weight": 1.0},
            published if ratio == CHOSEN_RATIO else None,
        )
        for ratio in RATIOS
    )


def _chosen_is_best(rows: tuple[Row, ...]) -> tuple[Claim, ...]:
    chosen = rows[RATIOS.index(CHOSEN_RATIO)]
    return tuple(Claim(chosen.name, row.name) for row in rows if row is not chosen)


TEACHER_WEIGHTS = _weight_rows("teacher", ("reprojection", "invariance"), TEACHER_ALONE)
STUDENT_WEIGHTS = _weight_rows("student", ("distillation", "equivariance"), BOTH)
WEIGHTS = Table(
    "weights",
    "weights of the losses",
    "ites",
    TEACHER_WEIGHTS + STUDENT_WEIGHTS,
    _chosen_is_best(TEACHER_WEIGHTS) + _chosen_is_best(STUDENT_WEIGHTS),
    (
        "The paper settles on 5 and 1 in both stages, its third of five pairs. The other pairs are lost in the text "
        "that we have; published with them, in its order: teacher 144.3 / 86.1, 101.5 / 65.5, chosen, 92.7 / 57.7, "
        "96.7 / 62.8; student 85.2 / 54.4, 84.0 / 53.3, chosen, 80.2 / 52.0, 81.8 / 52.9.",
        "The students of this table learn from the preset's own teacher.",
    ),
)
FEATURES = Table(
    "features",
    "features of the teacher",
    "ites",
    (
        Row("AGCN", "teacher", AGCN_FEATURES, Published(112.3, 68.6)),
        Row("ResFC", "teacher", {}, Published(85.9, 55.2)),
    ),
    (Claim("ResFC", "AGCN"),),
)

TABLES = {table.name: table for table in (LOSSES, SUBSTITUTES, GRAPHS, DICTIONARY, WEIGHTS, FEATURES)}

"""Rows of the tables resolve to valid runs, and runs that several rows ask for are there once."""

from dataclasses import replace
from pathlib import Path

import pytest

from ites_fast.ablation.plan import all_runs, folder_name, option_value, plan, resolve
from ites_fast.ablation.prior_tables import PRIOR_TABLES
from ites_fast.ablation.tables import C3DPO, RESFC_STUDENT, TABLES, Row, Same, Table
from ites_fast.config import PRESETS, STAGES
from ites_fast.errors import InputError
from ites_fast.option_checks import check_options

QUICK = PRESETS["ites", "quick"]
OUT = Path("runs")
PAPER_PRESETS = ("quick", "paper", "official")


EVERY_TABLE = [
    *(
        pytest.param(table, preset, id=f"{table.name}-{preset}")
        for table in TABLES.values()
        for preset in PAPER_PRESETS
    ),
    *(pytest.param(table, "quick", id=table.name) for table in PRIOR_TABLES.values()),
]


@pytest.mark.parametrize(("table", "preset"), EVERY_TABLE)
def test_every_row_is_a_valid_run_of_its_own(table, preset):
    planned = plan(table, PRESETS[table.recipe, preset], OUT, seeds=1)
    assert list(planned) == [row.name for row in table.rows]
    runs = [run for (run,) in planned.values()]
    assert len(set(runs)) == len({run.folder for run in runs}) == len(runs)
    for row, run in zip(table.rows, runs, strict=True):
        check_options(run.options)
        assert run.model == row.model
        assert len(run.folder.name) <= 255
        for name, value in row.changes.items():
            expected = option_value(run.options, value.option) if isinstance(value, Same) else value
            assert option_value(run.options, name) == expected


@pytest.mark.parametrize(("table", "preset"), EVERY_TABLE)
def test_a_shortened_budget_is_every_rows(table, preset):
    forced = {"teacher.steps": 3, "student.steps": 4, "flow.steps": 5, "lifter.steps": 6}
    for run in all_runs(plan(table, PRESETS[table.recipe, preset], OUT, seeds=1, forced=forced)):
        assert {name: option_value(run.options, name) for name in forced} == forced


@pytest.mark.parametrize(("table", "preset"), EVERY_TABLE)
def test_a_budget_is_a_share_of_every_rows_own_steps(table, preset):
    base = PRESETS[table.recipe, preset]
    whole, half = (plan(table, base, OUT, seeds=1, budget=budget) for budget in (1.0, 0.5))
    for row in table.rows:
        for stage in STAGES[table.recipe]:
            full, short = (getattr(planned[row.name][0].options, stage) for planned in (whole, half))
            unit = "epochs" if full.steps is None else "steps"
            assert getattr(short, unit) == round(getattr(full, unit) / 2)


@pytest.mark.parametrize(
    ("name", "teachers", "students"),
    [
        ("losses", 2, 3),
        ("substitutes", 2, 4),
        ("graphs", 1, 3),
        ("dictionary", 7, 0),
        ("weights", 5, 5),
        ("features", 2, 0),
    ],
)
def test_teachers_are_shared(name, teachers, students):
    """The quick preset's own weights are 20 : 1, one of the rows of the table of weights."""
    runs = all_runs(plan(TABLES[name], QUICK, OUT, seeds=3))
    stages = [run.options.stage for run in runs]
    assert stages.count("teacher") == 3 * teachers
    assert len(runs) == 3 * (teachers + students)
    assert {run.options.seed for run in runs} == {0, 1, 2}
    for number, run in enumerate(runs):
        assert run.needs is None or runs.index(run.needs) < number
        assert run.needs is None or run.options.teacher_checkpoint == str(run.needs.folder / "teacher.safetensors")


def test_tables_share_runs():
    planned = [plan(table, QUICK, OUT, seeds=1) for table in TABLES.values()]
    whole = {each for table in planned for each in all_runs(table)}
    assert len(whole) < sum(len(all_runs(table)) for table in planned)
    plain = {run for run in whole if run.folder.name in ("teacher-seed0", "student-seed0")}
    assert len(plain) == 2
    assert planned[0]["student: distillation, equivariance"] == planned[2]["both"]


def test_a_teacher_does_not_depend_on_its_students():
    row = Row("row", "student", {"student.graphs": "physical", "teacher.atoms": 7})
    (run,) = plan(Table("t", "t", "ites", (row,)), QUICK, OUT, seeds=1)["row"]
    assert run.needs.options.student == QUICK.student
    assert run.needs.options.teacher.atoms == run.options.teacher.atoms == 7
    assert run.folder == OUT / "student+teacher.atoms=7+graphs=physical-seed0"
    assert run.needs.folder == OUT / "teacher+atoms=7-seed0"


def test_a_fully_connected_student_has_the_size_of_the_teacher():
    base = replace(QUICK, teacher=replace(QUICK.teacher, blocks=3, width=20, bottleneck=7))
    options = resolve(base, C3DPO | RESFC_STUDENT)
    student = options.student
    assert (student.network, student.blocks, student.width, student.bottleneck) == ("resfc", 3, 20, 7)
    assert options.teacher.method == "c3dpo"


def test_what_does_not_exist_is_refused():
    with pytest.raises(KeyError, match="no option atom in TeacherOptions"):
        resolve(QUICK, {"teacher.atom": 3})
    row = Row("row", "teacher", {"teacher.atoms": 0})
    with pytest.raises(InputError, match=r"--teacher\.atoms: expected at least 1, got 0"):
        plan(Table("t", "t", "ites", (row,)), QUICK, OUT, seeds=1)


def test_a_table_of_the_other_recipe_shares_its_densities():
    rows = (
        Row("all", "lifter", {}),
        Row("no bones", "lifter", {"lifter.bone_weight": 0.0}),
        Row("short flow", "lifter", {"flow.steps": 10}),
        Row("labels", "lifter", {"lifter.supervised": True}),
    )
    planned = plan(Table("t", "t", "prior", rows), PRESETS["prior", "quick"], OUT, seeds=2)
    runs = all_runs(planned)
    assert [run.options.stage for run in runs].count("flow") == 2 * 2
    assert planned["all"][0].needs == planned["no bones"][0].needs != planned["short flow"][0].needs
    assert planned["labels"][0].needs is None
    assert planned["all"][0].needs.model is None
    assert planned["all"][1].options.flow_checkpoint == str(OUT / "flow-seed1" / "flow.safetensors")


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_published_figures_have_the_orderings_that_are_claimed(table):
    published = {row.name: row.published for row in table.rows}
    for claim in table.claims:
        better, worse = published[claim.better], published[claim.worse]
        for first, second in zip(better or (), worse or (), strict=False):
            assert first is None or second is None or first < second


def test_names_of_many_changes_are_cut_and_stay_different():
    """File systems take names of at most 255 characters."""
    many = {f"teacher.{name}": value for name, value in vars(QUICK.teacher).items() if isinstance(value, float | int)}
    longer = {name: value + 1 for name, value in many.items() if not isinstance(value, bool)}
    longer |= {name.replace("teacher", "student"): 7 for name in longer if hasattr(QUICK.student, name.split(".")[1])}
    names = [
        folder_name("student", QUICK, resolve(QUICK, longer | {"teacher.atoms": atoms, "student.halve_epochs": last}))
        for atoms in (3, 4)
        for last in (2, 3)
    ]
    assert len(set(names)) == 4
    assert all(200 < len(name) <= 255 for name in names)

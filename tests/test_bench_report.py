"""The benchmarks' harness compares before it times, and their report shows what was measured and nothing else."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def bench(monkeypatch):
    """Imports a module of bench/, which is not installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"bench.{name}")


@pytest.fixture
def measure(bench):
    """A ``Measure`` that only checks; its benchmark calls the function once."""
    harness = bench("harness")

    class Benchmark:
        def pedantic(self, run, **_):
            run()

    return harness.Measure(Benchmark(), torch.device("cpu"), harness.Clock(60), {}, is_largest=True, check_only=True)


def case(operator="turn", poses=128, device="cpu", ratio=2.0, **changes):
    """What the harness stores of a case."""
    arm = {"median_s": 0.002, "q1_s": 0.0019, "q3_s": 0.0021, "min_s": 0.0018, "rounds": 10, "ratio": 1.0}
    arm |= {"peak_bytes": 3_000_000, "calls_a_timing": 1, "threads": 1, "poses": poses}
    return {
        "operator": operator,
        "what": "forward",
        "poses": poses,
        "precision": "float32",
        "settings": {"joints": 17},
        "device": device,
        "arms": {"ites_fast": arm, "eager": arm | {"ratio": 3.0}, "torch.compile": arm | {"ratio": ratio}},
        "not_timed": {"roma": "roma is not installed"},
        "best_rival": "torch.compile",
        "ratio": ratio,
        "ratio_quartiles": [1.8, 2.2],
        "roofline_percent": 40.0,
        "bound": "bytes",
    } | changes


@pytest.fixture
def results(tmp_path):
    """Writes a JSON as pytest-benchmark does."""

    def write(name, *cases, date="2026-11-20T10:00:00"):
        ceilings = {"1": {"bytes_per_second": 2e10, "flops_per_second": {"float32": 1e11}}}
        machine = {"cpu": "x86_64, 2 cores", "gpu": None, "driver": None, "load_at_start": 0.1, "ceilings": ceilings}
        machine |= {"torch": "2.13.0", "triton": None, "libraries": {"numpy": "2.4.6", "roma": None}}
        document = {"datetime": date, "machine_info": machine, "commit_info": {"id": "abcdef0123456", "dirty": False}}
        document["benchmarks"] = [{"extra_info": info} for info in cases]
        (tmp_path / name).write_text(json.dumps(document))
        return tmp_path

    return write


def test_a_row_for_each_measured_case(bench, results):
    report = bench("report")
    folder = results("cpu.json", case(poses=128), case(poses=4096), case("lift", roofline_percent=None, bound=None))
    (folder / "old.json").write_text(json.dumps({"benchmarks": [{"extra_info": {"poses": 1}}], "machine_info": {}}))
    (folder / "list.json").write_text("[]")
    cases, passed_over = report.read_cases(folder)
    assert passed_over == ["list.json", "old.json"]
    rows = report.table(cases).splitlines()[2:]
    assert [row.split(" | ")[:3] for row in rows] == [
        ["| `lift`, forward, float32; joints 17", "cpu", "128"],
        ["| `turn`, forward, float32; joints 17", "cpu", "128"],
        ["| `turn`, forward, float32; joints 17", "cpu", "4,096"],
    ]
    assert "| 2 (1.9 to 2.1) | torch.compile **2** (1.8 to 2.2); eager 3 | 40 (bytes) | 3 |" in rows[1]
    assert "40" not in rows[0]
    assert [case.info["poses"] for case in report.largest(cases)] == [128, 4096]
    text = report.document(cases)
    assert "copy 20 GB/s, products float32 0.1 TFLOP/s" in text
    assert "version abcdef0123, 2026-11-20." in text
    assert "* cpu, roma: roma is not installed (3)" in text


def test_the_latest_measurement_counts(bench, results):
    results("a.json", case(ratio=5.0), date="2026-11-20T12:00:00")
    folder = results("b.json", case(ratio=2.0), date="2026-11-20T11:00:00")
    (only,) = bench("report").read_cases(folder)[0]
    assert only.info["ratio"] == 5.0


def test_the_report_is_written_and_checked(bench, results, capsys):
    report = bench("report")
    folder = results("cpu.json", case())
    readme = folder / "README.md"
    arguments = ["--results", str(folder), "--readme", str(readme)]
    readme.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    assert report.main([*arguments, "--check"]) == 1
    assert report.main(arguments) == 0
    assert report.main([*arguments, "--check"]) == 0
    assert readme.read_text().startswith("before\n<!-- bench -->\n")
    assert readme.read_text().endswith("<!-- /bench -->\nafter\n")
    assert "`turn`" in readme.read_text()
    assert "old" not in readme.read_text()
    assert (folder / "benchmarks.png").stat().st_size > 1000
    results("cpu.json", case(ratio=9.0))
    assert report.main([*arguments, "--check"]) == 1
    assert "out of date" in capsys.readouterr().out
    readme.write_text("no marks")
    with pytest.raises(ValueError, match="no lines"):
        report.main(arguments)


def test_without_measurements_there_is_no_report(bench, tmp_path, capsys):
    assert bench("report").main(["--results", str(tmp_path)]) == 2
    assert "nothing was measured" in capsys.readouterr().out


def test_the_readme_shows_the_stored_results(bench, capsys):
    report = bench("report")
    if not report.read_cases(ROOT / "bench" / "results")[0]:
        pytest.skip("bench/results holds no measurement of this harness")
    assert report.main(["--check"]) == 0, capsys.readouterr().out


def test_arms_are_compared_with_the_reference(bench, measure):
    harness = bench("harness")
    work = harness.Work("turn", "forward", 4)
    right = torch.ones(4)
    agreeing = {"ites_fast": lambda: right, "eager": lambda: right}
    measure(work, agreeing)
    measure(work, agreeing | {"first two": harness.Arm(lambda: right[:2], poses=2)})
    with pytest.raises(AssertionError, match="other, tensor 0"):
        measure(work, agreeing | {"other": lambda: 1.01 * right})
    with pytest.raises(AssertionError, match="2 tensors, the reference 1"):
        measure(work, agreeing | {"other": lambda: (right, right)})


def test_a_rival_that_fails_is_named_and_ours_is_not_forgiven(bench, measure):
    harness = bench("harness")

    def failing():
        raise RuntimeError("no such device\nand more")

    arms = {"eager": harness.Arm(lambda: 1.0), "other": harness.Arm(failing)}
    missing = {}
    ready = measure._warm(arms | {"ites_fast": harness.Arm(lambda: 1.0)}, missing, 1e-3)
    assert missing == {"other": "failed: RuntimeError: no such device"}
    assert set(ready) == {"eager", "ites_fast"}
    with pytest.raises(RuntimeError, match="no such device"):
        measure._warm(arms | {"ites_fast": harness.Arm(failing)}, {}, 1e-3)


def test_nothing_is_compiled_without_time(bench, measure):
    harness = bench("harness")
    measure.clock = harness.Clock(0)
    missing = {}
    arms = {name: harness.Arm(lambda: 1.0) for name in ("ites_fast", "eager")}
    ready = measure._warm(arms | {"torch.compile": harness.Arm(lambda: 1.0, compiles=True)}, missing, 1e-3)
    assert set(ready) == {"ites_fast", "eager"}
    assert "--bench-seconds" in missing["torch.compile"]


def test_ratios_are_of_one_round_and_of_one_pose(bench):
    harness = bench("harness")
    arms = {"ites_fast": harness.Arm(None), "slow": harness.Arm(None, poses=10)}
    times = {"ites_fast": [1.0, 2.0], "slow": [3.0, 4.0]}
    assert harness.round_ratios(times, "slow", arms, poses=100) == [30.0, 20.0]


def test_the_roofline_is_the_higher_of_two_bounds(bench):
    ceilings = bench("roofline").Ceilings(100.0, {"float32": 10.0})
    assert ceilings.least_seconds(200, 5, "float32") == 2.0
    assert ceilings.least_seconds(200, 50, "float32") == 5.0


def test_peak_memory_is_what_is_held_at_once(bench):
    def run():
        first = torch.ones(1000)
        second = torch.ones(500)
        del first
        return second + torch.ones(500)

    assert bench("measurements").peak_bytes(run, torch.device("cpu")) == 6000


def test_a_stage_that_fails_on_the_gpu_machine_does_not_stop_the_next(tmp_path):
    if torch.cuda.is_available() or shutil.which("nvidia-smi") or shutil.which("compute-sanitizer"):
        pytest.skip("the stages would run here")
    command = ["bash", str(ROOT / "bench" / "gpu.sh"), str(tmp_path / "out")]
    environment = os.environ | {"PYTHON": sys.executable}
    result = subprocess.run([*command, "build", "sanitizers"], env=environment, capture_output=True, text=True)
    assert result.returncode == 2, result.stdout + result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["build.log", "sanitizers.log", "summary.json"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {stage: entry["status"] for stage, entry in summary.items()} == {"build": 1, "sanitizers": 1}
    assert "nvidia-smi" in summary["build"]["last_line"]
    assert "nothing was checked" in summary["sanitizers"]["last_line"]
    unknown = subprocess.run([*command, "everything"], env=environment, capture_output=True, text=True)
    assert unknown.returncode == 2
    assert "there is no stage everything" in unknown.stderr


@pytest.mark.slow
def test_every_benchmark_compares_its_arms():
    command = [sys.executable, "-m", "pytest", "bench/", "--bench-check", "-q", "-rs", "-p", "no:cacheprovider"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout

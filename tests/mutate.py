"""``python -m tests.mutate``: put each fault of ``tests/faults.py`` into a copy of the tree; its test must fail.

The working tree is not touched. Every test passes on the copy first, because a test that fails anyway proves nothing.
Where a fault is in ``csrc/`` the copy's extension is compiled anew. Status 1 where a fault survives or cannot be tried.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = (".git", ".venv", "build", "dist", "runs", "__pycache__", "*.egg-info", ".pytest_cache", ".ruff_cache")
FAILED_TESTS = 1  # pytest's status; others mean that it could not collect or run them
SECONDS = 900
WHERE = "import ites_fast, ites_fast.kernels as k; print(ites_fast.__file__, k.__file__)"


class UntriedError(Exception):
    """A fault that cannot be tried: its text is not there, or its test does not run or fails without it."""


class Copy:
    """A copy of the tree, which its tests import instead of what is installed.

    Args:
        folder: to copy into.
        root: the tree.
    """

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.root = folder / "tree"
        shutil.copytree(root, self.root, ignore=shutil.ignore_patterns(*LEFT_OUT))
        (self.root / "ites_fast" / "kernels").symlink_to(self.root / "kernels")  # where an installation has it
        # without byte code: two versions of one size, written within a second, look the same
        self.environment = os.environ | {"PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        self.passing: set[str] = set()
        imported = self._run(sys.executable, "-c", WHERE)
        if imported.stdout.count(str(self.root)) != 2:
            raise UntriedError(f"the copy is not what Python imports: {imported.stdout}{imported.stderr}")

    def try_fault(self, fault: Fault) -> bool:
        """Whether the fault's test notices it.

        Raises:
            UntriedError: see there.
        """
        compiled = fault.file.startswith("csrc/")
        if compiled:
            self._compile()
        if fault.test not in self.passing:
            result = self._test(fault.test)
            if result.returncode:
                raise UntriedError(f"{fault.test} does not pass without the fault:\n{result.stdout[-2000:]}")
            self.passing.add(fault.test)
        with replaced(self.root / fault.file, fault.old, fault.new):
            if compiled:
                self._compile()
            result = self._test(fault.test)
        if compiled:
            self._compile()
        if result.returncode not in (0, FAILED_TESTS):
            raise UntriedError(f"{fault.test} does not run with the fault:\n{result.stdout[-2000:]}")
        return result.returncode == FAILED_TESTS

    def _test(self, test: str) -> subprocess.CompletedProcess:
        return self._run(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", test)

    def _compile(self) -> None:
        result = self._run(
            sys.executable, "setup.py", "build_ext", "--inplace", extra={"ITES_FAST_CUDA": "0", "ITES_FAST_WERROR": "1"}
        )
        if result.returncode:
            raise UntriedError(f"the extension does not compile:\n{result.stderr[-2000:]}")

    def _run(self, *command: str, extra: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment | (extra or {}),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )


@contextmanager
def replaced(path: Path, old: str, new: str) -> Iterator[None]:
    """A file with ``new`` in place of ``old``, which must occur once.

    Raises:
        UntriedError: it does not.
    """
    text = path.read_text()
    if text.count(old) != 1:
        raise UntriedError(f"{path.name} holds {text.count(old)} times: {old}")
    path.write_text(text.replace(old, new))
    try:
        yield
    finally:
        path.write_text(text)


def run(faults: Iterable[Fault], report: Callable[[str], None] = print, root: Path = ROOT) -> int:
    """Try the faults and report each as a row of a Markdown table; returns how many were not noticed."""
    unnoticed = 0
    report("| fault | in | test | | seconds |\n|---|---|---|---|--:|")
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder), root)
        for fault in faults:
            start = time.monotonic()
            reason = ""
            try:
                verdict = "noticed" if copy.try_fault(fault) else "SURVIVED"
            except (UntriedError, subprocess.TimeoutExpired) as error:
                verdict, reason = "NOT TRIED", str(error)
            unnoticed += verdict != "noticed"
            seconds = time.monotonic() - start
            report(f"| {fault.what} | {fault.file} | {fault.test} | {verdict} | {seconds:.0f} |")
            if reason:
                report(reason)
    return unnoticed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description=__doc__)
    parser.add_argument("--only", default="", help="faults whose description or file contains this")
    parser.add_argument("--list", action="store_true", help="name the faults and try none")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if options.only in fault.what or options.only in fault.file]
    if options.list:
        print("\n".join(f"{fault.file}: {fault.what}" for fault in chosen))
        return 0
    if not chosen:
        print(f"no fault's description or file contains {options.only!r}", file=sys.stderr)
        return 2
    unnoticed = run(chosen, lambda line: print(line, flush=True))
    print(f"{len(chosen) - unnoticed} of {len(chosen)} faults were noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())

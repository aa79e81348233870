"""Compiles the extension ``ites_fast._C`` by calling CMake. Everything else about the package is in pyproject.toml."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).resolve().parent


def choice(variable: str, *allowed: str) -> str:
    """The value of an environment variable of the build; the first one allowed is the default."""
    value = os.environ.get(variable, allowed[0])
    if value not in allowed:
        raise SystemExit(f"{variable} is {value!r}; expected one of {', '.join(allowed)}")
    return value


CUDA = choice("ITES_FAST_CUDA", "auto", "1", "0")
WERROR = choice("ITES_FAST_WERROR", "0", "1")
SANITIZE = choice("ITES_FAST_SANITIZE", "0", "1")


class CMakeBuild(build_ext):
    """Builds the one extension with CMake and Ninja."""

    def build_extension(self, ext: Extension) -> None:
        try:
            self._configure_and_build(Path(self.get_ext_fullpath(ext.name)).resolve())
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            # setuptools forgives an optional extension only its own errors.
            raise CompileError(f"ites_fast._C was not built, the PyTorch reference will be used: {error}") from error

    def _configure_and_build(self, library: Path) -> None:
        import cmake
        import ninja
        import pybind11

        cmake_program = Path(cmake.CMAKE_BIN_DIR) / "cmake"
        # In an isolated build ninja.BIN_DIR is empty and ninja is on the path.
        ninja_program = shutil.which(Path(ninja.BIN_DIR) / "ninja")

        # One folder for each Python ABI and platform, so that interpreters sharing a checkout do not mix objects.
        build = ROOT / "build" / sysconfig.get_config_var("SOABI")
        configure = [
            cmake_program,
            "-GNinja",
            f"-S{ROOT}",
            f"-B{build}",
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DCMAKE_MAKE_PROGRAM={ninja_program}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DITES_FAST_CUDA={CUDA}",
            f"-DITES_FAST_WERROR={WERROR}",
            f"-DITES_FAST_SANITIZE={SANITIZE}",
            # A cached "not found" would survive an nvcc that was installed later.
            "-UCMAKE_CUDA_COMPILER",
        ]
        subprocess.run(configure, check=True)
        subprocess.run([cmake_program, "--build", build], check=True)
        library.parent.mkdir(parents=True, exist_ok=True)
        self.copy_file(str(build / "_C.so"), str(library))


setup(
    packages=[*find_packages(include=["ites_fast", "ites_fast.*"]), "ites_fast.kernels"],
    package_dir={"ites_fast.kernels": "kernels"},
    # Without a compiler the installation still succeeds, but not where CUDA or strictness was asked for.
    ext_modules=[Extension("ites_fast._C", sources=[], optional=CUDA != "1" and WERROR == "0")],
    cmdclass={"build_ext": CMakeBuild},
)

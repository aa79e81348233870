"""Renders docstrings of the public names to docs/API.md: ``python docs/render_api.py``. A test compares them."""

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("API.md")

# Heading, and the names under it with the module that they are imported from.
CONTENTS = {
    "Lifting": {"ites_fast": ["Lifter", "Poses", "Camera"], "ites_fast.lifting.stream": ["Stream", "StreamFrame"]},
    "Skeletons": {"ites_fast.skeleton": ["Skeleton", "get_skeleton", "conversion", "Conversion"]},
    "Detections": {
        "ites_fast.detections": ["Detections", "Track"],
        "ites_fast.detections.loading": ["read_detections"],
        "ites_fast.detections.tracking": ["follow"],
        "ites_fast.lifting.detections": ["lift_detections"],
    },
    "Scenes, files and pictures": {
        "ites_fast.scene": ["Scene", "Person"],
        "ites_fast.saving": ["save_scene"],
        "ites_fast.scene.files": ["read_scene"],
    },
    "Training data and models": {
        "ites_fast": ["load", "PoseDataset", "load_lifter", "ViewLifter", "pack", "build_info"]
    },
    "Errors": {"ites_fast": ["InputError"]},
}
SECTIONS = ("Args", "Returns", "Raises", "Yields", "Attributes")
PREFACE = """# API

Made from the docstrings by `python docs/render_api.py`. Shapes: J joints, T frames, P people, N poses or frames of one
person, B poses of a batch. Camera frame: x right, y down, z forward. Keypoints are pixels.
"""


def render() -> str:
    """The whole page."""
    parts = [PREFACE]
    for heading, modules in CONTENTS.items():
        parts.append(f"## {heading}\n")
        for module_name, names in modules.items():
            module = importlib.import_module(module_name)
            for name in names:
                parts += describe(name, getattr(module, name), module_name)
    return "\n".join(parts)


def describe(name: str, thing: Any, module: str) -> Iterator[str]:
    """The parts of the page on one class or function."""
    yield f"### `{module}.{name}`\n"
    if inspect.isclass(thing):
        if not issubclass(thing, Exception):
            yield signature(name, thing)
        yield docstring(thing)
        for method, function in methods(thing):
            yield f"#### `{name}.{method}`\n"
            if not isinstance(function, property):
                yield signature(method, function)
            yield docstring(function)
    else:
        yield signature(name, thing)
        yield docstring(thing)


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that a class itself defines and describes, in their order."""
    for name, value in vars(kind).items():
        value = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if hasattr(value, "func"):  # a cached property
            value = property(value.func)
        public = not name.startswith("_") or name == "__call__"
        if public and (inspect.isfunction(value) or isinstance(value, property)) and inspect.getdoc(value):
            yield name, value


def signature(name: str, thing: Any) -> str:
    """A call with its arguments, one a line where the line would be long."""
    parameters = [str(each) for key, each in inspect.signature(thing).parameters.items() if key not in ("self", "cls")]
    cleaned = [
        re.sub(r"(?:ites_fast|torch|pathlib|numpy|collections\.abc|typing)\.(?:\w+\.)*", "", each)
        for each in parameters
    ]
    line = f"{name}({', '.join(cleaned)})"
    if len(line) > 100:
        line = f"{name}(\n" + "".join(f"    {each},\n" for each in cleaned) + ")"
    return f"```python\n{line}\n```\n"


def docstring(thing: Any) -> str:
    """A Google-style docstring as Markdown: sections become lists."""
    lines, section = [], None
    for paragraph in re.split(r"\n(?=\S)", inspect.getdoc(thing) or ""):
        head, _, body = paragraph.partition("\n")
        section = head.rstrip(":") if head.rstrip(":") in SECTIONS and head.endswith(":") else None
        if section is None:
            # an indented block after "::" is code in Markdown too
            lines.append(body if head == "::" else paragraph.replace("::\n", ":\n"))
        else:
            lines.append(f"**{section}**\n{items(textwrap.dedent(body), section)}\n")
    text = "\n".join(lines).rstrip()
    text = re.sub(r"\.\. math:: *(.*)", r"$\1$", text)
    text = re.sub(r":math:`([^`]*)`", r"$\1$", text)
    return text.replace("``", "`") + "\n"


def items(body: str, section: str) -> str:
    """The entries of a section, one a line."""
    entries = re.split(r"\n(?=\S)", body.strip("\n"))
    if section in ("Returns", "Yields"):
        return " ".join(" ".join(entry.split()) for entry in entries)
    bullets = []
    for entry in entries:
        name, colon, text = " ".join(entry.split()).partition(": ")
        bullets.append(f"* `{name}`: {text}" if colon else f"* {name}")
    return "\n".join(bullets)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"written: {PAGE}")

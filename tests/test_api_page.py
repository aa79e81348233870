"""docs/API.md is what the docstrings say, and leaves out no public name."""

import runpy
import sys
from pathlib import Path

import pytest

import ites_fast

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions of Python print annotations differently")
def test_the_page_is_up_to_date():
    rendered = runpy.run_path(str(DOCS / "render_api.py"))["render"]()
    assert (DOCS / "API.md").read_text(encoding="utf-8") == rendered, "run python docs/render_api.py"


def test_every_public_name_is_on_the_page():
    page = (DOCS / "API.md").read_text(encoding="utf-8")
    assert [name for name in ites_fast.__all__ if f"### `ites_fast.{name}`" not in page] == []

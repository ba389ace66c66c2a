"""docs/coverage.md names only what exists."""

import importlib
import re
from pathlib import Path

import pytest

from rnnscope.presets.catalog import PRESETS

PAGE = (Path(__file__).parent.parent / "docs" / "coverage.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`(preset|function|field|figure):([^`]+)`", PAGE)))


@pytest.mark.parametrize(("kind", "name"), NAMES, ids=[f"{k}:{n}" for k, n in NAMES])
def test_every_name_on_the_coverage_page_exists(kind, name):
    if kind == "preset":
        assert name in PRESETS
    elif kind == "figure":
        stem = re.sub(r"_(gru|lstm|elman)$", "", name)
        source = "".join(
            p.read_text()
            for d in ("analysis", "evaluation")
            for p in (Path(__file__).parent.parent / "src/rnnscope" / d).rglob("*.py")
        )
        assert re.search(rf'"{stem}"|f"{stem}_|Figure\("{stem}"', source), f"no figure is called {stem}"
    else:
        module, _, path = name.partition(":")
        found = importlib.import_module(module)
        owner, *rest = path.split(".")
        found = getattr(found, owner)
        for part in rest:
            found = found.model_fields[part] if kind == "field" else getattr(found, part)
        assert found is not None

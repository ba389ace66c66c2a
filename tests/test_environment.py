"""The development environment is the pinned one."""

import importlib.metadata
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PINS = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


def test_torch_is_pinned():
    assert "torch" in PINS


@pytest.mark.skipif("CI" not in os.environ and not (ROOT / ".venv").is_dir(), reason="not the project's own environment")
@pytest.mark.parametrize("package", sorted(PINS))
def test_installed_versions_are_the_pinned_ones(package):
    assert importlib.metadata.version(package).split("+")[0] == PINS[package]


def test_version_is_the_same_everywhere():
    import rnnscope

    assert f'version = "{rnnscope.__version__}"' in (ROOT / "pyproject.toml").read_text()

"""docs/concepts.md: its examples run and print what the page says they print; what its commands name exists."""

import argparse
import re
import shlex
from pathlib import Path

import pytest
import torch

import rnnscope as rs
from rnnscope.experiment import with_overrides
from rnnscope.presets.catalog import PRESETS
from rnnscope.registry import ANALYSES

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "concepts.md").read_text(encoding="utf-8")
SETUP, *BLOCKS = [(m.start(), m[1]) for m in re.finditer(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]
HEADINGS = [(m.start(), m[1]) for m in re.finditer(r"^### (.+)$", PAGE, re.MULTILINE)]
COMMANDS = list(dict.fromkeys(c.strip() for c in re.findall(r"(?:^ {4}|`)(rnnscope [^`\n#]+)", PAGE, re.MULTILINE)))
SETTINGS = re.findall(r"`((?:task|trainer|models\.\w+)\.\w+=\S+?|num_seeds=\d+)`", PAGE)
TRIED = ("sine-quick", "pattern-quick", "trigger-action-quick", "characters-quick")
CONCEPTS = {f"C{number}" for number in range(1, 39)}


def _title(place: int) -> str:
    return [title for start, title in HEADINGS if start < place][-1]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("place", "code"), BLOCKS, ids=[_title(place) for place, _ in BLOCKS])
def test_an_example_runs_by_itself_and_prints_what_the_page_says(
    place: int, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {}
    exec(SETUP[1], names)
    torch.manual_seed(0)
    exec(compile(code, f"concepts.md: {_title(place)}", "exec"), names)
    said = [line.removeprefix("# ") for line in code.splitlines() if line.startswith("# ")]
    assert capsys.readouterr().out.splitlines() == said


def test_examples_are_short() -> None:
    long = [
        _title(place)
        for place, code in BLOCKS
        if sum(not line.startswith("# ") and bool(line) for line in code.splitlines()) > 8
    ]
    assert long == []


def test_every_concept_has_its_place() -> None:
    assert set(re.findall(r"C\d+", " ".join(title for _, title in HEADINGS))) == CONCEPTS


def test_every_concept_has_an_example() -> None:
    ends = [start for start, _ in HEADINGS[1:]] + [len(PAGE)]
    parts = {title: PAGE[start:end] for (start, title), end in zip(HEADINGS, ends, strict=True)}
    assert [title for title, text in parts.items() if not re.search(r"```python|rnnscope run|\.ipynb", text)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_what_exists(command: str) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=("run", "analyze", "detect", "forecast"))
    parser.add_argument("target")
    for flag in ("--set", "--only", "--analysis", "--column", "--steps"):
        parser.add_argument(flag, action="append", default=[])
    chosen = parser.parse_args(shlex.split(command)[1:])
    if chosen.verb == "run":
        assert chosen.target in PRESETS
        set_up = with_overrides(rs.preset(chosen.target), chosen.set)
        assert set(chosen.only) <= set(set_up.models)
    assert set(chosen.analysis) <= set(ANALYSES)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_exists_in_some_preset(setting: str) -> None:
    refused = []
    for name in TRIED:
        try:
            with_overrides(rs.preset(name), [setting])
            return
        except rs.ConfigError as error:
            refused.append(str(error))
    pytest.fail("\n".join(refused))


def test_files_that_the_page_links_to_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (DOCS / target).is_file(), target

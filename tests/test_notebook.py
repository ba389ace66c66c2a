"""The notebooks in examples/: their code cells run as they stand, tiny, and what they print is kept in the file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
HMM, LAB = EXAMPLES / "hmm_rnn.ipynb", EXAMPLES / "characters_lab.ipynb"
NOTEBOOKS = pytest.mark.parametrize("notebook", [HMM, LAB], ids=lambda path: path.stem)


def cells(notebook: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return found


def tagged(cell: dict[str, Any], tag: str) -> bool:
    return tag in cell["metadata"].get("tags", [])


def code(notebook: Path) -> list[tuple[str, str, list[Any]]]:
    """(id, source, outputs) of each code cell but those with blanks to fill in."""
    chosen = [c for c in cells(notebook) if c["cell_type"] == "code" and not tagged(c, "starter")]
    return [(c["id"], "".join(c["source"]), c["outputs"]) for c in chosen]


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unchecked: None) -> Iterator[None]:
    """Tiny sizes, an empty folder, figures that open no window."""
    monkeypatch.setenv("RNNSCOPE_TINY", "1")
    monkeypatch.chdir(tmp_path)
    backend = matplotlib.get_backend()
    matplotlib.use("Agg")
    monkeypatch.setattr(plt, "show", lambda *arguments: plt.close("all"))
    yield
    plt.close("all")
    matplotlib.use(backend)


def carry_out(name: str, source: str, names: dict[str, Any]) -> None:
    try:
        exec(compile(source, name, "exec"), names)
    except Exception as error:
        pytest.fail(f"{name}: {type(error).__name__}: {error}")


@pytest.mark.usefixtures("quiet")
def test_every_code_cell_runs_tiny(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "notebook"}
    for name, source, _ in code(HMM):
        carry_out(f"{HMM.name}:{name}", source, names)
    assert "distance" in capsys.readouterr().out
    assert names["outcome"].best_epoch >= 1
    assert not list(tmp_path.iterdir())  # a tiny run leaves nothing behind


@pytest.mark.usefixtures("quiet")
def test_the_solutions_of_the_lab_pass_its_checks_and_its_blanks_say_that_they_are_blanks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"__name__": "notebook"}
    for cell in cells(LAB):
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        if tagged(cell, "starter"):
            with pytest.raises(NotImplementedError, match="FILL_IN"):
                exec(compile(source, f"{LAB.name}:{cell['id']}", "exec"), dict(names))
        else:
            carry_out(f"{LAB.name}:{cell['id']}", source, names)
            assert not tagged(cell, "check") or "ok" in capsys.readouterr().out
    assert names["automaton"].num_states == 4
    assert not list(tmp_path.iterdir())


def test_each_task_of_the_lab_has_a_starter_a_folded_solution_and_a_check() -> None:
    tasks = [c for c in cells(LAB) if c["cell_type"] == "markdown" and "".join(c["source"]).startswith("## Task")]
    for task in tasks:
        assert all(f"*{word}:*" in "".join(task["source"]) for word in ("Tip", "Expected")), task["id"]
    by_tag = {tag: [c for c in cells(LAB) if tagged(c, tag)] for tag in ("starter", "solution", "check")}
    assert {tag: len(found) for tag, found in by_tag.items()} == dict.fromkeys(by_tag, len(tasks))
    for starter, solution in zip(by_tag["starter"], by_tag["solution"], strict=True):
        assert "FILL_IN" in "".join(starter["source"])
        assert "FILL_IN" not in "".join(solution["source"])
        assert "raises-exception" in starter["metadata"]["tags"]  # so that "run all" goes on
        assert solution["metadata"]["jupyter"] == {"source_hidden": True}


@pytest.mark.usefixtures("quiet")
def test_a_check_of_the_lab_says_in_words_what_is_wrong() -> None:
    names: dict[str, Any] = {"__name__": "notebook"}
    own = [c for c in cells(LAB) if c["cell_type"] == "code" and not tagged(c, "starter")]
    carry_out("setup", "".join(own[0]["source"]), names)
    with pytest.raises(AssertionError, match="40 characters, 400 are wanted"):
        exec("".join(next(c for c in own if tagged(c, "check"))["source"]), names | {"text": "abac" * 10, "memory": {}})


@NOTEBOOKS
def test_a_notebook_is_well_formed(notebook: Path) -> None:
    text = notebook.read_text(encoding="utf-8")
    assert json.loads(text)["nbformat"] == 4
    ids = [c["id"] for c in cells(notebook)]
    assert len(set(ids)) == len(ids)
    assert cells(notebook)[0]["cell_type"] == "markdown"
    assert str(Path.home()) not in text


@NOTEBOOKS
def test_what_the_cells_print_and_draw_is_kept_in_the_file(notebook: Path) -> None:
    loud = [(name, outputs) for name, source, outputs in code(notebook) if "print(" in source or "plt.show(" in source]
    if not any(outputs for _, outputs in loud):
        pytest.xfail("the notebook has not been executed yet")
    assert [name for name, outputs in loud if not outputs] == []
    assert not [name for name, outputs in loud for o in outputs if o["output_type"] == "error"]
    drawn = [name for name, source, outputs in code(notebook) if "plt.show(" in source for o in outputs if "data" in o]
    assert drawn

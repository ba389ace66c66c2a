"""The notebooks in examples/: their code cells run as they stand, tiny, and what they print is kept in the file."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "hmm_rnn.ipynb"


@pytest.fixture(scope="module")
def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return found


def code(cells: list[dict[str, Any]]) -> list[tuple[str, str, list[Any]]]:
    """(id, source, outputs) of each code cell."""
    return [(c["id"], "".join(c["source"]), c["outputs"]) for c in cells if c["cell_type"] == "code"]


@pytest.mark.usefixtures("unchecked")
def test_every_code_cell_runs_tiny(
    cells: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RNNSCOPE_TINY", "1")
    monkeypatch.chdir(tmp_path)
    backend = matplotlib.get_backend()
    matplotlib.use("Agg")
    monkeypatch.setattr(plt, "show", lambda *arguments: plt.close("all"))
    names: dict[str, Any] = {"__name__": "notebook"}
    try:
        for name, source, _ in code(cells):
            try:
                exec(compile(source, f"{NOTEBOOK.name}:{name}", "exec"), names)
            except Exception as error:
                pytest.fail(f"{name}: {type(error).__name__}: {error}")
    finally:
        plt.close("all")
        matplotlib.use(backend)
    assert "distance" in capsys.readouterr().out
    assert names["outcome"].best_epoch >= 1
    assert not list(tmp_path.iterdir())  # a tiny run leaves nothing behind


def test_the_notebook_is_well_formed(cells: list[dict[str, Any]]) -> None:
    whole = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert whole["nbformat"] == 4
    ids = [c["id"] for c in cells]
    assert len(set(ids)) == len(ids)
    assert cells[0]["cell_type"] == "markdown"
    assert str(Path.home()) not in NOTEBOOK.read_text(encoding="utf-8")


def test_what_the_cells_print_and_draw_is_kept_in_the_file(cells: list[dict[str, Any]]) -> None:
    loud = [(name, outputs) for name, source, outputs in code(cells) if "print(" in source or "plt.show(" in source]
    if not any(outputs for _, outputs in loud):
        pytest.xfail("the notebook has not been executed yet")
    assert [name for name, outputs in loud if not outputs] == []
    assert not [name for name, outputs in loud for o in outputs if o["output_type"] == "error"]
    drawn = [name for name, source, outputs in code(cells) if "plt.show(" in source for o in outputs if "data" in o]
    assert drawn

"""Every preset runs from one line, tiny, and leaves a report with a verdict."""

import pytest

import rnnscope as rs
from rnnscope.experiment import preset, with_overrides
from rnnscope.presets.catalog import PRESETS

SMALL = {
    "DrivenOscillator": ["task.dt=0.05"],
    "Pendulum": ["task.duration=20"],
    "VanDerPol": ["task.duration=20"],
    "Duffing": ["task.duration=20"],
    "Lorenz63": ["task.duration=8"],
    "Rossler": ["task.duration=20"],
    "Lorenz96": ["task.duration=8"],
    "MackeyGlass": ["task.duration=300"],
}


@pytest.mark.parametrize("name", [n for n in PRESETS if n != "table"])
def test_every_preset_runs_small_and_leaves_a_report_with_a_verdict(name, tmp_path):
    experiment = preset(name)
    task = type(experiment.task).__name__
    changes = ["num_seeds=1", "trainer.epochs=1", "evaluation.lead_times=5", "evaluation.closed_loop_steps=20"]
    if task == "DrivenOscillator":
        changes += ["task.duration=20", *(["task.num_unseen=2"] if experiment.task.num_unseen else []), "task.stride=5"]
    changes += SMALL.get(task, [])
    changes += [f"models.{model}.hidden_size=4" for model in experiment.models]
    run = rs.run(with_overrides(experiment, changes), out=tmp_path)
    assert run.status == "done"
    assert run.verdict
    assert run.report.read_text(encoding="utf-8").count("<svg") == len(run.folder.read_json("figures/figures.json"))
    assert set(run.metrics["models"]) == set(experiment.models)


def test_the_table_preset_runs_on_a_file(tmp_path):
    file = tmp_path / "data.csv"
    file.write_text("load\n" + "\n".join(str((i * 7) % 13) for i in range(400)) + "\n")
    run = rs.run("table", out=tmp_path, only=["gru"], set=[f"task.path={file}", "trainer.epochs=1", "task.window=24"])
    assert run.status == "done"
    assert len(run.forecast(7)) == 7

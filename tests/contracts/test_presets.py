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


def emulation(experiment: rs.Experiment, name: str) -> list[str]:
    """A network that emulates an HMM, in a second; the analyses run for two of the presets."""
    changes = ["task.num_sequences=90", "task.num_steps=12", "evaluation.num_sequences=30", "evaluation.floor_draws=2"]
    changes += ["evaluation.way_back=[1,2]", "evaluation.long_steps=80"]
    for where, trainer in {
        "trainer": experiment.trainer,
        **{f"trainers.{n}": t for n, t in experiment.trainers.items()},
    }.items():
        changes += [f"{where}.validation_size=20", f"{where}.keep_epochs=1"]
        for number in range(len(trainer.stages)):
            stage = f"{where}.stages.{number}"
            changes += [f"{stage}.epochs=1", f"{stage}.batch_size=16", f"{stage}.num_steps=12"]
    if name not in ("hmm-chain-3-quick", "hmm-cyclic-4"):
        return [*changes, "analyses={}"]
    small = {"num_paths": 20, "num_steps": 60, "burn_in": 5, "num_components": 200, "num_states": 60, "num_rollouts": 4}
    small |= {"horizon": 12, "num_jacobians": 20, "num_development": 5, "max_kick_units": 2, "control_groups": 2}
    return changes + [f"analyses.reverse_engineering.{k}={v}" for k, v in small.items()]


def dynamics(name: str) -> list[str]:
    """The analyses, small, for one preset of each kind: closed loop, closed loop with covariates and differences, held input."""
    if name not in ("sine-quick", "driven-oscillator-best", "flip-flop-quick"):
        return ["analyses={}"]
    small = {
        "fixed_points": {"num_starts": 40, "num_sequences": 4},
        "attractors": {"num_starts": 6, "num_steps": 100, "num_sequences": 4, "max_sets": 1},
        "lyapunov": {"num_steps": 60, "num_trajectories": 2, "num_sequences": 4, "num_exponents": 2},
        "memory": {"num_steps": 60, "num_pairs": 2, "max_lag": 10, "capacity_lag": 5, "num_sequences": 4},
        "state_space": {"num_sequences": 4},
    }
    return [f"analyses.{one}.{key}={value}" for one, fields in small.items() for key, value in fields.items()]


@pytest.mark.parametrize("name", [n for n in PRESETS if n != "table"])
def test_every_preset_runs_small_and_leaves_a_report_with_a_verdict(name, tmp_path):
    experiment = preset(name)
    task = type(experiment.task).__name__
    if task == "HiddenMarkov":
        changes = emulation(experiment, name)
    elif task == "FlipFlop":
        sizes = {"num_train": 20, "num_validation": 6, "num_test": 10, "num_long": 4, "num_steps": 10}
        changes = ["num_seeds=1", "trainer.epochs=1", *(f"task.{k}={v}" for k, v in sizes.items())]
    else:
        changes = ["num_seeds=1", "trainer.epochs=1", "evaluation.lead_times=5", "evaluation.closed_loop_steps=20"]
    if task == "DrivenOscillator":
        changes += ["task.duration=20", *(["task.num_unseen=2"] if experiment.task.num_unseen else []), "task.stride=5"]
    changes += SMALL.get(task, [])
    changes += [f"models.{model}.hidden_size=4" for model in experiment.models]
    if task != "HiddenMarkov":
        changes += dynamics(name)
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

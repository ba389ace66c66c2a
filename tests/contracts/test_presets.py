"""Every preset runs from one line, tiny, and leaves a report with a verdict."""

import math

import numpy as np
import pytest

import rnnscope as rs
from rnnscope.core.interfaces import TrainerSpec
from rnnscope.experiment import preset, with_overrides
from rnnscope.presets.catalog import PRESETS, STUDIES

SMALL = {
    "DrivenOscillator": ["task.dt=0.05"],
    "Pendulum": ["task.duration=20"],
    "VanDerPol": ["task.duration=20"],
    "Duffing": ["task.duration=20"],
    "Lorenz63": ["task.duration=8"],
    "Rossler": ["task.duration=20"],
    "Lorenz96": ["task.duration=8"],
    "MackeyGlass": ["task.duration=300"],
    "FramesRandom": ["task.num_sequences=40", "task.image_size=4", "task.num_steps=2"],
    "FramesMotion": ["task.num_train=24", "task.num_validation=8", "task.num_test=16", "task.image_size=6"],
    "FramesSpeed": ["task.num_train=24", "task.num_validation=9", "task.num_test=15", "task.image_size=6"],
    "Sinusoids": ["task.num_train=20"],
    "Complexity": ["task.num_samples=80"],
    "Pattern": ["task.num_sequences=200", "task.num_further=20"],
    "TriggerAction": ["task.num_sequences=120"],
}

LONG_RANGE = {"num_train": 24, "num_validation": 8, "num_test": 16, "num_longer": 8, "length": 10}

# they need a file of one's own
FROM_FILES = (
    "table",
    "reconstruct",
    "reconstruct-quick",
    "labelled",
    "labelled-quick",
    "frames",
    "laser-esn",
    "laser-esn-quick",
)


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


def short(where: str, trainer: TrainerSpec) -> list[str]:
    """One epoch, or two steps; a solver has neither."""
    counts = {"epochs": 1, "iterations": 2}
    return [f"{where}.{name}={count}" for name, count in counts.items() if name in type(trainer).model_fields][:1]


def reservoir(name: str) -> list[str]:
    """A small echo state network; its presets ask for thousands of steps."""
    return [
        f"models.{name}.units=12",
        "trainer.washout=5",
        "trainer.strengths=[1e-4,1e-2]",
        "task.window=10",
        "task.split.test_steps=50",
    ]


def dynamics(name: str) -> list[str]:
    """The analyses, small, for one preset of each kind: closed loop, closed loop with covariates and differences, held input."""
    if name == "frames-motion-quick":
        fields = ("saliency.num_sequences", "saliency.num_steps", "saliency.num_examples", "state_space.num_sequences")
        return [f"analyses.{field}=4" for field in fields]
    if name.startswith("complexity"):
        return []
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


@pytest.mark.parametrize("name", [n for n in PRESETS if n not in FROM_FILES])
def test_every_preset_runs_small_and_leaves_a_report_with_a_verdict(name, tmp_path):
    experiment = preset(name)
    task = type(experiment.task).__name__
    if task == "HiddenMarkov":
        changes = emulation(experiment, name)
    elif task in ("Characters", "Text"):
        sizes = {"num_characters": 100, "window": 8} if task == "Characters" else {"most_characters": 2000, "window": 8}
        changes = ["num_seeds=1", "trainer.epochs=1", *(f"task.{k}={v}" for k, v in sizes.items())]
        changes += ["evaluation.sample_length=20", "evaluation.order=3", "trainer.epoch_steps=0"]
    elif task == "FlipFlop":
        sizes = {"num_train": 20, "num_validation": 6, "num_test": 10, "num_long": 4, "num_steps": 10}
        changes = ["num_seeds=1", "trainer.epochs=1", *(f"task.{k}={v}" for k, v in sizes.items())]
    elif task in ("Adding", "Copy", "MemoryDelay"):
        changes = ["num_seeds=1", *short("trainer", experiment.trainer)]
    elif type(experiment.evaluation).__name__ == "Classification":
        changes = ["num_seeds=1", *short("trainer", experiment.trainer), "evaluation.permutations=99"]
    elif task in ("Sinusoids", "SineShift"):
        sizes = {"num_validation": 4, "num_test": 9, "num_queries": 5, "num_points": 11}
        changes = ["num_seeds=1", *short("trainer", experiment.trainer), *(f"task.{k}={v}" for k, v in sizes.items())]
    elif task == "Emergence":
        changes = ["task.num_draws=60", "evaluation.noise_sets=3"]
    elif task == "PlantedAnomalies":
        sizes = {"num_anomalies": 2, "period": 20, "train_until": 400, "num_steps": 800, "window": 30}
        changes = ["evaluation.shifts=3", *(f"task.{k}={v}" for k, v in sizes.items())]
    else:
        changes = ["num_seeds=1", *short("trainer", experiment.trainer)]
        changes += ["evaluation.lead_times=5", "evaluation.closed_loop_steps=20"]
    if task == "DrivenOscillator":
        changes += ["task.duration=20", *(["task.num_unseen=2"] if experiment.task.num_unseen else []), "task.stride=5"]
    if task in ("Adding", "Copy", "MemoryDelay", "TemporalOrder"):
        changes += [f"task.{k}={v}" for k, v in LONG_RANGE.items()]
    changes += SMALL.get(task, [])
    changes += [c for n, m in experiment.models.items() if isinstance(m, rs.EchoState) for c in reservoir(n)]
    changes += [
        f"models.{n}.hidden_size=4" for n, model in experiment.models.items() if "hidden_size" in type(model).model_fields
    ]
    if task != "HiddenMarkov":
        changes += [change for n, trainer in experiment.trainers.items() for change in short(f"trainers.{n}", trainer)]
    if task != "HiddenMarkov":
        changes += dynamics(name)
    if getattr(experiment.trainer, "choose_by", "loss") == "reconstruction":  # a validation part to compare free runs with
        steps = 1500 * experiment.task.sample_every * experiment.task.dt
        changes += [f"task.duration={steps}", "task.window=10", "trainer.epoch_steps=2"]
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


@pytest.mark.parametrize("name", ["reconstruct", "reconstruct-quick"])
def test_the_reconstruction_presets_run_on_a_file_of_one_variable(name, tmp_path):
    file = tmp_path / "orbit.csv"
    file.write_text("t,x\n" + "\n".join(f"{0.1 * i:.1f},{math.sin(0.1 * i):.6f}" for i in range(600)) + "\n")
    small = ["trainer.epochs=2", "trainer.epoch_steps=3", "task.window=20", "trainer.burn_in=5", "analyses={}"]
    small += ["models.esn.units=12", "trainers.esn.strengths=[1e-6,1e-3]"]
    run = rs.run(name, out=tmp_path, set=[f"task.path={file}", *small])
    assert run.status == "done"
    assert run.verdict


@pytest.mark.parametrize("name", ["labelled", "labelled-quick"])
def test_the_labelled_presets_run_on_a_file(name, tmp_path):
    file = tmp_path / "sequences.ts"
    rows = [",".join(str((i * t) % 7 + 3 * (i % 2)) for t in range(9)) + f":{'ab'[i % 2]}" for i in range(1, 25)]
    file.write_text("@univariate true\n@equalLength true\n@classLabel true a b\n@data\n" + "\n".join(rows) + "\n")
    small = ["trainer.epochs=1", "models.gru.hidden_size=4", "analyses.evidence.num_steps=2", "evaluation.permutations=9"]
    run = rs.run(name, out=tmp_path, set=[f"task.path={file}", *small])
    assert run.status == "done"
    assert run.verdict
    assert len(run.classify(file)) == 24


def test_the_frames_preset_runs_on_a_file(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", frames=rng.integers(0, 256, (24, 3, 1, 5, 4)), labels=np.array(["up", "down"] * 12))
    small = ["trainer.epochs=1", "analyses={}", "evaluation.permutations=9"]
    run = rs.run("frames", out=tmp_path, set=[f"task.path={tmp_path / 'own.npz'}", *small])
    assert run.status == "done"
    assert set(run.metrics["models"]) == {"cnn-lstm", "shuffled-frames", "single-frame"}
    np.savez(tmp_path / "new.npz", frames=rng.integers(0, 256, (5, 3, 1, 5, 4)))
    assert set(run.classify(tmp_path / "new.npz")["label"]) <= {"up", "down"}
    assert len(run.classify(tmp_path / "own.npz")["actual"]) == 24


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_runs_small_and_leaves_a_page_with_one_table(name, tmp_path):
    study = rs.study(name)
    changes = ["trainer.epochs=1", *(f"task.{k}={v}" for k, v in LONG_RANGE.items())]
    for way, model in study.experiments[0].models.items():
        fields = type(model).model_fields
        changes += [f"models.{way}.{'hidden_size=4' if 'hidden_size' in fields else 'units=12'}"]
    for way, trainer in study.experiments[0].trainers.items():
        fields = type(trainer).model_fields
        for field in ("epochs", "outer_steps"):
            changes += [f"trainers.{way}.{field}=1"] if field in fields else []
    run = rs.run(name, out=tmp_path, set=changes)
    assert run.status == "done"
    assert len(run.runs) == len(study.experiments)
    assert set(study.experiments[0].models) < set(run.table.index)
    assert run.report.is_file()

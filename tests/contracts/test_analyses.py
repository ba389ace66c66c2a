"""What every analysis must do, on a tiny trained model of each kind of data that it applies to."""

import importlib
import inspect
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import rnnscope as rs
from analysed import check_findings, network_for, state_of
from rnnscope.core.interfaces import AnalysisSpec, Trained, TrainingData
from rnnscope.core.random import Streams
from rnnscope.experiment import with_overrides
from rnnscope.pipeline import choose_analyses, one_thread, train_models
from rnnscope.registry import ANALYSES, load, resolve
from rnnscope.results import as_trained
from rnnscope.runs.folder import RunFolder

# sizes that make each quick; an analysis that is not named here runs as it comes
SMALL: dict[str, dict[str, Any]] = {
    "fixed_points": {"num_starts": 30, "num_sequences": 4},
    "attractors": {"num_starts": 6, "num_steps": 100, "num_sequences": 4, "max_sets": 1},
    "lyapunov": {"num_steps": 60, "num_trajectories": 2, "num_sequences": 4, "num_exponents": 2},
    "memory": {"num_steps": 60, "num_pairs": 2, "max_lag": 10, "capacity_lag": 5, "num_sequences": 4},
    "state_space": {"num_sequences": 4},
    "automaton": {"num_steps": 100, "burn_in": 20, "free_run": 200},
    "evidence": {"num_sequences": 8, "num_steps": 4},
    "saliency": {"num_sequences": 4, "num_steps": 4, "num_examples": 2},
    "reconstruction": {"num_runs": 2, "num_steps": 400, "burn_in": 20, "num_starts": 10, "lead_steps": 20},
    "bifurcations": {"num_values": 6, "max_branches": 1, "span": (0.9, 1.1)},
    "reverse_engineering": {
        "num_paths": 20,
        "num_steps": 60,
        "burn_in": 5,
        "num_components": 200,
        "num_states": 60,
        "num_rollouts": 4,
        "horizon": 12,
        "num_jacobians": 20,
        "num_development": 5,
        "max_kick_units": 2,
        "control_groups": 2,
    },
}
FLIP_FLOP = {"num_bits": 2, "num_steps": 10, "num_train": 20, "num_validation": 4, "num_test": 4, "num_long": 0}
EMULATION = ["task.num_sequences=90", "task.num_steps=12", "models.relu.hidden_size=8", "trainer.validation_size=20"]
EMULATION += ["trainer.keep_epochs=2"]
EMULATION += [f"trainer.stages.{n}.{field}" for n in (0, 1) for field in ("epochs=1", "batch_size=16", "num_steps=12")]


def experiments() -> dict[str, rs.Experiment]:
    """One of each kind of data."""
    closed = rs.Experiment(
        name="closed",
        task=rs.Oscillation(num_points=500, duration=100.0, noise_sd=0.05, window=10),
        models={"gru": rs.GRU(hidden_size=4, num_layers=1)},
        trainer=rs.BPTT(epochs=2),
        evaluation=rs.Forecasting(lead_times=5, origins=4),
    )
    return {
        "forecasting": closed,
        "steps": closed.but(name="steps", task=resolve("task", "flip_flop")(**FLIP_FLOP)),
        "emulation": with_overrides(rs.preset("hmm-chain-3-quick"), EMULATION),
        # long enough for the network to have an automaton; two epochs would leave nothing to draw
        "text": closed.but(
            name="text",
            task=rs.Characters(pattern="ab", num_characters=200, window=10),
            trainer=rs.BPTT(carry_state=True, truncation=10, batch_size=2, epochs=2),
        ),
        "labels": closed.but(
            name="labels",
            task=rs.Pattern(num_sequences=60),
            models={"gru": rs.Classifier(hidden_size=4, bidirectional=False)},
        ),
        "one step": closed.but(name="one-step", task=rs.Complexity(num_samples=80), models={"logistic": rs.Logistic()}),
        "frames": closed.but(
            name="frames",
            task=rs.FramesMotion(step=(2, 1), image_size=6, radius=0.2, num_train=24, num_validation=8, num_test=8),
            models={"cnn": rs.CNNRNN(conv_channels=(2,), hidden_size=4)},
        ),
        "noise": closed.but(
            name="noise", task=resolve("task", "noise")(input_size=2, output_size=1), trainer=resolve("trainer", "untrained")()
        ),
    }


DATA = tuple(experiments())


@cache
def trained(kind: str, folder: Path) -> tuple[Trained, TrainingData]:
    """A model trained for two epochs or so, and its data."""
    experiment, streams = experiments()[kind], Streams(0)
    data = experiment.task.prepare(streams)
    walk = train_models(experiment, RunFolder.create(folder, kind, 0), data, streams, lambda: False)
    try:
        while True:
            next(walk)
    except StopIteration as ended:
        models, histories, _ = ended.value
    name = next(iter(models))
    return as_trained(name, 0, models[name][0].eval(), histories[name][0]), data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


def quick(name: str) -> AnalysisSpec:
    found: AnalysisSpec = resolve("analysis", name)(**SMALL.get(name, {}))
    return found


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("name", ANALYSES)
def test_it_applies_or_says_why_not(name: str, kind: str, folder: Path, tmp_path: Path) -> None:
    one, data = trained(kind, folder)
    analysis = quick(name)
    obstacle = analysis.obstacle(one.model, data)
    if obstacle:
        assert not obstacle.endswith(".")
        with pytest.raises(rs.ConfigError) as caught:
            choose_analyses({}, one.model, data, [name])
        assert caught.value.found == f"{name} does not apply here: {obstacle}"
        assert name not in choose_analyses({}, one.model, data)
        return
    before = state_of(one.model)
    with one_thread():
        findings = analysis.run(one, data, Streams(0).at("analysis", name))
    assert state_of(one.model) == before
    told = check_findings(analysis, findings, tmp_path, draw=False)
    assert told["metrics"]
    assert told["arrays"]
    assert told["figures"]
    assert told["settings"] == analysis.model_dump(mode="json")


@pytest.mark.parametrize("name", [name for name in ANALYSES if quick(name).routine])
def test_the_streams_decide(name: str, folder: Path) -> None:
    for kind in reversed(DATA):
        one, data = trained(kind, folder)
        analysis = quick(name)
        if analysis.obstacle(one.model, data):
            continue
        first, again = (analysis.run(one, data, Streams(3).at("analysis", name)) for _ in range(2))
        assert first.statements == again.statements
        assert first.arrays.keys() == again.arrays.keys()
        for key, array in first.arrays.items():
            assert array.tobytes() == again.arrays[key].tobytes(), key
        return
    pytest.fail(f"{name} applies to no kind of data")


@pytest.mark.parametrize("name", ANALYSES)
def test_every_kind_has_sizes_that_make_it_quick(name: str) -> None:
    assert set(SMALL.get(name, {})) <= set(resolve("analysis", name).model_fields)


def test_what_is_routine_is_chosen_without_being_named(folder: Path) -> None:
    one, data = trained("forecasting", folder)
    chosen = choose_analyses({}, one.model, data)
    assert set(chosen) == {n for n in ANALYSES if quick(n).routine and not quick(n).obstacle(one.model, data)}
    own = quick("memory")
    assert choose_analyses({"memory": own}, one.model, data)["memory"] is own


def test_an_analysis_works_on_a_model_in_training_mode_and_leaves_it_so(folder: Path) -> None:
    _, data = trained("forecasting", folder)
    model = network_for(data, layers=2, dropout=0.5).train()
    before = state_of(model)
    one = Trained("network", 0, model, trained("forecasting", folder)[0].history)
    with torch.enable_grad():
        for name in ANALYSES:
            if quick(name).routine and not quick(name).obstacle(model, data):
                quick(name).run(one, data, Streams(0))
                assert state_of(model) == before, name


def test_every_analysis_that_can_be_built_is_registered() -> None:
    package = importlib.import_module("rnnscope.analysis")
    found = set()
    for module in pkgutil.iter_modules(package.__path__, "rnnscope.analysis."):
        for cls in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(cls) and cls.__module__ == module.name and issubclass(cls, AnalysisSpec):
                found.add(cls)
    assert found == {load(path) for path in ANALYSES.values()}

"""Reconstruction: networks whose free runs are known, what stands in the way, and the figures."""

import json

import numpy as np
import pytest
import torch

import rnnscope as rs
from helpers import build, prepare, series_of
from rnnscope.analysis.reconstruction import Reconstruction
from rnnscope.core.interfaces import History, Trained, TrainingOutcome
from rnnscope.core.random import Streams
from rnnscope.core.system import SequenceModel
from rnnscope.plotting import render
from rnnscope.presets.looks import forecaster, simulator

SMALL = {"num_runs": 2, "num_steps": 3000, "burn_in": 50, "num_starts": 20, "lead_steps": 40}
ANGLE = 0.21
TASK = {"window": 10, "scaling": "none"}


class Fixed(SequenceModel):
    """h' = f(x), y = h: a network that puts out a function of its last input."""

    def __init__(self, step, size=1):
        super().__init__()
        self.inner = rs.System(lambda h, x: step(x), size, size, dtype=torch.float64)

    def forward(self, inputs, lengths=None, *, rng=None, last=None):
        return rs.rollout(self.inner, inputs).outputs

    def systems(self):
        return {"fixed": self.inner}


def trained(model):
    return Trained("fixed", 0, model, History({}, TrainingOutcome("completed", 1, 0.0, "training loss", 0.0)))


def look(model, data, **fields):
    return Reconstruction(**{**SMALL, **fields}).run(trained(model), data, Streams(0))


def turning(steps=1500):
    angles = ANGLE * np.arange(steps)
    return prepare(rs.Table(path="unused", **TASK), series_of(np.stack([np.cos(angles), np.sin(angles)], 1)))


def rotate(x, size=1.0, angle=ANGLE):
    turn = torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], dtype=torch.float64)
    return size * x @ turn


def logistic(steps=3000):
    values = [0.3]
    for _ in range(steps - 1):
        values.append(3.9 * values[-1] * (1 - values[-1]))
    return prepare(rs.Table(path="unused", **TASK), series_of(values), sampling_interval=0.5)


def test_a_network_that_is_the_system_visits_the_same_region_with_the_same_rhythm():
    findings = look(Fixed(rotate, 2), turning())
    assert "visits the same region as the recording of 1500 points" in findings.statements[0]
    assert "the same rhythm" in findings.statements[1]
    assert findings.metrics["valid_steps"]["never_failed"] == 1
    assert "at least 40 steps" in findings.statements[2]
    assert findings.metrics["d_h"]["matched"] < 0.05 < findings.metrics["d_h"]["constant"]
    json.dumps(findings.metrics, allow_nan=False)


def test_a_chaotic_map_in_one_variable_is_compared_in_delays():
    findings = look(Fixed(lambda x: (3.9 + 1e-9) * x * (1 - x)), logistic(), lyapunov_time=0.5 / 0.4945)
    assert findings.metrics["delay"] >= 1
    assert findings.results["found"].d_stsp.excess < 0.1
    assert findings.results["found"].d_h.excess < 0.1
    assert findings.metrics["valid_steps"]["never_failed"] < 1
    assert findings.metrics["valid_prediction_time"] == pytest.approx(findings.metrics["valid_steps"]["median"] * 0.4945)


def test_the_wrong_rhythm_shows_in_d_h_alone():
    findings = look(Fixed(lambda x: rotate(x, angle=2 * ANGLE), 2), turning())
    assert "another rhythm" in findings.statements[1]
    assert findings.results["found"].d_stsp.excess < 0.2
    assert findings.metrics["valid_steps"]["median"] < 5


def test_a_network_that_stops_visits_another_region():
    findings = look(Fixed(lambda x: 0.5 * x, 2), turning())
    assert findings.statements[0] == "2 of 2 free runs come to rest."
    assert "another region" in findings.statements[1]
    assert findings.metrics["d_h"]["value"] == 1


def test_divergence_is_said_first():
    findings = look(Fixed(lambda x: rotate(x, 3.0), 2), turning())
    assert findings.statements[0].startswith("Left alone, the network leaves the finite numbers, first after 0 steps")
    assert findings.metrics["diverged_at"] == 0
    json.dumps(findings.metrics, allow_nan=False)
    assert [f.name for f in Reconstruction().figures(findings)] == ["attractors", "distributions", "validity"]


def test_free_runs_are_those_of_the_system_in_physical_units():
    findings = look(Fixed(rotate, 2), turning(), num_runs=3, num_steps=100, burn_in=0)
    generated = findings.results["generated"]
    angles = np.unwrap(np.arctan2(generated[..., 1], generated[..., 0]), axis=1)
    assert generated.shape == (3, 100, 2)
    np.testing.assert_allclose(np.diff(angles), ANGLE, atol=1e-9)
    np.testing.assert_allclose(angles[0, 0] % (2 * np.pi), (10 * ANGLE) % (2 * np.pi), atol=1e-9)


@pytest.mark.parametrize(
    "task",
    [
        rs.Lorenz63(duration=12, transient=1, differences=1, window=10),
        rs.Lorenz96(duration=10, transient=1, window=10, protocol="stream"),
        rs.Duffing(duration=20, differences=2, window=10, protocol="stream"),
        rs.MackeyGlass(duration=400, window=10, head="gaussian", horizon=3),
    ],
    ids=["differences", "eight variables", "covariates", "one variable"],
)
def test_every_kind_of_forecasting_task_is_looked_at_and_drawn(task):
    data = task.prepare(Streams(0))
    model = build(rs.GRU(hidden_size=4, num_layers=1), data)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    analysis = Reconstruction(**{**SMALL, "num_steps": 300})
    assert analysis.obstacle(model, data) == ""
    findings = analysis.run(trained(model), data, Streams(0))
    assert len(findings.statements) >= 4
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(render(figure.canvas, "png") for figure in analysis.figures(findings))
    json.dumps(findings.metrics, allow_nan=False)
    again = analysis.run(trained(model), data, Streams(0))
    assert again.metrics == findings.metrics


def test_known_covariates_bound_the_run():
    data = rs.Duffing(duration=20, window=10).prepare(Streams(0))
    findings = look(build(rs.GRU(hidden_size=4, num_layers=1), data), data)
    assert findings.results["generated"].shape == (1, 990, 1)


# where it does not apply


def test_obstacles_say_why():
    model = Fixed(rotate, 2)
    obstacle = Reconstruction().obstacle
    hidden = rs.HiddenMarkov(num_sequences=20, num_steps=10).prepare(Streams(0))
    assert "no series" in obstacle(model, hidden)
    assert "too few" in obstacle(model, turning(150))
    leaky = prepare(rs.Table(path="unused", split=rs.Split(kind="leaky"), **TASK), series_of(np.sin(np.arange(300.0))))
    assert "leaky" in obstacle(model, leaky)
    series = series_of(np.sin(np.arange(300.0)))
    seen = np.ones((300, 1), bool)
    seen[100] = False
    gaps = prepare(rs.Table(path="unused", **TASK), type(series)(series.values, series.covariates, series.times, observed=seen))
    assert "missing" in obstacle(model, gaps)


def test_looks_for_simulated_systems_add_it():
    found = simulator(1.1)
    assert set(found) - set(forecaster()) == {"reconstruction"}
    assert found["reconstruction"] == Reconstruction(lyapunov_time=1.1)

"""Readouts by ridge regression: what is solved, by what it is chosen, and what is refused."""

from typing import Any

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import ModelSpec, Record, TrainingOutcome
from rnnscope.core.random import Streams
from rnnscope.core.step_data import StepData, step_set
from rnnscope.core.system import DynamicalSystem, LinearReadout
from rnnscope.numerics.regression import ridge
from rnnscope.training.free_run_distance import free_run_distance
from rnnscope.training.ridge_run import RidgeRun

RESERVOIR = rs.EchoState(units=25, degree=5)


def lorenz(**fields: Any) -> ForecastData:
    defaults = {"duration": 20.0, "protocol": "stream", "window": 20, "split": rs.Split(test=0.25, validation=0.2)}
    return rs.Lorenz63(**{**defaults, **fields}).prepare(Streams(0))


def started(data: Any, spec: ModelSpec = RESERVOIR, **fields: Any) -> RidgeRun:
    model = spec.build(data.signature, torch.Generator().manual_seed(0))
    return rs.Ridge(**{"washout": 10, **fields}).start(model, data, Streams(0).at("training"))


def trained(data: Any, spec: ModelSpec = RESERVOIR, **fields: Any) -> tuple[Any, list[Record], TrainingOutcome]:
    run = started(data, spec, **fields)
    records = list(run)
    return run.model, records, run.finish()


def samples(system: DynamicalSystem, data: ForecastData, first: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Features and targets along the training part, by single steps."""
    assert isinstance(system, LinearReadout)
    span = data.parts.train[0]
    inputs = torch.from_numpy(data.representation.inputs(data.series[0]))[: span.stop - 1]
    states = rs.rollout(system, inputs[None]).states
    assert states is not None
    features = system.state_features(states[0, first:]).detach().numpy()
    return features, data.representation.targets(data.series[0])[first : span.stop - 1]


def readout(model: rs.ReservoirSystem) -> tuple[np.ndarray, np.ndarray]:
    return model.head.weight.detach().numpy(), model.head.bias.detach().numpy()


def test_the_readout_is_the_ridge_solution_in_float64() -> None:
    data = lorenz()
    model, _, outcome = trained(data, strengths=(1e-5,), block=37)
    wanted = ridge(*samples(model, data), 1e-5)
    np.testing.assert_allclose(readout(model)[0], wanted[0], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(readout(model)[1], wanted[1], rtol=1e-7, atol=1e-9)
    assert outcome.reason.startswith("solved by ridge regression, strength 1e-05")


def test_exact_streams_are_the_series_in_float64_and_validation_is_counted_from_its_first_target() -> None:
    data = lorenz(differences=1)
    (train,), (check,) = data.exact_streams("train"), data.exact_streams("validation")
    assert train.inputs.dtype == check.targets.dtype == torch.float64
    torch.testing.assert_close(train.inputs.float(), data.streams()[0].inputs)
    torch.testing.assert_close(train.targets.float(), data.streams()[0].targets)
    assert check.counted == len(data.parts.validation[0])
    last = data.representation.targets(data.series[0])[data.parts.validation[0].stop - 2]
    np.testing.assert_array_equal(check.targets[-1].numpy(), last)


def test_the_strength_with_the_smallest_validation_loss_is_taken() -> None:
    data = lorenz(noise_sd=0.05)
    grid = (1e2, 1e-2, 1e-4, 1e-10)
    model, records, outcome = trained(data, strengths=grid)
    losses = [r.values["validation_loss"] for r in records]
    best = grid[int(np.argmin(losses))]
    assert [r.values["strength"] for r in records] == [*grid]
    assert outcome.score == min(losses) == losses[outcome.best_epoch - 1]
    assert outcome.unit == "candidate"
    assert outcome.criterion == "validation loss"
    np.testing.assert_allclose(readout(model)[0], ridge(*samples(model, data), best)[0], rtol=1e-6, atol=1e-8)


def test_without_a_validation_part_the_last_tenth_chooses_and_all_is_used() -> None:
    data = lorenz(split=rs.Split(test=0.25), noise_sd=0.05)
    model, records, outcome = trained(data, strengths=(1e2, 1e-4))
    assert "last tenth of the training part" in outcome.reason
    assert records[0].values["validation_loss"] > records[1].values["validation_loss"]
    np.testing.assert_allclose(readout(model)[0], ridge(*samples(model, data), 1e-4)[0], rtol=1e-6, atol=1e-8)


def test_free_runs_can_choose() -> None:
    data = lorenz(duration=60.0)
    _, records, outcome = trained(data, strengths=(1e-1, 1e-8), choose="free_run", starts=5, free_run_steps=50)
    errors = [r.values["closed_loop_error"] for r in records]
    assert errors[1] < errors[0] <= 1.0
    assert outcome.score == errors[-1] == min(errors)
    assert outcome.criterion == "closed-loop error"


def test_the_distance_of_free_runs_can_choose() -> None:
    data = lorenz(duration=60.0)
    model, records, outcome = trained(data, strengths=(1e-1, 1e-10), choose="reconstruction")
    distances = [r.values["free_run"] for r in records]
    assert distances[1] < distances[0]
    assert outcome.score == distances[-1] == min(distances)
    assert records[1].values["free_run"] == pytest.approx(free_run_distance(model, data)["free_run"], abs=1e-12)
    assert outcome.criterion.startswith("distance of free runs")
    assert "strength 1e-10" in outcome.reason


def test_recursive_least_squares_is_ridge_regression_to_eight_digits() -> None:
    data = lorenz()
    solved, _, _ = trained(data, strengths=(1e-4,))
    learned, _, outcome = trained(data, strengths=(1e-4,), method="rls")
    np.testing.assert_allclose(readout(learned)[0], readout(solved)[0], rtol=1e-8, atol=1e-8)
    assert "recursive" in outcome.reason
    forgot, _, _ = trained(data, strengths=(1e-4,), method="rls", forgetting=0.99)
    assert not np.allclose(readout(forgot)[0], readout(solved)[0], rtol=1e-3)


@pytest.mark.parametrize("spec", [rs.GRU(hidden_size=6, num_layers=2), rs.Elman(hidden_size=6, skip=2)])
def test_any_network_with_a_linear_readout_can_be_solved(spec: ModelSpec) -> None:
    data = lorenz()
    before = spec.build(data.signature, torch.Generator().manual_seed(0)).state_dict()
    model, records, _ = trained(data, spec, strengths=(1e-4,))
    after = model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items() if not k.startswith(("head", "taps")))
    assert records[-1].values["train_loss"] < 0.2


def test_windows_and_streams_are_different_regressions() -> None:
    data = lorenz()
    along, _, _ = trained(data, strengths=(1e-4,))
    windows, _, _ = trained(data, strengths=(1e-4,), carry_state=False)
    assert not np.allclose(readout(along)[0], readout(windows)[0], rtol=1e-2)


def test_targets_that_are_not_asked_for_are_left_out() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((30, 12, 1))
    targets = np.cumsum(inputs, 1)
    mask = np.zeros((30, 12), bool)
    mask[:, 5:] = True
    part = step_set(inputs, targets, mask=mask)
    data = StepData(part, None, {"test": part}, ("x",), ("y",))
    model, _, _ = trained(data, strengths=(1e-6,))
    features = model.readout_features(part.inputs)[:, 5:].flatten(0, 1).detach().numpy()
    wanted = ridge(features, part.targets[:, 5:].flatten(0, 1).double().numpy(), 1e-6)
    np.testing.assert_allclose(readout(model)[0], wanted[0], rtol=1e-5, atol=1e-7)


def test_classes_are_regressed_as_one_hot_vectors() -> None:
    data = rs.Pattern(num_sequences=200, num_further=20).prepare(Streams(0))
    model, _, _ = trained(data, rs.EchoState(units=150, bias_scale=0.3, input_scale=1.0), strengths=(1e-4,))
    batch = data.validation.gather(np.arange(len(data.validation)))
    decided = model(batch.inputs, batch.lengths, last=1)[:, -1].argmax(-1)
    assert float((decided == batch.targets.reshape(-1)).float().mean()) > 0.7


def test_a_fed_back_output_is_the_true_one_in_training() -> None:
    data = lorenz()
    model, _, _ = trained(data, rs.EchoState(units=25, degree=5, feedback_scale=0.5), strengths=(1e-5,))
    (stream,) = data.exact_streams("train")
    previous = torch.cat([torch.zeros(1, 3).double(), stream.targets[:-1]])
    features, _ = model.carried_features(stream.inputs[None], model.initial_state(1), previous[None])
    wanted = ridge(features[0, 10:].detach().numpy(), stream.targets[10:].numpy(), 1e-5)
    np.testing.assert_allclose(readout(model)[0], wanted[0], rtol=1e-6, atol=1e-8)


def test_noise_on_states_and_inputs_costs_one_step_error_and_repeats() -> None:
    data = lorenz()
    plain = trained(data, strengths=(1e-8,))[1][-1].values
    for noise in ({"state_noise": 0.1}, {"input_noise": 0.1}):
        model, records, _ = trained(data, strengths=(1e-8,), **noise)
        again, _, _ = trained(data, strengths=(1e-8,), **noise)
        assert torch.equal(model.head.weight, again.head.weight)
        assert records[-1].values["validation_loss"] > 2 * plain["validation_loss"]


def test_a_finished_run_comes_back_from_its_checkpoint() -> None:
    data = lorenz()
    run = started(data, strengths=(1e-4, 1e-6))
    list(run)
    other = started(data, strengths=(1e-4, 1e-6))
    other.restore(run.checkpoint())
    assert list(other) == []
    assert other.finish() == run.finish()
    assert torch.equal(next(other.model.parameters()), next(run.model.parameters()))


def test_a_ridge_too_small_for_float64_is_refused_with_one_that_is_enough() -> None:
    data = lorenz(duration=4.0)  # fewer samples than features
    with pytest.raises(rs.TrainingError, match=r"singular at trainer.strengths=\[0.0, 1e-30\]") as caught:
        trained(data, rs.EchoState(units=300), strengths=(0.0, 1e-30))
    assert "set trainer.strengths=[1e-" in caught.value.remedy
    enough = float(caught.value.remedy.split("[")[1].split("]")[0])
    trained(data, rs.EchoState(units=300), strengths=(enough,))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"strengths": ()}, "strengths"),
        ({"strengths": (-1.0,)}, "strengths"),
        ({"forgetting": 0.0}, "forgetting"),
        ({"forgetting": 1.1}, "forgetting"),
        ({"washout": -1}, "washout"),
        ({"choose": "luck"}, "choose"),
    ],
)
def test_a_bad_field_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(rs.ConfigError, match=named):
        rs.Ridge(**fields)


def test_what_cannot_be_solved_is_refused_in_words() -> None:
    data = lorenz()
    with pytest.raises(rs.ConfigError, match="no linear readout"):
        started(data, rs.MLP())
    with pytest.raises(rs.ConfigError, match="washout"):
        trained(data, washout=100_000)
    with pytest.raises(rs.ConfigError, match="Gaussian head"):
        trained(lorenz(head="gaussian"))
    with pytest.raises(rs.ConfigError, match="strength above 0"):
        trained(data, method="rls", strengths=(0.0,))
    flips = rs.FlipFlop().prepare(Streams(0))
    for choice in ("free_run", "reconstruction"):
        with pytest.raises(rs.ConfigError, match=f"choose is {choice}"):
            started(flips, choose=choice)
    waves = rs.HiddenMarkov(num_sequences=20, num_steps=5).prepare(Streams(0))
    with pytest.raises(rs.ConfigError, match="target for every input"):
        rs.Ridge().start(RESERVOIR.build(data.signature, torch.Generator()), waves, Streams(0))

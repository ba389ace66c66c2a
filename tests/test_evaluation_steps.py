"""Scores of answers at every step, the trivial answers beside them, and the run that shows both."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnscope as rs
from helpers import cli, strict_json, without_drawing
from rnnscope.core.interfaces import Evaluation, History, ModelResult, TrainingOutcome
from rnnscope.core.random import Streams
from rnnscope.core.step_data import StepData, step_set
from rnnscope.evaluation.learning_curves import learning_curves
from rnnscope.evaluation.steps import Steps, model_verdict, percent
from rnnscope.evaluation.steps_scores import (
    by_age,
    clearly_better,
    decide,
    fit_short_memory,
    network_answers,
    recent_inputs,
    result_of,
)
from rnnscope.experiment import with_overrides
from rnnscope.plotting import new_figure

SMALL = {"num_train": 60, "num_validation": 20, "num_test": 30, "num_long": 6}


@pytest.fixture(scope="module")
def data() -> StepData:
    return rs.FlipFlop(num_bits=2, num_steps=30, **SMALL | {"num_train": 800}).prepare(Streams(0))


def targets_of(data: StepData) -> dict[str, np.ndarray]:
    return {name: part.targets.numpy().astype(np.float64) for name, part in data.tests.items()}


class Latch(rs.SequenceModel):
    """A model that solves the task, but for outputs times `gain` and a share of sequences turned over from a step on."""

    def __init__(self, gain: float = 1.0, wrong_from: int | None = None) -> None:
        super().__init__()
        self.gain, self.wrong_from = nn.Parameter(torch.tensor(gain)), wrong_from

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, *, rng=None, last: int | None = None) -> Tensor:
        steps = torch.arange(inputs.shape[1])[:, None].expand(inputs.shape)
        latest = torch.where(inputs != 0, steps, 0).cummax(1).values
        found = self.gain * inputs.gather(1, latest)
        if self.wrong_from is not None:
            found[0, self.wrong_from :] *= -1
        return found if last is None else found[:, -last:]

    def systems(self) -> dict[str, rs.DynamicalSystem]:
        return {}


# scores


def test_a_perfect_answer_scores_one_and_zero(data):
    for scores in result_of(targets_of(data), data).scores.values():
        assert (scores["mse"], scores["accuracy"], scores["whole"]) == (0, 1, 1)


def test_small_outputs_of_the_right_sign_are_right_but_not_exact(data):
    result = Steps().score(Latch(0.1), data, Streams(0))
    assert result.scores["test"]["accuracy"] == result.scores["long"]["beyond"] == 1
    assert result.scores["test"]["mse"] == pytest.approx(0.81, rel=1e-6)


def test_mistakes_are_counted_by_target_and_by_sequence(data):
    result = Steps().score(Latch(wrong_from=20), data, Streams(0))
    test = result.scores["test"]
    assert test["accuracy"] == pytest.approx(1 - 10 / (30 * 30))
    assert test["whole"] == pytest.approx(29 / 30)
    assert test["mse"] == pytest.approx(4 * 10 / (30 * 30))
    assert result.arrays["test_sequence_error"][0] == pytest.approx(4 * 10 / 30)
    assert not result.arrays["test_sequence_error"][1:].any()


def test_targets_that_do_not_count_change_no_score():
    rng = np.random.default_rng(0)
    targets = np.sign(rng.standard_normal((5, 8, 2)))
    lengths = np.array([8, 5, 3, 8, 1])
    part = step_set(targets, targets, lengths=lengths, age=np.ones(targets.shape, int))
    names = {"input_names": ("a", "b"), "output_names": ("p", "q")}
    data = StepData(train=part, validation=None, tests={"test": part}, levels=(-1.0, 1.0), **names)
    late = np.arange(8) >= lengths[:, None]
    outputs = np.where(late[:, :, None], -7 * targets, 0.5 * targets)
    scores = result_of({"test": outputs}, data).scores["test"]
    assert scores == {"mse": 0.25, "accuracy": 1.0, "whole": 1.0}


def test_without_levels_there_is_an_r2_and_no_right_and_wrong():
    rng = np.random.default_rng(0)
    targets = rng.standard_normal((40, 25, 1))
    part = step_set(targets, targets)
    data = StepData(train=part, validation=None, tests={"test": part}, input_names=("x",), output_names=("y",))
    scores = result_of({"test": np.zeros_like(targets)}, data).scores["test"]
    assert set(scores) == {"mse", "r2"}
    assert scores["r2"] == pytest.approx(0, abs=0.02)
    assert result_of({"test": targets.astype(np.float32).astype(np.float64)}, data).scores["test"]["r2"] == 1


def test_older_than_in_training_is_only_what_training_never_asked(data):
    oldest = data.train.age.max()
    outputs = targets_of(data)
    outputs["long"] = np.where(data.tests["long"].age > oldest, -1, 1) * outputs["long"]
    scores = result_of(outputs, data).scores
    assert scores["long"]["beyond"] == 0
    assert scores["long"]["accuracy"] == pytest.approx((data.tests["long"].age <= oldest).mean())
    assert "beyond" not in scores["test"]


@pytest.mark.parametrize("levels", [(-1.0, 1.0), (0.0, 1.0), (-1.0, 0.0, 2.5)])
def test_a_value_decides_for_the_nearest_level(levels):
    values = np.random.default_rng(0).uniform(-3, 4, 200)
    nearest = np.abs(values[:, None] - np.array(levels)).argmin(1)
    np.testing.assert_array_equal(decide(values, levels), nearest)


def test_means_by_age_are_those_of_the_bins():
    rng = np.random.default_rng(0)
    ages, values = rng.integers(0, 60, 20_000), rng.standard_normal(20_000)
    means, edges = by_age(values, ages)
    assert edges[0] == 0
    assert edges[-1] > 59 >= edges[-2]
    for low, high, mean in zip(edges[:-1], edges[1:], means, strict=True):
        assert mean == pytest.approx(values[(ages >= low) & (ages < high)].mean())


def test_an_age_that_is_hardly_ever_seen_is_left_out():
    ages = np.repeat([0, 1, 2], [500, 99, 100])
    means, _ = by_age(np.ones(len(ages)), ages)
    assert np.isnan(means).tolist() == [False, True, False]


def test_few_values_have_few_bins_of_age_and_none_is_empty():
    ages = np.random.default_rng(0).integers(0, 40, 1000)
    means, edges = by_age(np.ones(1000), ages)
    assert len(edges) == 6
    assert (means == 1).all()


def test_a_network_answers_in_pieces_as_in_one(data, monkeypatch):
    model = rs.GRU(hidden_size=4, num_layers=1).build(data.signature, torch.Generator().manual_seed(0))
    whole = network_answers(model, data.tests["long"].inputs)
    monkeypatch.setattr("rnnscope.evaluation.steps_scores.MOST_STEPS", 700)
    np.testing.assert_allclose(network_answers(model, data.tests["long"].inputs), whole, atol=1e-6)


# trivial answers


def test_recent_inputs_are_the_latest_first_and_zero_before_the_start():
    inputs = np.arange(1.0, 9.0).reshape(1, 4, 2)
    found = recent_inputs(inputs, 3)
    assert found[0, 0].tolist() == [1, 2, 0, 0, 0, 0]
    assert found[0, 3].tolist() == [7, 8, 5, 6, 3, 4]
    assert recent_inputs(inputs, 9).shape == (1, 4, 18)


def test_the_readout_of_the_latest_inputs_finds_a_moving_sum_exactly():
    inputs = np.random.default_rng(0).standard_normal((20, 15, 2))
    padded = np.concatenate([np.zeros((20, 2, 2)), inputs], 1)
    targets = 3 + padded[:, 2:, :1] - 2 * padded[:, 1:-1, 1:] + 0.5 * padded[:, :-2, :1]
    part = step_set(inputs, targets)
    exact, short = fit_short_memory(part, 3, 0.0), fit_short_memory(part, 2, 0.0)
    np.testing.assert_allclose(exact.answers(inputs), targets, atol=1e-5)
    assert np.abs(short.answers(inputs) - targets).max() > 0.1


def test_with_no_input_the_readout_is_the_mean_of_the_targets_that_count():
    targets = np.random.default_rng(0).standard_normal((10, 6, 2))
    part = step_set(targets, targets, lengths=np.arange(1, 7).repeat(2)[:10])
    constant = fit_short_memory(part, 0, 1e-6)
    np.testing.assert_allclose(constant.intercept, np.nanmean(part.targets.numpy(), (0, 1)), rtol=1e-5)
    assert constant.answers(targets).shape == targets.shape


def test_trivial_answers_forget_and_the_rule_does_not(data):
    found = Steps().references(data, Streams(0))
    assert list(found) == ["constant", "latest1", "latest5", "latest20", "rule"]
    errors = [r.scores["test"]["mse"] for r in found.values()]
    assert errors == sorted(errors, reverse=True)
    assert found["rule"].scores["long"]["mse"] == 0
    # without memory: right where the pulse is now, else a guess
    now = (data.tests["test"].age == 0).mean()
    assert found["latest1"].scores["test"]["accuracy"] == pytest.approx(now + (1 - now) / 2, abs=0.06)
    assert found["latest20"].scores["long"]["beyond"] == pytest.approx(0.5, abs=0.15)


def test_with_noise_the_rule_makes_mistakes_too():
    data = rs.FlipFlop(noise_sd=0.4, **SMALL).prepare(Streams(0))
    scores = Steps().references(data, Streams(0))["rule"].scores["test"]
    assert 0.5 < scores["accuracy"] < 1


# the verdict


def test_better_and_worse_need_two_standard_errors():
    rng = np.random.default_rng(0)
    one = rng.uniform(0.5, 1, 50)
    assert clearly_better(one, one + 0.1) == 1
    assert clearly_better(one + 0.1, one) == -1
    assert clearly_better(one, one + 0.001 * rng.standard_normal(50)) == 0
    assert clearly_better(one, one) == 0
    assert clearly_better(np.array([0.1]), np.array([0.2])) == 0
    assert clearly_better(one * np.inf, one) == -1


def outcome(score: float) -> History:
    return History(
        {"epoch": np.array([1.0]), "train_loss": np.array([score])}, TrainingOutcome("completed", 1, score, "x", 0.1)
    )


def concluded(data: StepData, models: list[rs.SequenceModel], error: str = "mse") -> Evaluation:
    spec = Steps()
    results = {"net": [spec.score(m, data, Streams(0)) for m in models]}
    histories = {"net": [outcome(r.scores["test"][error]) for r in results["net"]]}
    return spec.conclude(data, spec.references(data, Streams(0)), results, histories)


def test_the_verdict_of_a_network_that_solves_the_task(data):
    found = concluded(data, [Latch(0.99)])
    verdict = found.metrics["verdict"]
    assert verdict.startswith("net: On the test part it beats the best trivial answer, the readout of the 20 latest inputs")
    assert "100 % of the targets right" in verdict
    assert "100 % of the sequences without a mistake" in verdict
    assert "On 'long'" in verdict
    assert found.metrics["models"]["net"]["success_rate"] == 1


def test_the_verdict_of_a_network_that_answers_nothing_says_so(data):
    verdict = concluded(data, [Latch(0.0)]).metrics["verdict"]
    assert "On the test part it loses to the trivial answer" in verdict
    assert "x more)" in verdict


def test_the_verdict_says_how_far_repeats_agree(data):
    found = concluded(data, [Latch(0.0), Latch(0.9), Latch(0.95)])
    assert "Over 3 repeats: error 0.0025 to 1 on the test part" in found.metrics["verdict"]
    assert "error 0.0025 to 1 on 'long'" in found.metrics["verdict"]
    assert "2 of 3 beat the trivial answer on every part" in found.metrics["verdict"]
    assert "it beats" in found.metrics["verdict"]  # about the best repeat, and the others are not hidden
    entry = found.metrics["models"]["net"]
    assert entry["success_rate"] == pytest.approx(2 / 3)
    assert len(entry["seeds"]) == 3


def test_a_network_that_left_the_finite_numbers_loses(data):
    references = Steps().references(data, Streams(0))
    outputs = {name: values * np.inf for name, values in targets_of(data).items()}
    with np.errstate(invalid="ignore"):
        result: ModelResult = result_of(outputs, data)
    assert "loses" in model_verdict([result], 0, references, data)


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100 %"), (0.99998, "99.9980 %"), (0.9936112, "99.36 %"), (0.5, "50.0 %"), (0.0, "0.0 %")]
)
def test_shares_are_not_rounded_up_to_all(share, text):
    assert percent(share) == text


def test_other_data_are_refused():
    series = rs.Oscillation(num_points=60, window=5).prepare(Streams(0))
    with pytest.raises(rs.ConfigError, match="evaluation steps"):
        Steps().check(series)
    with pytest.raises(rs.ConfigError, match="series to forecast"):
        rs.Forecasting().check(rs.FlipFlop(**SMALL).prepare(Streams(0)))


# the run


TINY = ["task.num_train=24", "task.num_validation=8", "task.num_test=12", "task.num_long=6", "task.num_steps=12"]
TINY += ["trainer.epochs=2", "models.gru.hidden_size=4", "num_seeds=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> rs.Run:
    return rs.run(with_overrides(rs.preset("flip-flop-quick"), [*TINY, "analyses={}"]), out=tmp_path_factory.mktemp("runs"))


def test_a_run_leaves_scores_tables_and_figures(run):
    metrics = strict_json(run.path / "metrics.json")
    assert [t["title"].split(":")[0] for t in metrics["tables"]] == ["Test part", "Test part 'long'"]
    assert metrics["ceilings"] == ["rule"]
    assert set(metrics["models"]["gru"]["test"]) == {"mse", "accuracy", "whole"}
    figures = json.loads((run.path / "figures" / "figures.json").read_text())
    names = [f["name"] for f in figures if not f["section"]]
    assert names == ["examples", "ages", "training"]
    assert "of 2 beat the trivial answer" in run.verdict
    assert run.verdict in run.report.read_text(encoding="utf-8").replace("&#39;", "'")


def test_the_scores_of_a_run_follow_from_its_kept_weights(run):
    outputs = run.model(repeat=1)(run.data.tests["test"].inputs).detach().double()
    error = (outputs - run.data.tests["test"].targets).square().mean()
    assert run.metrics["models"]["gru"]["seeds"][1]["test"]["mse"] == pytest.approx(float(error), rel=1e-5)
    np.testing.assert_allclose(run.findings["gru/1/test_example"], outputs[0], atol=1e-6)


def test_the_kept_data_are_those_of_the_run(run):
    kept = run.folder.read_arrays("data/data.npz")
    np.testing.assert_array_equal(kept["train_inputs"], run.data.train.inputs)


def test_runs_are_compared_by_error_and_decisions(run):
    frame = rs.compare([run])
    assert list(frame["name"]) == ["gru", "constant", "latest1", "latest5", "latest20", "rule"]
    assert frame.loc[frame["name"] == "rule", ["mse", "long_accuracy"]].to_numpy().tolist() == [[0, 1]]


def test_a_comparison_of_runs_is_drawn_and_written(run, tmp_path):
    answer = cli("compare", run.path, run.path, "--out", tmp_path)
    assert answer.crash is None
    assert answer.code == 0, answer.err
    assert (tmp_path / "comparison.html").is_file()


def test_inputs_and_outputs_of_different_number_are_drawn_apart(tmp_path):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((30, 10, 3))
    part = step_set(inputs, inputs.cumsum(1)[:, :, :1], lengths=rng.integers(1, 11, 30), title="sums")
    data = StepData(train=part, validation=None, tests={"test": part}, input_names=("a", "b", "$c"), output_names=("sum",))
    spec, streams = Steps(latest=(2,)), Streams(0)
    model = rs.Elman(hidden_size=3, num_layers=1).build(data.signature, streams.torch())
    references, results = spec.references(data, streams), {"net": [spec.score(model, data, streams)]}
    histories = {"net": [outcome(1.0)]}
    evaluation = spec.conclude(data, references, results, histories)
    drawn = list(spec.figures(data, references, results, histories, evaluation))
    assert [figure.name for figure in drawn] == ["examples", "answers", "training"]
    assert len(drawn[0].canvas.axes) == 2
    assert evaluation.metrics["ceilings"] == []


def test_beside_training_in_epochs_what_is_solved_at_once_is_a_line_at_its_own_loss():
    by_candidate = TrainingOutcome("solved", 2, 0.7, "validation loss", 0.1, unit="candidate (the last: the one chosen)")
    candidates = History({"epoch": np.array([1.0, 2.0]), "validation_loss": np.array([1e-4, 1e-5])}, by_candidate)
    _, panel = new_figure()
    learning_curves(panel, {"gru": [outcome(0.5)], "echo_state": [candidates]})
    drawn = {line.get_label(): set(line.get_ydata()) for line in panel.lines}
    assert drawn == {"gru, training": {0.5}, "echo_state, solved at once": {0.7}}
    _, panel = new_figure()
    learning_curves(panel, {"echo_state": [candidates]})
    assert [line.get_label() for line in panel.lines] == ["echo_state, validation"]


def test_it_is_said_that_cross_entropy_is_unfair_to_outputs_that_are_no_logits(data):
    task = rs.Copy(length=3, num_copied=1, num_symbols=3, num_train=60, num_validation=9, num_test=9, num_longer=0)
    symbols = task.prepare(Streams(0))
    model = rs.GRU(hidden_size=3, num_layers=1).build(symbols.signature, Streams(0).torch())
    assert any("gives no logits" in note for note in concluded(symbols, [model], "cross_entropy").notes)
    assert not any("gives no logits" in note for note in concluded(data, [Latch()]).notes)


@pytest.mark.parametrize("name", ["flip-flop", "flip-flop-gru", "flip-flop-lstm"])
def test_the_other_presets_run_small(name, tmp_path):
    changes = [*TINY[:-2], f"models.{name.removeprefix('flip-flop-').replace('flip-flop', 'elman')}.hidden_size=4"]
    with without_drawing():
        assert rs.run(with_overrides(rs.preset(name), changes), out=tmp_path).verdict


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_quick_preset_learns_to_remember(seed, tmp_path):
    with without_drawing():
        run = rs.run("flip-flop-quick", seed=seed, out=tmp_path)
    scores = run.metrics["models"]["gru"]
    assert scores["test"]["mse"] < 1e-4
    assert scores["test"]["whole"] == 1
    assert scores["long"]["beyond"] > 0.999

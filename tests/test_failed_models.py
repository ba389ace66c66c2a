"""A model that cannot be trained does not take the others with it."""

import pytest

import rnnscope as rs
from rnnscope.presets.catalog import PRESETS
from rnnscope.registry import load


def experiment(**rates: float) -> rs.Experiment:
    """Small ReLU networks on a sine wave, each with a learning rate of its own, unclipped."""
    base = load(PRESETS["sine-quick"].builder)()
    return base.but(
        models={name: rs.Elman(hidden_size=8, num_layers=1, nonlinearity="relu") for name in rates},
        trainer=rs.BPTT(epochs=2),
        trainers={
            name: rs.BPTT(epochs=20, optimizer="sgd", learning_rate=rate, clip_norm=0.0)
            for name, rate in rates.items()
            if rate > 1
        },
        analyses={},
    )


def test_the_others_are_scored_and_the_report_says_what_failed(tmp_path):
    run = rs.run(experiment(calm=0.001, wild=1e6), out=tmp_path)
    assert run.status == "done"
    assert list(run.metrics["models"]) == ["calm"]
    assert "training left the finite numbers" in run.metrics["failures"]["wild"]
    assert "wild could not be trained: training left the finite numbers" in (run.path / "report.html").read_text()
    assert "wild failed" in (run.path / "log.txt").read_text()
    run.model("calm")
    with pytest.raises(rs.ConfigError, match="'wild' could not be trained"):
        run.model("wild")


def test_where_nothing_can_be_trained_the_run_fails_with_the_first_error(tmp_path):
    with pytest.raises(rs.TrainingError, match="left the finite numbers"):
        rs.run(experiment(wild=1e6, wilder=1e7), out=tmp_path)

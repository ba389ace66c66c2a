"""Evidence: found where it was put, complete, drawn, and refused where there is no decision."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

import rnnscope as rs
from rnnscope.analysis.evidence import _statements, half_of_evidence, look, pick, try_steps
from rnnscope.analysis.figures_evidence import EVIDENCE
from rnnscope.core.interfaces import History, Trained, TrainingOutcome
from rnnscope.core.labelled import LabelledData, labelled_set
from rnnscope.core.random import Streams

SPIKE = 6


def spikes(count: int, seed: int, steps: int = 12, features: int = 2) -> LabelledData:
    """Class 1 iff the first feature is high at step 6; all else is noise. Half of the sequences are shorter by two steps."""
    rng = np.random.default_rng(seed)

    def drawn(number: int):
        labels = np.arange(number) % 2
        inputs = 0.1 * rng.standard_normal((number, steps, features))
        inputs[:, SPIKE, 0] += 2.0 * (2 * labels - 1)
        return labelled_set(inputs, labels, lengths=np.where(np.arange(number) % 4 < 2, steps, steps - 2))

    names = tuple(f"x{i}" for i in range(features))
    return LabelledData(drawn(count), None, {"test": drawn(count)}, ("low", "$high$"), names)


@pytest.fixture(scope="module")
def trained() -> tuple[Trained, LabelledData]:
    data = spikes(60, 0)
    model = rs.Classifier(hidden_size=8, cell="elman").build(data.signature, torch.Generator().manual_seed(0))
    run = rs.BPTT(epochs=15, learning_rate=1e-2, batch_size=16).start(model, data, Streams(0))
    for _ in run:
        pass
    outcome = run.finish()
    return Trained("small", 0, model.eval(), History({}, outcome)), data


def test_evidence_lies_where_the_label_was_decided(trained):
    one, data = trained
    found = rs.Evidence(num_sequences=20).run(one, data, Streams(0))
    share = np.abs(found.arrays["evidence"]).sum(-1)
    assert (share.argmax(1) == SPIKE).mean() > 0.9
    assert found.metrics["half_in_steps"] <= 2
    assert found.metrics["right"] == 1
    assert found.metrics["relative_residual_worst"] < 0.01
    assert found.metrics["changed_by_most_evidence"] > found.metrics["changed_by_random"]
    assert any("add up to" in s for s in found.statements)
    assert (found.arrays["evidence"][2:4, -2:] == 0).all() or (found.arrays["lengths"] == 12).any()


def test_it_is_the_same_twice_and_leaves_the_model(trained):
    one, data = trained
    before = [p.clone() for p in one.model.parameters()]
    first, second = (rs.Evidence(num_sequences=8).run(one, data, Streams(1)) for _ in range(2))
    assert first.metrics == second.metrics
    assert all(np.array_equal(first.arrays[k], second.arrays[k]) for k in first.arrays)
    assert all(torch.equal(p, b) and p.requires_grad for p, b in zip(one.model.parameters(), before, strict=True))


def test_removing_everything_leaves_no_difference_between_the_steps(trained):
    one, data = trained
    seen = look(one.model, data, pick(data.tests["test"], 16, np.random.default_rng(0)), "mean", 4)
    found = try_steps(one.model, seen, 0.999, np.random.default_rng(0))
    assert found["changed_by_most_evidence"] == found["changed_by_random"] > 0.3


def test_classes_are_taken_in_turn():
    part = labelled_set(np.zeros((10, 3, 1)), np.array([0] * 8 + [1] * 2))
    assert sorted(pick(part, 4, np.random.default_rng(0)).labels.tolist()) == [0, 0, 1, 1]
    assert len(pick(part, 50, np.random.default_rng(0))) == 10


def test_half_of_the_evidence_counts_the_fewest_steps():
    by_step = torch.tensor([[8.0, -1.0, 1.0, 0.0], [1.0, -1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert half_of_evidence(by_step, torch.tensor([4, 4, 3])).tolist() == [1, 2, 1]


@pytest.mark.parametrize(("missed", "warned"), [(0.0, False), (3.0, True)])
def test_sequences_whose_attributions_do_not_add_up_are_counted(trained, missed, warned):
    result, data = trained
    found = rs.Evidence(num_sequences=8).run(result, data, Streams(0)).metrics
    assert found["num_incomplete"] == 0
    said = " ".join(_statements({**found, "num_incomplete": missed}, "test"))
    assert ("3 of them miss it by more than 5 %: do not read their single steps" in said) == warned


@pytest.mark.parametrize("features", [1, 2, 9, 30])
def test_figures_are_drawn_for_any_number_of_features(features):
    data = spikes(8, 0, features=features)
    model = rs.Classifier(hidden_size=3).build(data.signature, torch.Generator().manual_seed(0))
    one = Trained("small", 0, model.eval(), History({}, TrainingOutcome("", 0, 0.0, "training loss", 0.0)))
    spec = rs.Evidence(num_examples=3, num_steps=2)
    figures = list(spec.figures(spec.run(one, data, Streams(0))))
    assert [f.name for f in figures] == ["evidence_examples", "evidence_course"]
    for figure in figures:
        figure.canvas.canvas.draw()  # a dollar sign in a class name is no mathematics
        assert figure.caption


def test_the_colours_of_evidence_fade_to_nothing_at_zero():
    assert EVIDENCE(0.5)[3] < 0.02
    assert EVIDENCE(0.25)[3] == pytest.approx(0.5, abs=0.02)
    assert EVIDENCE(1.0)[:3] == pytest.approx(to_rgba("#e0782f")[:3], abs=0.01)


def test_it_says_where_it_does_not_apply_and_names_bad_fields(trained):
    one, data = trained
    series = rs.Oscillation(num_points=120, window=10).prepare(Streams(0))
    assert "no labelled sequences" in rs.Evidence().obstacle(one.model, series)
    assert rs.Evidence().obstacle(one.model, data) == ""
    for bad in ({"part": "tset"}, {"removed": 1.5}, {"num_examples": 13}):
        with pytest.raises(rs.ConfigError, match=next(iter(bad))):
            rs.Evidence(**bad).run(one, data, Streams(0))

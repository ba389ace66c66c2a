"""Labelled sequences: what is refused, how they are dealt out and counted."""

import dataclasses

import numpy as np
import pytest
import torch

from rnnscope.core.errors import DataError, ShapeError
from rnnscope.core.labelled import LabelledData, LabelledSet, class_weights, labelled_set, stratified_parts


def some(labels: list[int], seed: int = 0, **fields) -> LabelledSet:
    inputs = np.random.default_rng(seed).standard_normal((len(labels), 6, 2))
    return labelled_set(inputs, np.array(labels), **fields)


def data_of(train: list[int], test: list[int], validation: list[int] | None = None, classes: int = 3, **fields) -> LabelledData:
    return LabelledData(
        train=some(train),
        validation=None if validation is None else some(validation, 1),
        tests={"test": some(test, 2)},
        class_names=tuple("abcd"[:classes]),
        input_names=("x", "y"),
        **fields,
    )


def test_a_class_of_the_test_part_that_training_never_saw_is_named():
    with pytest.raises(DataError, match="the test part has sequences of class 'c'"):
        data_of([0, 1, 0], [0, 2])
    with pytest.raises(DataError, match="the validation part has sequences of class 'b', 'c'"):
        data_of([0, 3, 0], [0], [1, 1, 2], classes=4)


def test_one_class_alone_is_refused():
    with pytest.raises(DataError, match="every sequence of the training part is of class 'b'"):
        data_of([1, 1], [1])


def test_a_class_may_be_missing_in_the_test_part():
    assert data_of([0, 1, 2], [0, 0]).counts(some([0, 0])) == {"a": 2, "b": 0, "c": 0}


def test_classes_that_are_numbers_are_called_classes_in_the_data_report():
    numbered = dataclasses.replace(data_of([0, 1, 2], [0, 0]), class_names=("1", "-2.5", "walk"))
    assert numbered.describe()["sequences per class"]["test"] == {"class 1": 2, "class -2.5": 0, "walk": 0}
    assert numbered.counts(numbered.tests["test"]) == {"1": 2, "-2.5": 0, "walk": 0}


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"labels": np.array([0, -1])}, DataError, "the label -1"),
        ({"labels": np.array([0, 1, 1])}, ShapeError, "labels of shape"),
        ({"lengths": np.array([3, 9])}, DataError, "lengths from 3 to 9"),
        ({"lengths": np.array([0, 2])}, DataError, "lengths from 0 to 2"),
        ({"inputs": np.full((2, 4, 1), np.nan)}, DataError, "NaN"),
        ({"inputs": np.zeros((2, 4))}, ShapeError, "inputs of shape"),
        ({"kinds": np.zeros(5, int)}, ShapeError, "kinds"),
        ({"rules": {"one": np.zeros(3, int)}}, ShapeError, "one of shape"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_arrays_that_do_not_fit_are_refused(change, error, named):
    given = {"inputs": np.zeros((2, 4, 1)), "labels": np.array([0, 1]), **change}
    with pytest.raises(error, match=named):
        labelled_set(given.pop("inputs"), given.pop("labels"), **given)


def test_what_stands_after_the_end_may_be_anything():
    inputs = np.ones((2, 4, 1))
    inputs[1, 2:] = np.nan
    found = labelled_set(inputs, np.array([0, 1]), lengths=np.array([4, 2]))
    assert found.inputs[1, :, 0].tolist() == [1, 1, 0, 0]
    assert found.gather(np.array([1])).inputs.shape == (1, 2, 1)


def test_counts_of_batches_add_up_to_the_rates_of_the_whole():
    data = data_of([0, 1, 2], [0])
    rng = torch.Generator().manual_seed(0)
    outputs, targets = torch.randn(50, 1, 3, generator=rng), torch.randint(0, 2, (50, 1), generator=rng)
    pieces = [data.tally(outputs[a : a + 7], targets[a : a + 7]) for a in range(0, 50, 7)]
    rates = data.rates(sum(pieces[1:], pieces[0]))
    right = outputs[:, 0].argmax(1) == targets[:, 0]
    assert rates["accuracy"] == pytest.approx(float(right.float().mean()))
    recalls = [float(right[targets[:, 0] == k].float().mean()) for k in range(2)]
    assert rates["recall"] == pytest.approx(np.mean(recalls))


def test_parts_hold_every_group_in_its_share_and_each_number_once():
    groups = np.repeat([0, 1, 2, 3], [100, 50, 7, 1])
    parts = stratified_parts(groups, (0.68, 0.12, 0.2), np.random.default_rng(0))
    assert sorted(np.concatenate(parts)) == list(range(158))
    counts = np.array([np.bincount(groups[part], minlength=4) for part in parts])
    np.testing.assert_allclose(counts[:, :3], np.outer((0.68, 0.12, 0.2), (100, 50, 7)), atol=1)
    assert counts[0, 3] == 1


def test_balanced_weights_give_each_class_that_occurs_the_same_sum():
    labels = np.array([0] * 9 + [2] * 3)
    weights = class_weights(labels, 3)
    assert weights[1] == 0
    assert weights[0] * 9 == pytest.approx(weights[2] * 3)
    assert sum(weights[k] for k in labels) == pytest.approx(12)
    assert class_weights(labels, 3, "none") == ()


def test_the_loss_of_weighted_classes_is_the_mean_over_classes():
    data = data_of([0, 0, 0, 1], [0], classes=2, class_weights=class_weights(np.array([0, 0, 0, 1]), 2))
    outputs = torch.randn(4, 1, 2, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0], [0], [0], [1]])
    losses = -outputs[:, 0].log_softmax(-1).gather(1, targets)[:, 0]
    expected = (losses[:3].mean() + losses[3]) / 2
    assert float(data.loss(outputs, targets)) == pytest.approx(float(expected), rel=1e-5)

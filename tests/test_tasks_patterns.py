"""The pattern task: exact balance, no sequence in two parts, rules that are what they say."""

import itertools
import json

import numpy as np
import pytest
import torch

import rnnscope as rs
from helpers import cli
from rnnscope.core.errors import DataError
from rnnscope.core.labelled import LabelledData, LabelledSet
from rnnscope.core.random import Streams
from rnnscope.tasks.patterns import KINDS, simple_rules

SMALL = {"num_sequences": 400, "num_further": 60}


def prepared(seed: int = 0, **fields) -> LabelledData:
    return rs.Pattern(**{**SMALL, **fields}).prepare(Streams(seed))


def strings(part: LabelledSet) -> list[str]:
    """The sequences as words, each to its own end."""
    steps = [part.num_steps] * len(part) if part.lengths is None else part.lengths.tolist()
    rows = part.inputs[:, :, 0].int().tolist()
    return ["".join(map(str, row[:n])) for row, n in zip(rows, steps, strict=True)]


@pytest.mark.parametrize("fields", [{}, {"balance": "original"}, {"lengths": (20, 33)}, {"pattern": (0, 1), "once": None}])
def test_labels_say_whether_the_pattern_occurs(fields):
    data = prepared(**fields)
    text = "".join(map(str, fields.get("pattern", (1, 1, 0))))
    for part in data.parts().values():
        assert [text in word for word in strings(part)] == part.labels.bool().tolist()
        np.testing.assert_array_equal(part.rules[data.exact], part.labels)


@pytest.mark.parametrize("fields", [{}, {"lengths": (20, 40)}, {"lengths": (30,)}, {"once": 1.0}])
def test_both_classes_are_equally_many_in_every_part(fields):
    for part in prepared(**fields).parts().values():
        assert abs(part.labels.float().mean() - 0.5) <= 1 / len(part)


@pytest.mark.parametrize("fields", [{}, {"balance": "original"}, {"lengths": (20, 50)}, {"lengths": (50,)}])
def test_no_sequence_is_in_two_parts(fields):
    parts = {name: set(strings(part)) for name, part in prepared(**fields).parts().items()}
    fresh = [name for name in parts if name not in ("train", "validation")]
    if fields.get("balance") == "original":
        fresh.remove("test")  # drawn blindly, as the original is
    for name in fresh:
        assert not parts[name] & (parts["train"] | parts["validation"])
    if fields.get("balance") != "original":
        assert sum(map(len, parts.values())) == len(set.union(*parts.values()))


def test_parts_have_the_sizes_and_lengths_asked_for():
    data = prepared(test_share=0.25, validation_share=0.1, further_steps=(7, 64))
    sizes = {name: (len(part), part.num_steps) for name, part in data.parts().items()}
    assert sizes == {"train": (270, 20), "validation": (30, 20), "test": (100, 20), "length 7": (60, 7), "length 64": (60, 64)}


def test_mixed_lengths_are_in_equal_shares_in_training_only():
    data = prepared(lengths=(10, 20, 40))
    assert torch.unique(data.train.lengths, return_counts=True)[0].tolist() == [10, 20, 40]
    counts = torch.unique(data.train.lengths, return_counts=True)[1]
    assert int(counts.max() - counts.min()) <= 4
    assert data.tests["test"].lengths is None
    assert data.tests["test"].num_steps == 20


def test_half_of_class_one_has_the_pattern_once_unless_told_otherwise():
    kinds = prepared(num_sequences=1000).train.kinds
    assert (kinds == KINDS.index("pattern once")).mean() == pytest.approx(0.25, abs=0.03)
    natural = prepared(num_sequences=1000, once=None).train.kinds
    once, several = 196_320, 1_019_920 - 196_320
    assert (natural == 2).sum() / (natural >= 2).sum() == pytest.approx(once / (once + several), abs=0.05)


def test_the_original_generator_leaves_few_without_the_pattern_and_a_balanced_part_beside():
    data = prepared(balance="original", num_sequences=4000)
    free = 1 - np.concatenate([part.labels for part in (data.train, data.validation, data.tests["test"])]).mean()
    assert 0.008 < free < 0.02
    assert data.tests["balanced"].labels.float().mean() == 0.5
    assert data.tests["balanced"].num_steps == 20


def test_every_sequence_of_a_tiny_world_can_be_asked_for():
    data = prepared(pattern=(1, 1), num_steps=7, num_sequences=60, further_steps=())
    assert len({word for part in data.parts().values() for word in strings(part)}) == 60


@pytest.mark.parametrize("fields", [{"num_steps": 7}, {"pattern": (0, 1)}, {"pattern": (1,) * 8, "num_steps": 10}])
def test_where_few_different_sequences_exist_they_repeat_within_a_part_only(fields):
    data = prepared(**{"further_steps": (), **fields})
    parts = {name: set(strings(part)) for name, part in data.parts().items()}
    assert sum(map(len, parts.values())) == len(set.union(*parts.values()))
    assert sum(map(len, parts.values())) < sum(map(len, data.parts().values()))
    for part in data.parts().values():
        assert abs(part.labels.float().mean() - 0.5) <= 1 / len(part)


def test_sequences_too_few_for_all_parts_are_refused_in_words():
    with pytest.raises(DataError, match="1 sequences without the pattern and 1048575 with it"):
        prepared(pattern=(1,), further_steps=())


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"pattern": (1, 0) * 15}, "task.num_steps has 20 steps, fewer than the 30 of the pattern"),
        ({"further_steps": (2,)}, "task.further_steps has 2 steps"),
        ({"lengths": (20, 2)}, "task.lengths has 2 steps"),
        ({"pattern": ()}, "pattern"),
        ({"pattern": (1, 2)}, "pattern"),
        ({"balance": "original", "lengths": (20, 30)}, "task.lengths"),
        ({"test_share": 0.0}, "test_share"),
    ],
)
def test_fields_that_cannot_be_are_refused_by_name(fields, named):
    with pytest.raises(ValueError, match=named):
        rs.Pattern(**fields)


def test_a_pattern_longer_than_the_sequences_is_told_without_a_traceback():
    result = cli("run", "pattern-quick", "--set", "task.num_steps=2")
    assert result.code == 2
    assert "fewer than the 3 of the pattern" in result.err


def test_simple_rules_are_fitted_on_the_training_part_alone():
    data = prepared()
    held = {
        name: (part.inputs[:, :, 0].numpy().astype(int), np.full(len(part), part.num_steps))
        for name, part in data.parts().items()
    }
    labels = data.train.labels.numpy()
    first = simple_rules({"train": held["train"], "test": held["test"]}, labels, 3)
    turned = simple_rules({"train": held["train"], "test": (1 - held["test"][0], held["test"][1])}, labels, 3)
    assert list(first) == list(turned)
    for rule in first:
        np.testing.assert_array_equal(first[rule]["train"], turned[rule]["train"])


def test_the_threshold_rule_is_the_best_one():
    data = prepared()
    values = data.train.inputs[:, :, 0].mean(1).numpy()
    labels = data.train.labels.numpy()
    rule = next(name for name in data.train.rules if name.startswith("share of ones"))

    def balanced(answer: np.ndarray) -> float:
        return np.mean([(answer[labels == k] == k).mean() for k in range(2)])

    candidates = [(values >= level).astype(int) for level in np.unique(values)]
    best = max(balanced(a) for a in itertools.chain(candidates, [1 - a for a in candidates]))
    assert balanced(data.train.rules[rule]) == pytest.approx(best)


def test_the_same_seed_gives_the_same_data_and_another_one_others():
    assert prepared(3).fingerprint() == prepared(3).fingerprint() != prepared(4).fingerprint()


def test_balanced_weights_weigh_classes_alike():
    data = prepared(balance="original", num_sequences=4000, class_weights="balanced")
    counts = torch.bincount(data.train.labels)
    weights = torch.tensor(data.class_weights)
    assert float(weights[0] * counts[0]) == pytest.approx(float(weights[1] * counts[1]))
    assert json.dumps(data.describe())

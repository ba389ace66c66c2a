"""Trigger and action: kinds that are what they are called, and a rule that decides them."""

import numpy as np
import pytest

import rnnscope as rs
from rnnscope.core.labelled import LabelledData
from rnnscope.core.random import Streams
from rnnscope.tasks.trigger_action import EXACT, KINDS, find_rows, trigger_then_action


def prepared(seed: int = 0, **fields) -> LabelledData:
    return rs.TriggerAction(**{"num_sequences": 1000, **fields}).prepare(Streams(seed))


def by_hand(inputs: np.ndarray, max_gap: int) -> bool:
    """The rule, step by step over one sequence."""
    unit = np.eye(inputs.shape[1])
    ends = [t + 1 for t in range(len(inputs) - 1) if (inputs[t] == unit[0]).all() and (inputs[t + 1] == unit[1]).all()]
    starts = [t for t in range(len(inputs) - 1) if (inputs[t] == unit[2]).all() and (inputs[t + 1] == unit[3]).all()]
    return any(1 <= start - end <= max_gap for end in ends for start in starts)


@pytest.mark.parametrize("max_gap", [1, 5, 9])
def test_labels_are_those_of_the_rule_found_step_by_step(max_gap):
    data = prepared(max_gap=max_gap)
    for part in data.parts().values():
        expected = [by_hand(row, max_gap) for row in part.inputs.numpy()]
        assert expected == part.labels.bool().tolist() == part.rules[EXACT].astype(bool).tolist()


def test_every_kind_holds_what_its_name_says():
    part = prepared(num_sequences=3000).train
    inputs = part.inputs.numpy()
    triggers, actions = find_rows(inputs, 0).sum(1), find_rows(inputs, 2).sum(1)
    expected = {"trigger then action": (1, 1), "trigger only": (1, 0), "action only": (0, 1)}
    expected |= {"action then trigger": (1, 1), "gap too long": (1, 1)}
    for name, counts in expected.items():
        rows = part.kinds == KINDS.index(name)
        assert rows.any()
        assert set(zip(triggers[rows], actions[rows], strict=True)) == {counts}
    late = inputs[part.kinds == KINDS.index("gap too long")]
    gaps = find_rows(late, 2).argmax(1) - find_rows(late, 0).argmax(1) - 1
    assert gaps.min() > 5
    reversed_ = inputs[part.kinds == KINDS.index("action then trigger")]
    back = find_rows(reversed_, 0).argmax(1) - find_rows(reversed_, 2).argmax(1) - 1
    assert back.min() >= 1
    assert back.max() <= 5
    spikes = inputs[part.kinds == KINDS.index("random spikes")]
    assert ((spikes == 1).sum((1, 2)) == 4).all()


def test_gaps_of_the_positive_class_are_all_that_are_allowed():
    part = prepared(num_sequences=3000).train
    inputs = part.inputs.numpy()[part.labels.numpy() == 1]
    gaps = find_rows(inputs, 2).argmax(1) - find_rows(inputs, 0).argmax(1) - 1
    assert set(gaps) == {1, 2, 3, 4, 5}


def test_decoys_come_in_equal_shares_and_make_up_half_of_every_part():
    for part in prepared(num_sequences=3000).parts().values():
        counts = np.bincount(part.kinds, minlength=7)
        assert counts[0] == pytest.approx(len(part) / 2, abs=2)
        assert np.ptp(counts[1:6]) <= 2
        assert counts[6] == 0


def test_the_easy_task_is_solved_by_any_value_above_the_background_and_its_decoys_are_not():
    data = prepared(decoys=False)
    easy, hard = data.tests["test"], data.tests["decoys"]
    rule = next(name for name in easy.rules if name.startswith("any value"))
    np.testing.assert_array_equal(easy.rules[rule], easy.labels)
    assert set(np.unique(easy.kinds)) == {0, 6}
    assert hard.rules[rule].all()
    both = "trigger and action, in any order"
    assert (hard.rules[both] == hard.labels.numpy()).mean() == pytest.approx(0.8, abs=0.02)


def test_sizes_are_those_of_a_three_way_split():
    data = prepared(num_sequences=3000)
    assert [len(data.train), len(data.validation), len(data.tests["test"])] == pytest.approx([2040, 360, 600], abs=3)


def test_the_background_stays_below_its_bound():
    inputs = prepared(background=0.3).train.inputs.numpy()
    assert inputs[inputs < 1].max() < 0.3
    assert not prepared(background=0.0).train.inputs.numpy()[:, :, 4].any()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"num_steps": 8, "max_gap": 5}, "task.num_steps is 8"),
        ({"num_features": 3}, "num_features"),
        ({"latest": 8}, "task.latest is 8"),
        ({"latest": 31}, "task.latest is 31"),
        ({"background": 1.0}, "background"),
        ({"num_sequences": 10}, "num_sequences"),
    ],
)
def test_fields_that_cannot_be_are_refused_by_name(fields, named):
    with pytest.raises(ValueError, match=named):
        rs.TriggerAction(**fields)


def test_the_shortest_sequences_still_have_every_kind():
    assert set(prepared(num_steps=9).train.kinds) == {0, 1, 2, 3, 4, 5}


def test_the_same_seed_gives_the_same_data_and_another_one_others():
    assert prepared(3).fingerprint() == prepared(3).fingerprint() != prepared(4).fingerprint()


@pytest.mark.parametrize("latest", [9, 20])
def test_nothing_but_background_follows_the_latest_step_of_an_event(latest):
    for part in prepared(num_steps=60, latest=latest).parts().values():
        events = (part.inputs == 1).any(2)
        assert events[:, :latest].any(1).all()
        assert not events[:, latest:].any()
        assert set(part.kinds) == {0, 1, 2, 3, 4, 5}
        assert part.labels.tolist() == [by_hand(row, 5) for row in part.inputs.numpy()]


def test_events_of_confined_sequences_lie_as_those_of_short_ones():
    short, confined = (
        prepared(num_sequences=6000, num_steps=20).train,
        prepared(num_sequences=6000, num_steps=60, latest=20).train,
    )
    where = [(part.inputs[:, :20] == 1).any(2).double().mean(0) for part in (short, confined)]
    assert (where[0] - where[1]).abs().max() < 0.03


def test_events_that_may_lie_anywhere_are_those_of_a_bound_at_the_end():
    assert prepared().fingerprint() == prepared(latest=30).fingerprint()


def test_an_action_that_starts_at_once_is_in_time_and_one_step_too_late_is_not():
    rows = np.zeros((1, 12, 5))
    rows[0, [0, 1]] = np.eye(5)[:2]
    for start in range(2, 10):
        inputs = rows.copy()
        inputs[0, [start, start + 1]] = np.eye(5)[2:4]
        assert bool(trigger_then_action(inputs, 5)[0]) == (start - 1 <= 5)

"""A trigger, and an action soon after it: labels that need order and timing, and decoys that have only some of it."""

from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import TaskSpec
from rnnscope.core.labelled import ClassWeights, LabelledData, class_weights, labelled_set, stratified_parts
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegative, NonNegativeFloat, Positive

CLASSES = ("absent", "present")
PRESENT, BACKGROUND = 0, 6
KINDS = (
    "trigger then action",
    "trigger only",
    "action only",
    "action then trigger",
    "gap too long",
    "random spikes",
    "background only",
)
EXACT = "the rule itself"

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class TriggerAction(TaskSpec):
    """Class 1 ("present") if a trigger occurs and, at most max_gap steps after its end, an action begins.

    Inputs are a background of U(0, background). The trigger puts the rows e1, e2 (one feature 1, the others 0) in place of two
    steps, the action e3, e4. Half of the sequences have both in order. With decoys, the other half are five hard kinds in
    equal shares: trigger only, action only, action then trigger, the action too late, and the four rows scattered; without,
    they are background alone, which "any value above the background" gets right. Then a test part of decoys comes beside.

    Fields:
        num_steps: T, at least max_gap + 4. num_features: >= 4. max_gap: the action's first step comes 1 to max_gap steps after
            the trigger's last one. background: highest value of the background, below 1.
        latest: trigger, action and decoys lie within the first so many steps, at least max_gap + 4 of them, and background
            follows; 0: anywhere.
        decoys: whether class 0 is made of decoys.
        num_sequences: of all parts together. test_share: of them; validation_share: of the rest, stratified by kind.
        class_weights: in the loss: none, or balanced.
    """

    num_steps: Positive = 30
    num_features: Annotated[int, Field(ge=4)] = 5
    max_gap: Positive = 5
    background: Annotated[NonNegativeFloat, Field(lt=1.0)] = 0.5
    latest: NonNegative = 0
    decoys: bool = True
    num_sequences: Annotated[int, Field(ge=100)] = 3000
    test_share: Share = 0.2
    validation_share: Share = 0.15
    class_weights: ClassWeights = "none"

    def model_post_init(self, context: Any) -> None:
        if self.num_steps < self.max_gap + 4:
            raise ConfigError(
                f"task.num_steps is {self.num_steps}: no room for a gap above task.max_gap = {self.max_gap}",
                f"at least {self.max_gap + 4} steps",
                "raise task.num_steps or lower task.max_gap",
            )
        if self.latest and not self.max_gap + 4 <= self.latest <= self.num_steps:
            raise ConfigError(
                f"task.latest is {self.latest}, with task.max_gap = {self.max_gap} and task.num_steps = {self.num_steps}",
                f"{self.max_gap + 4} to {self.num_steps}, or 0 for events anywhere",
                "change task.latest",
            )

    def prepare(self, streams: Streams) -> LabelledData:
        rng = streams.at("data").numpy()
        inputs, kinds = self._draw(self.num_sequences, rng, self.decoys)
        shares = ((1 - self.test_share) * (1 - self.validation_share), (1 - self.test_share) * self.validation_share)
        pieces = stratified_parts(kinds, (*shares, self.test_share), rng)
        drawn = {name: (inputs[p], kinds[p]) for name, p in zip(("train", "validation", "test"), pieces, strict=True)}
        if not self.decoys:
            drawn["decoys"] = self._draw(len(pieces[2]), streams.at("data", "decoys").numpy(), True)
        words = {True: "half of them decoys of five kinds", False: "half of them background alone"}
        sets = {
            name: labelled_set(
                values,
                (found == PRESENT).astype(int),
                kinds=found,
                rules=self._rules(values),
                title=f"{self.num_steps} steps, {words[self.decoys or name == 'decoys']}",
            )
            for name, (values, found) in drawn.items()
        }
        labels = (drawn["train"][1] == PRESENT).astype(int)
        return LabelledData(
            train=sets.pop("train"),
            validation=sets.pop("validation"),
            tests=sets,
            class_names=CLASSES,
            input_names=tuple(f"feature {k + 1}" for k in range(self.num_features)),
            kind_names=KINDS,
            exact=EXACT,
            class_weights=class_weights(labels, 2, self.class_weights),
            rule=f"'{CLASSES[1]}' if rows e1, e2 occur and rows e3, e4 begin 1 to {self.max_gap} steps after them",
        )

    def _rules(self, inputs: Float[np.ndarray, "N T X"]) -> dict[str, Int[np.ndarray, " N"]]:
        trigger, action = find_rows(inputs, 0).any(1), find_rows(inputs, 2).any(1)
        return {
            f"any value above {self.background:g}": (inputs > self.background).any((1, 2)).astype(int),
            "trigger and action, in any order": (trigger & action).astype(int),
            EXACT: trigger_then_action(inputs, self.max_gap).astype(int),
        }

    def _draw(
        self, count: int, rng: np.random.Generator, decoys: bool
    ) -> tuple[Float[np.ndarray, "N T X"], Int[np.ndarray, " N"]]:
        """Sequences and their kinds; half of them have trigger and action in order, in time."""
        kinds = np.full(count, PRESENT)
        others = count - count // 2
        kinds[count // 2 :] = 1 + np.arange(others) % (BACKGROUND - 1) if decoys else BACKGROUND
        inputs = self._filled(kinds, rng)
        while True:  # rows scattered at random are now and then a trigger and an action
            wrong = np.flatnonzero(trigger_then_action(inputs, self.max_gap) & (kinds != PRESENT))
            if not len(wrong):
                return inputs, kinds
            inputs[wrong] = self._filled(kinds[wrong], rng)

    def _filled(self, kinds: Int[np.ndarray, " N"], rng: np.random.Generator) -> Float[np.ndarray, "N T X"]:
        """Background with the rows of each sequence's kind put in."""
        count, steps = len(kinds), self.latest or self.num_steps
        inputs = rng.uniform(0, self.background, (count, self.num_steps, self.num_features)).astype(np.float32)
        late = kinds == KINDS.index("gap too long")
        gap = np.where(late, rng.integers(self.max_gap + 1, steps - 2, count), rng.integers(1, self.max_gap + 1, count))
        first = rng.integers(0, steps - 2 - gap)  # of the first event; the second begins gap steps after its end
        second = first + 1 + gap
        alone = rng.integers(0, steps - 1, count)
        swapped = kinds == KINDS.index("action then trigger")
        both = (kinds == PRESENT) | late | swapped
        trigger = np.where(both, np.where(swapped, second, first), np.where(kinds == 1, alone, -1))
        action = np.where(both, np.where(swapped, first, second), np.where(kinds == 2, alone, -1))
        _put(inputs, trigger, 0)
        _put(inputs, action, 2)
        scattered = np.flatnonzero(kinds == KINDS.index("random spikes"))
        places = rng.permuted(np.tile(np.arange(steps), (len(scattered), 1)), axis=1)[:, :4]
        for feature in range(4):
            inputs[scattered, places[:, feature]] = np.eye(self.num_features, dtype=np.float32)[feature]
        return inputs


def _put(inputs: Float[np.ndarray, "N T X"], starts: Int[np.ndarray, " N"], feature: int) -> None:
    """Two unit rows from each start on, of a feature and the next; nowhere where the start is -1."""
    rows = np.flatnonzero(starts >= 0)
    for k in range(2):
        inputs[rows, starts[rows] + k] = np.eye(inputs.shape[2], dtype=np.float32)[feature + k]


def find_rows(inputs: Float[np.ndarray, "N T X"], feature: int) -> Bool[np.ndarray, "N U"]:
    """At which steps a unit row of a feature is followed by that of the next feature."""
    unit = np.eye(inputs.shape[2])
    here = (inputs[:, :-1] == unit[feature]).all(2)
    return here & (inputs[:, 1:] == unit[feature + 1]).all(2)


def trigger_then_action(inputs: Float[np.ndarray, "N T X"], max_gap: int) -> Bool[np.ndarray, " N"]:
    """The rule that labels: rows e1, e2, and rows e3, e4 that begin 1 … max_gap steps after them.

    Example:
        >>> import numpy as np
        >>> rows = np.eye(5)[[0, 1, 4, 2, 3]]
        >>> trigger_then_action(np.stack([rows, rows[::-1]]), 5).tolist()
        [True, False]
    """
    triggers, actions = find_rows(inputs, 0), find_rows(inputs, 2)
    found = np.zeros(len(inputs), bool)
    for shift in range(2, max_gap + 2):  # from the trigger's first step to the action's
        found |= (triggers[:, :-shift] & actions[:, shift:]).any(1)
    return found

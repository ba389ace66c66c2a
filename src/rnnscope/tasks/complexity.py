"""Does a phenomenon emerge? Two complexities whose sum decides, at a sharp threshold or across a smooth one."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from scipy.special import expit

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.interfaces import TaskSpec
from rnnscope.core.labelled import LabelledData, labelled_set, stratified_parts
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegativeFloat

CLASSES = ("no emergence", "emergence")
FEATURES = ("data complexity", "architecture complexity")
RULE = "sum above the threshold"

Range = tuple[float, float]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class Complexity(TaskSpec):
    """Emergence where data complexity and architecture complexity sum to more than a threshold.

    Both are uniform and independent. With `smooth` > 0 the label is drawn: emergence with probability σ((sum - threshold) / smooth),
    the sharp rule being the limit at 0.

    Fields:
        num_samples: of all parts, at least 20. data_range, architecture_range: (low, high), low < high. threshold: of the sum.
        smooth: width of the transition, >= 0, in the units of the sum.
        test_share: of the samples, in (0, 1); validation_share: of the rest. Stratified by label.
        scaling: none, or standard: mean 0 and standard deviation 1 in the training part.
    """

    num_samples: Annotated[int, Field(ge=20)] = 1000
    data_range: Range = (0.0, 10.0)
    architecture_range: Range = (0.0, 5.0)
    threshold: float = 10.0
    smooth: NonNegativeFloat = 0.0
    test_share: Share = 0.2
    validation_share: Share = 0.15
    scaling: Literal["none", "standard"] = "none"

    def model_post_init(self, context: Any) -> None:
        for name in ("data_range", "architecture_range"):
            low, high = getattr(self, name)
            if not low < high:
                raise ConfigError(f"{name} is [{low:g}, {high:g}]", "[low, high] with low below high", f"correct task.{name}")
        least = self.data_range[0] + self.architecture_range[0]
        most = self.data_range[1] + self.architecture_range[1]
        if not least < self.threshold < most:
            raise ConfigError(
                f"threshold is {self.threshold:g}, and sums lie between {least:g} and {most:g}: there would be one class only",
                "a threshold between them",
                f"set task.threshold={(least + most) / 2:g}",
            )

    def prepare(self, streams: Streams) -> LabelledData:
        at = streams.at("data")
        rng = at.at("samples").numpy()
        ranges = np.array([self.data_range, self.architecture_range])
        rows = ranges[:, 0] + (ranges[:, 1] - ranges[:, 0]) * rng.random((self.num_samples, 2))
        total = rows.sum(1)
        sharp = total > self.threshold
        chance = rng.random(self.num_samples)
        labels = (chance < expit((total - self.threshold) / self.smooth)) if self.smooth else sharp
        validation = (1 - self.test_share) * self.validation_share
        shares = (1 - self.test_share - validation, validation, self.test_share)
        parts = stratified_parts(labels.astype(np.int64), shares, at.at("split").numpy())
        if any(len(np.unique(labels[part])) < 2 for part in parts):
            raise DataError(
                f"{int(labels.sum())} of {self.num_samples} samples show emergence: some part has one class only",
                "both classes in every part",
                "give more task.num_samples, or a task.threshold nearer to the middle",
            )
        return self._data(rows, labels, sharp, parts)

    def _data(self, rows: np.ndarray, labels: np.ndarray, sharp: np.ndarray, parts: list[np.ndarray]) -> LabelledData:
        mean, sd = np.zeros(2), np.ones(2)
        if self.scaling == "standard":
            mean, sd = rows[parts[0]].mean(0), rows[parts[0]].std(0)
        title = f"threshold {self.threshold:g}" + (f", smooth over {self.smooth:g}" if self.smooth else "")
        train, held, test = (
            labelled_set(
                ((rows[part] - mean) / sd)[:, None],
                labels[part].astype(np.int64),
                rules={RULE: sharp[part].astype(np.int64)},
                title=title,
            )
            for part in parts
        )
        rule = f"'{CLASSES[1]}' if data complexity + architecture complexity > {self.threshold:g}"
        if self.smooth:
            rule = f"'{CLASSES[1]}' with probability σ((data complexity + architecture complexity - {self.threshold:g}) / {self.smooth:g})"
        return LabelledData(
            train=train,
            validation=held,
            tests={"test": test},
            class_names=CLASSES,
            input_names=FEATURES,
            exact=RULE,
            mean=mean if self.scaling == "standard" else None,
            sd=sd if self.scaling == "standard" else None,
            rule=rule,
            boundary=(1.0, 1.0, self.threshold),
            boundary_width=self.smooth,
        )

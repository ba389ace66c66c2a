"""Families of tasks, from each of which a few examples are given: the shared ground of learning to learn.

A task asks for y = f(x) and is one draw of a family's parameters. A learner meets a new task by K examples ("shots") and is asked
for other points. It may adapt by gradient steps (`AdaptsByGradient`), or in its state, reading (x_t, y_{t-1}) step by step.
"""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.fingerprint import digest
from rnnscope.core.interfaces import Batch, BatchSource, Signature, Stream, SupervisedData


class TaskFamily(ABC):
    """A distribution of regression tasks y = f(x; parameters), with scalar x and y.

    Attributes:
        names: of the parameters, e.g. ("amplitude", "phase"). ranges: (low, high) of each.
    """

    names: tuple[str, ...]
    ranges: tuple[tuple[float, float], ...]

    @abstractmethod
    def draw(self, num_tasks: int, rng: np.random.Generator) -> Float[np.ndarray, "N P"]:
        """The parameters of so many tasks."""

    @abstractmethod
    def inputs(self, num_tasks: int, num_points: int, rng: np.random.Generator) -> Float[np.ndarray, "N K"]:
        """Points at which tasks are asked."""

    @abstractmethod
    def answers(self, parameters: Float[np.ndarray, "N P"], inputs: Float[np.ndarray, "N K"]) -> Float[np.ndarray, "N K"]:
        """f, without noise."""

    @abstractmethod
    def fitted(
        self, inputs: Float[np.ndarray, "N K"], targets: Float[np.ndarray, "N K"], queries: Float[np.ndarray, "N Q"]
    ) -> Float[np.ndarray, "N Q"]:
        """What one who knows the family's form answers after a least-squares fit of its parameters: the ceiling."""


@dataclass(frozen=True)
class Episodes(BatchSource):
    """Tasks with points of each, made by `draw_episodes`.

    Attributes:
        points: x, (N, T) float32. targets: y, (N, T) float32. parameters: (N, P), which tasks they are.
    """

    points: Float[Tensor, "N T"]
    targets: Float[Tensor, "N T"]
    parameters: Float[np.ndarray, "N P"]

    def __len__(self) -> int:
        return len(self.points)

    @property
    def num_points(self) -> int:
        """T, points of each task."""
        return int(self.points.shape[1])

    def sequences(self) -> Float[Tensor, "N T 2"]:
        """(x_t, y_{t-1}) at every step, y_0 = 0: what a recurrent learner reads."""
        before = torch.nn.functional.pad(self.targets[:, :-1], (1, 0))
        return torch.stack([self.points, before], -1)

    def gather(self, indices: np.ndarray) -> Batch:
        rows = torch.from_numpy(indices.astype(np.int64)).to(self.points.device)
        some = Episodes(self.points[rows], self.targets[rows], self.parameters[indices])
        return Batch(some.sequences(), some.targets[..., None], self.num_points)

    def part(self, start: int, stop: int | None = None) -> tuple[Tensor, Tensor]:
        """Points and targets with numbers start … stop - 1 of every task, (N, K, 1) each."""
        return self.points[:, start:stop, None], self.targets[:, start:stop, None]

    def to(self, device: torch.device) -> "Episodes":
        return dataclasses.replace(self, points=self.points.to(device), targets=self.targets.to(device))


def draw_episodes(
    family: TaskFamily,
    num_tasks: int,
    num_points: int,
    rng: np.random.Generator,
    noise_sd: float = 0.0,
    noisy: int | None = None,
) -> Episodes:
    """New tasks of a family with so many points each; Gaussian noise on the targets of the `noisy` first (all when None)."""
    parameters = family.draw(num_tasks, rng)
    points = family.inputs(num_tasks, num_points, rng)
    targets = family.answers(parameters, points)
    if noise_sd:
        targets[:, :noisy] += noise_sd * rng.standard_normal(targets[:, :noisy].shape)
    return Episodes(torch.from_numpy(points.astype(np.float32)), torch.from_numpy(targets.astype(np.float32)), parameters)


@dataclass(frozen=True)
class FamilyData(SupervisedData):
    """Tasks of a family in their parts. The loss is the mean squared error.

    Attributes:
        family: from which training tasks come; trainers draw new ones from it. test_family: from which the test tasks come.
        train, validation: fixed tasks, for trainers that read sequences, and to choose by.
        test: tasks that nothing was trained on; the first max(shots) points of each are its examples, the others the queries.
        shots: numbers of examples K with which learners are scored, ascending.
        noise_sd: of the noise on targets of all parts but the queries' (a learner is asked for the function).
        rule: what a target is, in words. notes: for the data report.
    """

    family: TaskFamily
    test_family: TaskFamily
    train: Episodes
    validation: Episodes
    test: Episodes
    shots: tuple[int, ...]
    noise_sd: float = 0.0
    rule: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.shots == tuple(sorted(set(self.shots)))
        if not self.shots or self.shots[0] < 1:
            raise ConfigError(
                f"task.shots is {list(self.shots)}", "numbers of examples, each at least 1", "give task.shots=[5,10]"
            )
        for name, part in {"train": self.train, "validation": self.validation, "test": self.test}.items():
            if part.num_points <= self.shots[-1]:
                raise DataError(
                    f"tasks of the {name} part have {part.num_points} points, fewer than {self.shots[-1]} shots and one to be asked",
                    f"at least {self.shots[-1] + 1}",
                    "give tasks more points (task.num_points, task.num_queries), or fewer task.shots",
                )
            if not bool(torch.isfinite(part.points).all() and torch.isfinite(part.targets).all()):
                raise DataError(
                    f"points or targets of the {name} part are NaN or infinite", "finite numbers", "correct the family"
                )

    @property
    def signature(self) -> Signature:  # type: ignore[override]
        return Signature(2, 1, ("x", "previous y"), past_targets=1)

    @property
    def monitor(self) -> None:  # type: ignore[override]
        """The test tasks' points are examples too: an error over all of them would mean nothing."""
        return

    @property
    def feedback(self) -> None:  # type: ignore[override]
        """Answers are no inputs: there is no closed loop."""
        return

    @property
    def is_one_task(self) -> bool:
        """Whether all training tasks are the same."""
        return all(low == high for low, high in self.family.ranges)

    def to(self, device: torch.device) -> "FamilyData":
        return dataclasses.replace(
            self, train=self.train.to(device), validation=self.validation.to(device), test=self.test.to(device)
        )

    def draw(self, num_tasks: int, num_points: int, rng: np.random.Generator) -> Episodes:
        """New training tasks."""
        return draw_episodes(self.family, num_tasks, num_points, rng, self.noise_sd)

    def streams(self) -> list[Stream]:
        """None: no state is carried from one task to the next."""
        return []

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean()

    def describe(self) -> dict[str, Any]:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        found: dict[str, Any] = {
            "rule": self.rule,
            "training tasks": _ranges(self.family),
            "test tasks": _ranges(self.test_family),
            "tasks": {name: len(part) for name, part in parts.items()},
            "points per task": {name: part.num_points for name, part in parts.items()},
            "shots": ", ".join(map(str, self.shots)),
            "queries per test task": self.test.num_points - self.shots[-1],
            "noise sd of targets": self.noise_sd,
            "x": f"{float(self.train.points.min()):.4g} to {float(self.train.points.max()):.4g}",
            "fingerprint": self.fingerprint(),
            "notes": list(self.notes),
        }
        return {key: value for key, value in found.items() if value not in ("", [])}

    def fingerprint(self) -> str:
        """First 16 digits of the SHA-256 of all points and targets."""
        return digest(v for part in (self.train, self.validation, self.test) for v in (part.points, part.targets))

    def arrays(self) -> dict[str, np.ndarray]:
        kept: dict[str, np.ndarray] = {}
        for name, part in {"train": self.train, "validation": self.validation, "test": self.test}.items():
            kept[f"{name}_points"] = part.points.numpy(force=True)
            kept[f"{name}_targets"] = part.targets.numpy(force=True)
            kept[f"{name}_parameters"] = part.parameters
        return kept


def _ranges(family: TaskFamily) -> str:
    """amplitude 0.1 to 5, phase 0 to 3.142."""
    return ", ".join(
        f"{name} {low:.4g}" if low == high else f"{name} {low:.4g} to {high:.4g}"
        for name, (low, high) in zip(family.names, family.ranges, strict=True)
    )


class AdaptsByGradient(ABC):
    """Capability: a ReLU perceptron that meets a new task by gradient steps on the task's examples.

    Its step sizes, one per layer and 0 for a layer that stays as it is, belong to what was learned and are kept with the weights.
    """

    @abstractmethod
    def dense_layers(self) -> list[tuple[Tensor, Tensor]]:
        """The layers' weights (O, I) and biases (O,), the parameters themselves, first layer first."""

    @abstractmethod
    def inner_rates(self) -> list[float]:
        """The step size of each layer."""

    @abstractmethod
    def set_inner_rates(self, rates: list[float]) -> None:
        """Choose the step size of each layer."""

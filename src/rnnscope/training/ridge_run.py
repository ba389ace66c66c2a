"""One run of ridge regression: products accumulated piece by piece, one record per candidate, and the best one kept."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from rnnscope.core.errors import ConfigError, TrainingError
from rnnscope.core.interfaces import Checkpoint, Record, SequenceModel, SupervisedData, TrainingOutcome, TrainingRun
from rnnscope.core.loops import free_run
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegative, NonNegativeFloat, Positive, Spec
from rnnscope.core.system import AdaptsToInputs, DynamicalSystem, LinearReadout
from rnnscope.numerics.normal_equations import NormalEquations
from rnnscope.numerics.rls_kernels import learn_samples
from rnnscope.training.free_run_distance import CRITERION, free_run_distance
from rnnscope.training.looking import look_at
from rnnscope.training.ridge_samples import Piece, Samples

LOOKED_AT = 5  # pieces of the training part on which its loss is measured
CRITERIA = {
    "one_step": "validation loss",
    "free_run": "closed-loop error",
    "reconstruction": CRITERION,
}


class RidgeSettings(Spec):
    """The fields of `Ridge`, explained there."""

    strengths: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)] = (1e-8,)
    choose: Literal["one_step", "free_run", "reconstruction"] = "one_step"
    starts: Positive = 20
    free_run_steps: Positive = 500
    method: Literal["ridge", "rls"] = "ridge"
    forgetting: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    washout: NonNegative = 100
    carry_state: bool = True
    state_noise: NonNegativeFloat = 0.0
    input_noise: NonNegativeFloat = 0.0
    block: Positive = 1000


@dataclass(frozen=True)
class Readout:
    """W (Y, P) and b (Y,) at one strength."""

    strength: float
    weight: np.ndarray
    bias: np.ndarray


class RidgeRun(TrainingRun):
    """Ridge regression on one model.

    Args:
        settings: fields of `Ridge`. model, readout, system: the same object as what it is to trainers, to regression, and to loops.
        data: streams or windows. streams: `noise` for state and input noise.
    """

    def __init__(
        self,
        settings: RidgeSettings,
        model: SequenceModel,
        readout: LinearReadout,
        system: DynamicalSystem,
        data: SupervisedData,
        streams: Streams,
    ) -> None:
        self.settings, self.model, self.readout, self.system, self.data = settings, model, readout, system, data
        self.like = next(model.parameters())
        self.samples = Samples(
            readout,
            system,
            data,
            self.like,
            streams.at("noise").torch(self.like.device),
            along=settings.carry_state,
            washout=settings.washout,
            block=settings.block,
            state_noise=settings.state_noise,
            input_noise=settings.input_noise,
        )
        self.total_epochs = len(settings.strengths)
        self.holds = self.total_epochs > 1 and not self.samples.validates
        self.done, self.seconds, self.score, self.chosen, self.number = False, 0.0, math.nan, math.nan, 0
        if self.holds and not self.samples.train:
            raise ConfigError(
                f"trainer.strengths has {len(settings.strengths)} values, and this task has no validation part to choose by",
                "one value, or a validation part",
                "set trainer.strengths=[1e-6], or the size of the task's validation part",
            )

    def __iter__(self) -> Iterator[Record]:
        if self.done:
            return
        started = time.perf_counter()
        if isinstance(self.model, AdaptsToInputs):
            for stream in self.samples.train:
                self.model.adapt_to(stream.inputs)
        sums = None if self.settings.method == "rls" else self._sums()
        readouts = self._learned(self.settings.strengths, self.holds) if sums is None else self._solved(sums[0])
        rows = self._losses(readouts)
        best = min(range(len(rows)), key=lambda i: self._score(rows[i]))
        final, self.score, self.chosen, self.number = readouts[best], self._score(rows[best]), readouts[best].strength, best + 1
        if self.holds:  # now with the samples that were held back
            if sums is None:
                (final,) = self._learned((self.chosen,), False)
            else:
                sums[0].absorb(sums[1])
                final = Readout(self.chosen, *sums[0].solve(self.chosen))
        self._set(final)
        self.done, self.seconds = True, time.perf_counter() - started
        for number, (one, row) in enumerate(zip(readouts, rows, strict=True), 1):
            yield Record(number, {**row, "strength": one.strength, "seconds": self.seconds})

    def _score(self, row: dict[str, float]) -> float:
        """By what candidates are compared; the smaller the better."""
        by = {"free_run": "closed_loop_error", "reconstruction": "free_run"}.get(self.settings.choose, "validation_loss")
        found = row.get(by, row.get("validation_loss", row["train_loss"]))
        return found if math.isfinite(found) else math.inf

    # solving

    def _sums(self) -> tuple[NormalEquations, NormalEquations]:
        """Accumulated products, and apart from them those of the samples held back."""
        sums: list[NormalEquations] = []
        for piece in self.samples.training():
            if not sums:
                sums = [NormalEquations(piece.features.shape[1], piece.targets.shape[1]) for _ in range(2)]
            sums[self.holds and piece.held].add(piece.features, piece.targets)
        if not sums or not sums[0].count:
            raise self._nothing()
        return sums[0], sums[1]

    def _nothing(self) -> ConfigError:
        return ConfigError(
            f"no training sample is left after {self.settings.washout} steps of washout",
            "streams longer than the washout",
            "set trainer.washout=0, or take a longer series",
        )

    def _solved(self, sums: NormalEquations) -> list[Readout]:
        """The readout at every strength at which the equations can be solved."""
        found = []
        for strength in self.settings.strengths:
            try:
                found.append(Readout(strength, *sums.solve(strength)))
            except np.linalg.LinAlgError:
                continue
        if not found:
            raise TrainingError(
                f"ridge regression on {sums.num_features} features and {sums.count} samples is singular at trainer.strengths="
                f"{[*self.settings.strengths]}",
                "a strength at which the equations can be solved in float64",
                f"set trainer.strengths=[{sums.smallest_strength():.0e}], or larger ones",
            )
        return found

    def _learned(self, strengths: tuple[float, ...], hold: bool) -> list[Readout]:
        """The readout at every strength by recursive least squares, sample by sample."""
        learners: list[Recursive] = []
        for piece in self.samples.training():
            if not learners:
                expected = max(1, self.samples.expected())
                shape = piece.targets.shape[1], piece.features.shape[1]
                learners = [Recursive(*shape, strength * expected, self.settings.forgetting) for strength in strengths]
            for learner in learners:
                if not (hold and piece.held):
                    learner.add(piece)
        if not learners or not learners[0].mass:
            raise self._nothing()
        found = [Readout(s, *learner.readout()) for s, learner in zip(strengths, learners, strict=True)]
        if not all(np.isfinite(one.weight).all() for one in found):
            raise TrainingError(
                "recursive least squares left the finite numbers",
                "a strength of 1e-8 or more, and a forgetting factor near 1",
                "set trainer.strengths=[1e-6], or trainer.method=ridge",
            )
        return found

    def _set(self, one: Readout) -> None:
        self.readout.set_readout(torch.from_numpy(one.weight).to(self.like), torch.from_numpy(one.bias).to(self.like))

    # choosing

    def _losses(self, readouts: list[Readout]) -> list[dict[str, float]]:
        """What is recorded of every candidate: training loss (of the first pieces), validation loss, closed-loop error."""
        rows: list[dict[str, float]] = [{} for _ in readouts]
        chooses = self.samples.validates or self.holds
        parts = {"train": islice(self.samples.training(), LOOKED_AT)} | (
            {"validation": self.samples.choosing()} if chooses else {}
        )
        for name, pieces in parts.items():
            lost, count = np.zeros(len(readouts)), 0
            for piece in pieces:
                count += piece.targets.size
                for number, one in enumerate(readouts):
                    lost[number] += np.square(piece.targets - piece.features @ one.weight.T - one.bias).sum()
            for row, total in zip(rows, lost, strict=True):
                row[f"{name}_loss"] = float(total) / max(1, count)
        if self.settings.choose != "one_step" and chooses:
            for row, one in zip(rows, readouts, strict=True):
                self._set(one)
                if self.settings.choose == "free_run":
                    row["closed_loop_error"] = self._closed_loop_error()
                else:
                    row |= free_run_distance(self.system, self.data)
        return rows

    @torch.no_grad()
    def _closed_loop_error(self) -> float:
        """Mean over starts and steps of min(1, RMSE of the input fed back, in sds): 1 where a forecast knows nothing."""
        assert self.data.feedback is not None
        feedback, errors = self.data.feedback.like(self.like), []
        for stream in self.samples.choosing_streams():
            length = len(stream.inputs)
            first = length - (stream.counted or length)
            steps = min(self.settings.free_run_steps, max(1, (length - first) // 2))
            spread = np.linspace(first, max(first, length - 1 - steps), min(self.settings.starts, length - first))
            positions = sorted({int(p) for p in spread})
            states = self.samples.states_at(stream, positions)
            rows = torch.tensor(positions)[:, None] + torch.arange(steps + 1)
            true = self.data.encode(stream.inputs).to(self.like)[rows.clamp(max=length - 1)]
            exogenous = true[:, 1:] @ feedback.from_exogenous
            outputs = free_run(self.system, states, true[:, 0], feedback, exogenous[:, :-1])
            fed, sd = true[:, 0], true.flatten(0, 1).std(0).clamp(min=1e-12)
            for t in range(steps):
                fed = feedback(fed, outputs[:, t], exogenous[:, t])
                error = ((fed - true[:, t + 1]) / sd).square().mean(-1).sqrt()
                errors.append(error.nan_to_num(1.0).clamp(max=1.0).mean())
        return float(torch.stack(errors).mean())

    # ending, saving and resuming

    def finish(self) -> TrainingOutcome:
        self.model.eval()
        part = "validation part" if self.samples.validates else "last tenth of the training part"
        if self.total_epochs == 1:
            criterion = "validation loss" if self.samples.validates else "training loss"
        else:
            criterion = CRITERIA[self.settings.choose]
        where = "" if self.settings.choose == "reconstruction" else f" on the {part}"
        how = f", by the {criterion}{where}" if self.total_epochs > 1 else ""
        reason = f"solved by {'recursive least squares' if self.settings.method == 'rls' else 'ridge regression'}, strength {self.chosen:g}{how}"
        score = self.score
        if self.samples.validates and self.settings.choose == "one_step" and not self.settings.carry_state:
            # by the task's own loss, so that networks trained in other ways on the same windows or sequences can be compared
            assert self.data.validation is not None
            score = look_at(self.model, self.data, self.data.validation, "validation", 1024)["validation_loss"]
        return TrainingOutcome(reason, self.number, score, criterion, self.seconds, unit="candidate")

    def checkpoint(self) -> Checkpoint:
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        return Checkpoint(
            tensors,
            {"done": self.done, "seconds": self.seconds, "score": self.score, "chosen": self.chosen, "number": self.number},
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        values = checkpoint.values
        if values["done"]:  # else it begins again: nothing is lost but seconds
            self.model.load_state_dict(checkpoint.tensors)
            self.done, self.seconds = True, float(values["seconds"])
            self.score, self.chosen = float(values["score"]), float(values["chosen"])
            self.number = int(values["number"])


class Recursive:
    """Recursive least squares with forgetting, intercept not penalised.

    Args:
        num_targets, num_features: Y, P. penalty: of |W|² in all, > 0. forgetting: per sample.
    """

    def __init__(self, num_targets: int, num_features: int, penalty: float, forgetting: float) -> None:
        if not penalty > 0:
            raise ConfigError(
                "trainer.method is rls with a strength of 0", "a strength above 0", "set trainer.strengths=[1e-6]"
            )
        self._inverse, self._weight = np.eye(num_features) / penalty, np.zeros((num_targets, num_features))
        self._center, self._offset = np.zeros(num_features), np.zeros(num_targets)
        self._forgetting, self.mass = forgetting, 0.0

    def add(self, piece: Piece) -> None:
        """Take the samples of a piece in, in order."""
        arrays = (self._inverse, self._weight, self._center, self._offset)
        self.mass, _ = learn_samples(*arrays, self.mass, piece.features, piece.targets, self._forgetting)

    def readout(self) -> tuple[np.ndarray, np.ndarray]:
        """W and b after the samples so far."""
        return self._weight.copy(), self._offset - self._weight @ self._center

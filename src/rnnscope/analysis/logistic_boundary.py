"""What a logistic regression found: its boundary against the true one, coefficients with intervals, and whether these mean anything."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit
from scipy.stats import norm

from rnnscope.analysis.figures_logistic import logistic_figures
from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import AnalysisSpec, Findings, SequenceModel, Trained, TrainingData
from rnnscope.core.labelled import LabelledData, LabelledSet
from rnnscope.core.linear_logits import LinearLogits
from rnnscope.core.random import Streams
from rnnscope.core.spec import Positive
from rnnscope.core.tables import Column, Figure, Row, Table
from rnnscope.numerics.logistic import LogisticFit, fit_logistic, log_loss, separable, with_constant

TEN_TO_NINETY = 2 * math.log(9)  # log odds between probabilities of 10 % and 90 %
DIP = 0.02  # of accuracy, below which a fall is not worth a word
FAR = 1e-3  # nats of mean loss above the optimum: training stopped before it


class LogisticBoundary(AnalysisSpec):
    """The boundary of a logistic regression of two classes, on the original scale of the features.

    Fields:
        level: of the intervals, in (0.5, 1).
        bins: of the calibration curve, with (nearly) as many test samples each.
    """

    level: float = 0.95
    bins: Positive = 8

    def model_post_init(self, context: object) -> None:
        if not 0.5 < self.level < 1:
            raise ConfigError(f"analysis.level is {self.level:g}", "above 0.5 and below 1", "set level=0.95")

    def obstacle(self, model: SequenceModel, data: TrainingData) -> str:
        if not isinstance(model, LinearLogits):
            return "the model is no logistic regression"
        if not isinstance(data, LabelledData) or len(data.class_names) != 2:
            return "the task does not have two classes"
        return ""

    def run(self, trained: Trained, data: TrainingData, streams: Streams) -> Findings:
        assert isinstance(data, LabelledData)
        assert isinstance(trained.model, LinearLogits)
        train, test = samples(data.train, data), samples(data.tests["test"], data)
        own = raw_coefficients(trained.model, data)
        there_is_none = separable(*train)
        optimum = None if there_is_none else fit_logistic(*train)
        boundary = compare(own, data, train[0]) if data.boundary else None
        own_loss = log_loss(with_constant(train[0]), train[1], own)
        statements = [
            separation_statement(there_is_none, own_loss, optimum),
            *([boundary_statement(boundary)] if boundary is not None else []),
            *sharpness_statements(own, optimum, data, trained),
        ]
        arrays = {
            "coefficients": own,
            "probabilities": expit(with_constant(test[0]) @ own),
            "labels": test[1].astype(np.int64),
            "features": test[0],
            "boundary": np.array(data.boundary),
            "optimum": optimum.coefficients if optimum is not None else np.zeros(0),
            "width": np.array([data.boundary_width]),
            **history_arrays(trained),
        }
        arrays["calibration"] = calibration(arrays["probabilities"], test[1], self.bins)
        metrics = {
            "separable": there_is_none,
            "train_loss": own_loss,
            "optimal_loss": optimum.loss if optimum is not None else 0.0,
            "boundary": None if boundary is None else vars(boundary),
            "brier": float(((arrays["probabilities"] - test[1]) ** 2).mean()),
        }
        table = coefficient_table(own, optimum, data, self.level)
        return Findings(tuple(statements), metrics, arrays, (table,), {"data": data, "name": trained.name})

    def figures(self, findings: Findings) -> Iterator[Figure]:
        yield from logistic_figures(findings)


def samples(part: LabelledSet, data: LabelledData) -> tuple[Float[np.ndarray, "N X"], Bool[np.ndarray, " N"]]:
    """The last real inputs of each sequence on the original scale, and whether it is of the second class."""
    inputs = part.inputs.numpy(force=True).astype(np.float64)
    last = np.full(len(part), part.num_steps) if part.lengths is None else part.lengths.numpy(force=True)
    rows = inputs[np.arange(len(part)), last - 1]
    if data.mean is not None and data.sd is not None:
        rows = rows * data.sd + data.mean
    return rows, part.labels.numpy(force=True) == 1


def raw_coefficients(model: LinearLogits, data: LabelledData) -> Float[np.ndarray, " P"]:
    """(b, w) of the log odds of the second class, for features on their original scale."""
    weight, bias = (t.numpy(force=True).astype(np.float64)[0] for t in model.coefficients())
    if data.mean is None or data.sd is None:
        return np.array([bias, *weight])
    weight = weight / data.sd
    return np.array([bias - weight @ data.mean, *weight])


@dataclass(frozen=True)
class Boundary:
    """A fitted boundary beside the true one.

    Attributes:
        angle: between their normals, degrees. offset: how far the fitted one lies beyond the true one, along its normal from the
            middle of the training features, in their units. disagreement: share of the box of the training features on which
            they differ.
    """

    angle: float
    offset: float
    disagreement: float


def compare(own: Float[np.ndarray, " P"], data: LabelledData, rows: Float[np.ndarray, "N X"]) -> Boundary:
    """The fitted boundary against the task's rule; the area by half a million points of the box, evenly spread."""
    normal, level = np.array(data.boundary[:-1]), data.boundary[-1]
    size = float(np.linalg.norm(own[1:]))
    cosine = float(normal @ own[1:]) / (float(np.linalg.norm(normal)) * size) if size else 0.0
    unit = normal / np.linalg.norm(normal)
    middle = rows.mean(0)
    along = float(own[1:] @ unit)
    true_at = (level - float(normal @ middle)) / float(np.linalg.norm(normal))
    own_at = -(own[0] + float(own[1:] @ middle)) / along if along else math.inf
    points = np.random.default_rng(0).uniform(rows.min(0), rows.max(0), (500_000, rows.shape[1]))
    differs = (points @ normal > level) != (own[0] + points @ own[1:] > 0)
    return Boundary(math.degrees(math.acos(np.clip(cosine, -1, 1))), float(own_at - true_at), float(differs.mean()))


def separation_statement(there_is_none: bool, loss: float, optimum: LogisticFit | None) -> str:
    """Do the coefficients mean anything?"""
    if there_is_none:
        return (
            "Separation: a line parts the classes of the training part without a mistake. Then the maximum-likelihood estimate does "
            "not exist: the larger the coefficients, the better the fit, without end. Their sizes show where training stopped "
            "and have no intervals; only the direction and place of the boundary mean something"
            f" (training log-loss {loss:.3g}, which could be brought as near to 0 as one likes)."
        )
    assert optimum is not None
    text = f"The classes are not separable, so the optimum is unique: training log-loss {optimum.loss:.4f}"
    if loss > optimum.loss + FAR:
        return f"{text}. Training stopped at {loss:.4f}, before it: the trained coefficients are no estimates; those of the optimum are."
    return f"{text}, reached by training to {max(0.0, loss - optimum.loss):.1g}."


def boundary_statement(boundary: Boundary) -> str:
    """How far the boundary is from the true one."""
    place = (
        f"{abs(boundary.offset):.3g} {'beyond' if boundary.offset > 0 else 'short of'} it"
        if np.isfinite(boundary.offset)
        else "nowhere"
    )
    return (
        f"The boundary is turned by {boundary.angle:.1f}° against the true one and lies {place}; the two differ on "
        f"{100 * boundary.disagreement:.1f} % of the features' range."
    )


def sharpness_statements(
    own: Float[np.ndarray, " P"], optimum: LogisticFit | None, data: LabelledData, trained: Trained
) -> list[str]:
    """Is emergence sharp, or only the metric?"""
    found = []
    if optimum is not None:
        width = TEN_TO_NINETY / float(np.linalg.norm(optimum.coefficients[1:]))
        text = (
            f"Across the boundary the probability of '{data.class_names[1]}' rises from 10 % to 90 % over {width:.3g} units; the "
            "decision jumps from 0 to 1 at one point. The jump is made by the metric, not by the data"
        )
        if data.boundary and data.boundary_width:
            true = TEN_TO_NINETY * data.boundary_width / float(np.linalg.norm(data.boundary[:-1]))
            text += f" (true width {true:.3g})"
        found.append(f"{text}.")
    else:
        found.append("No transition between the classes can be resolved in these data: here the label itself jumps.")
    history = history_arrays(trained)
    if "gain_loss" in history and len(history["gain_loss"]) >= 50:
        fastest = {key: fastest_tenth(history[f"gain_{key}"]) for key in ("loss", "accuracy")}
        sharper = fastest["accuracy"] > 1.5 * fastest["loss"]
        dips = history["accuracy_by_epoch"].min() < history["accuracy_by_epoch"][0] - DIP
        found.append(
            f"During training, the fastest tenth (on a logarithmic scale of epochs) brings {100 * fastest['accuracy']:.0f} % of the "
            f"whole gain in accuracy and {100 * fastest['loss']:.0f} % of that in log-loss (validation part): accuracy "
            + ("changes more abruptly than the log-loss" if sharper else "is here no sharper than the log-loss")
            + (", and first falls below where it began." if dips else ".")
        )
    return found


def history_arrays(trained: Trained) -> dict[str, np.ndarray]:
    """Gains in accuracy and log-loss on the validation part by epoch, from 0 at the first to 1 at the best."""
    columns = trained.history.columns
    if not {"validation_loss", "validation_accuracy", "epoch"} <= {*columns}:
        return {}
    loss, accuracy = columns["validation_loss"], columns["validation_accuracy"]
    found = {"epochs": columns["epoch"].astype(float), "loss_by_epoch": loss, "accuracy_by_epoch": accuracy}
    if np.ptp(loss) > 0 and np.ptp(accuracy) > 0 and np.isfinite(loss).all():
        found["gain_loss"] = (loss[0] - loss) / max(loss[0] - loss.min(), 1e-12)
        found["gain_accuracy"] = (accuracy - accuracy[0]) / max(accuracy.max() - accuracy[0], 1e-12)
    return found


def fastest_tenth(gain: Float[np.ndarray, " E"]) -> float:
    """The largest gain within any tenth of the epochs, on a logarithmic scale."""
    epochs = np.log(np.arange(1, len(gain) + 1))
    even = np.interp(np.linspace(0, epochs[-1], 201), epochs, gain)
    return float((even[20:] - even[:-20]).max())


def calibration(probabilities: Float[np.ndarray, " N"], labels: Bool[np.ndarray, " N"], bins: int) -> Float[np.ndarray, "B 4"]:
    """Mean probability, share observed and its Wilson interval in bins of (nearly) as many samples each."""
    rows = []
    z = float(norm.ppf(0.975))
    for piece in np.array_split(np.argsort(probabilities, kind="stable"), min(bins, len(labels))):
        count, share = len(piece), float(labels[piece].mean())
        middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
        half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
        rows.append((float(probabilities[piece].mean()), share, max(0.0, middle - half), min(1.0, middle + half)))
    return np.array(rows)


def coefficient_table(own: Float[np.ndarray, " P"], optimum: LogisticFit | None, data: LabelledData, level: float) -> Table:
    """Trained coefficients, and those of the optimum with Wald intervals where it exists."""
    names = ("constant", *data.input_names)
    true = None
    if data.boundary and data.boundary_width:
        true = np.array([-data.boundary[-1], *data.boundary[:-1]]) / data.boundary_width
    z = float(norm.ppf(0.5 + level / 2))
    rows = []
    for index, name in enumerate(names):
        values: dict[str, float | str] = {"trained": float(own[index])}
        if optimum is not None:
            error = z * math.sqrt(max(0.0, optimum.covariance[index, index]))
            centre = float(optimum.coefficients[index])
            values |= {"optimum": centre, "low": centre - error, "high": centre + error}
        if true is not None:
            values["true"] = float(true[index])
        rows.append(Row(name, "", values))
    percent = f"{100 * level:g} %"
    heads = [("trained", "trained"), ("optimum", "optimum"), ("low", f"{percent} from"), ("high", "to"), ("true", "true")]
    columns = tuple(Column(key, label) for key, label in heads if key in rows[0].values)
    note = "Change of the log odds per unit of the feature, on its original scale."
    if optimum is None:
        note += " No intervals: the maximum-likelihood estimate does not exist (separation)."
    return Table("Coefficients", columns, tuple(rows), note)

"""Scores per step from any model, alarms from scores, and how good both are."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.interfaces import ModelResult, Scores, SequenceModel
from rnnscope.core.marked_series import MarkedData, MarkedSeries, ScoresSteps
from rnnscope.evaluation.forecasters import NetworkForecaster
from rnnscope.numerics.anomaly_scores import typical_period
from rnnscope.numerics.detection_metrics import alarm_scores, ranges_of, ranking_scores
from rnnscope.numerics.nulls import Method, Side, fit_null
from rnnscope.numerics.thresholds import Alarms, Control, raise_alarms

TINY = 1e-300
MOST_BUFFER = 300
ONE_LINERS = ("deviation", "difference")


@dataclass(frozen=True)
class Decision:
    """How scores become alarms: see the fields of `Detection`."""

    method: Method | None
    control: Control
    rate: float


@dataclass(frozen=True)
class Judged:
    """What a detector says of a series.

    Attributes:
        scores: (T,), larger is more unusual; where values are unusual on both sides, -log10 of their p-values. raw: (T, C), as the
            detector gave them. alarms: of the first column; with several columns, `flags` holds the steps where any alarms.
        p_values: (T,), of all columns together (Bonferroni). flags: (T,) bool. stated_step, stated_set: summed over columns.
        lower, upper: bounds on the scores, or on the values where these are unusual on both sides.
        signed: whether they are.
    """

    scores: Float[np.ndarray, " T"]
    raw: Float[np.ndarray, "T C"]
    p_values: Float[np.ndarray, " T"]
    flags: np.ndarray
    lower: float
    upper: float
    stated_step: float
    stated_set: float
    count: int
    chance: float
    signed: bool
    method: Method

    @property
    def found(self) -> int:
        """Number of alarms."""
        return int(self.flags.sum())

    @property
    def expected(self) -> float:
        """Alarms to be expected where nothing is wrong."""
        return self.count * self.stated_step


def step_scores(model: SequenceModel, data: MarkedData) -> tuple[Float[np.ndarray, "T C"], bool, Method | None]:
    """What a model says of every step, whether on both sides, and the threshold that belongs to it.

    A detector answers itself. A network with one recurrent system is asked for its forecast of each step from all steps before,
    its state carried along; the score is the error's size over its root mean square on the fitting part.
    """
    if isinstance(model, ScoresSteps):
        return model.score_steps(data.series.values), model.signed, model.method  # type: ignore[return-value]
    return forecast_errors(model, data), False, None


def forecast_errors(model: SequenceModel, data: MarkedData) -> Float[np.ndarray, "T 1"]:
    """|x_t - x̂_t| of a network, each column over its root mean square on the fitting part; the root mean square over columns."""
    if len(model.systems()) != 1:
        raise ConfigError(
            f"a model with {len(model.systems())} recurrent systems and no scores of its own",
            "a detector, or a network that can forecast (elman, gru, lstm)",
            "choose another model",
        )
    steps = np.arange(1, len(data.series))
    errors = data.series.values[1:] - NetworkForecaster(model, data.forecast).one_step(0, steps)[:, 0]
    scale = np.sqrt((errors[data.series.fitting] ** 2).mean(0))
    standard = np.sqrt(((errors / np.maximum(scale, TINY)) ** 2).mean(1))
    return np.concatenate([[np.nan], standard])[:, None]


def judge(raw: Float[np.ndarray, "T C"], series: MarkedSeries, decision: Decision, *, signed: bool = False) -> Judged:
    """Alarms from scores: the threshold is set by the calibration steps, and steps after the training part are judged.

    Where no method is given it is `pot` if there is a training part. Without one, ranks and tails of the very steps that are judged cut
    off the same number of them whether anything is wrong or not; `mad` does not.
    """
    method = decision.method or ("pot" if series.train_until else "mad")
    side: Side = "both" if signed else "upper"
    columns = raw.shape[1]
    each: list[Alarms] = []
    for column in raw.T:
        try:
            each.append(
                raise_alarms(
                    column,
                    method,
                    calibration=series.calibration,
                    judged=series.judged,
                    side=side,
                    control=decision.control,
                    rate=decision.rate / columns,
                )
            )
        except ValueError as error:
            raise DataError(
                f"no threshold by {method}: {error}",
                "scores that vary",
                "choose another method, or more calibration steps",
            ) from None
    p = np.minimum(1.0, columns * np.min([a.p_values for a in each], axis=0))
    first = each[0]
    scores = -np.log10(np.maximum(p, TINY)) if signed else raw.max(1)
    return Judged(
        scores,
        raw,
        p,
        np.any([a.alarms for a in each], axis=0),
        first.lower,
        first.upper,
        sum(a.stated_step for a in each),
        float(1 - np.prod([1 - a.stated_set for a in each])),
        first.count,
        min(1.0, columns * min(a.chance for a in each)),
        signed,
        method,
    )


def _smallest(p_values: Float[np.ndarray, " T"]) -> float:
    """The least p-value; 1 where there is none."""
    known = p_values[np.isfinite(p_values)]
    return float(known.min()) if len(known) else 1.0


def result_of(judged: Judged, data: MarkedData, buffer: int | None) -> ModelResult:
    """All scores of one detector, over the steps that may raise alarms, and the arrays for figures."""
    series = data.series
    part = series.judged
    found: Scores = {
        "alarms": float(judged.found),
        "judged": float(judged.count),
        "expected": judged.expected,
        "smallest_p": _smallest(judged.p_values[part]),
        "chance": judged.chance,
        "stated_step": judged.stated_step,
        "stated_set": judged.stated_set,
    }
    found |= {k: v for k, v in (("lower", judged.lower), ("upper", judged.upper)) if np.isfinite(v)}
    if judged.signed:
        values = judged.raw[series.calibration, 0]
        null = fit_null(values, judged.method)
        found["centre"] = float(getattr(null, "centre", np.median(values)))
        found["scale"] = float(getattr(null, "scale", values.std()))
    if series.marks is not None and 0 < series.marks[part].sum() < len(series.marks[part]):
        marks, ranked = series.marks[part], rankable(judged.scores[part])
        found |= alarm_scores(judged.flags[part], marks)
        found |= ranking_scores(ranked, marks, vus_buffer(data, buffer))
        if series.ordered:
            found |= alarms_by_place(judged, marks, part, vus_buffer(data, buffer))
    if series.ordered and series.train_until and not judged.signed:
        found["independent"] = independent_count(judged.scores[series.calibration])
    arrays = {"score": judged.scores, "alarms": judged.flags, "p_values": judged.p_values}
    return ModelResult({"test": found}, arrays)


def alarms_by_place(judged: Judged, marks: np.ndarray, part: slice, reach: int) -> Scores:
    """Alarms at marked steps, at unmarked ones within `reach` steps of these, and elsewhere, where none was expected but by chance."""
    flags = judged.flags[part]
    near = np.zeros(len(marks), bool)
    for a, b in ranges_of(marks):
        near[max(0, a - reach) : b + reach] = True
    away = int((~near & np.isfinite(judged.p_values[part])).sum())
    return {
        "alarms_marked": float((flags & marks).sum()),
        "alarms_near": float((flags & near & ~marks).sum()),
        "alarms_away": float((flags & ~near).sum()),
        "expected_away": away * judged.stated_step,
    }


def independent_count(scores: Float[np.ndarray, " N"]) -> float:
    """As how many independent scores these neighbouring ones count: N / (1 + 2 Σ ρ_k), up to the first ρ_k below 0."""
    known = scores[np.isfinite(scores)]
    centred = known - known.mean()
    power = np.abs(np.fft.rfft(centred, 2 * len(known))) ** 2
    sums = np.fft.irfft(power)[: len(known)]
    if not sums[0] > 0:
        return float(len(known))
    below = np.flatnonzero(sums < 0)
    kept = sums[1 : below[0] if len(below) else None] / sums[0]
    return float(len(known) / (1 + 2 * kept.sum()))


def rankable(scores: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Scores with those of steps that have none put at the lowest."""
    known = np.isfinite(scores)
    return np.where(known, scores, scores[known].min() if known.any() else 0.0)


def vus_buffer(data: MarkedData, buffer: int | None) -> int:
    """The longest buffer of `vus_pr`: as given, else the period of the series, at most 300 steps."""
    if buffer is not None:
        return buffer
    return min(MOST_BUFFER, data.season or typical_period(data.series.values[data.series.fitting][:, 0]))


def one_line_scores(name: str, series: MarkedSeries) -> Float[np.ndarray, "T 1"]:
    """Detectors of one line each, which a benchmark may already be solved by (Wu & Keogh 2021)."""
    values, fitted = series.values, series.values[series.fitting]
    if name == "deviation":
        middle = np.median(fitted, 0)
        return (np.abs(values - middle) / np.maximum(fitted.std(0), TINY)).max(1, keepdims=True)
    steps = np.abs(np.diff(values, axis=0)) / np.maximum(np.diff(fitted, axis=0).std(0), TINY)
    return np.concatenate([[[np.nan]], steps.max(1, keepdims=True)])


def shift_p_value(scores: np.ndarray, marks: np.ndarray, shifts: int, rng: np.random.Generator) -> float:
    """Share of random circular shifts of the marks against the scores that give as high an average precision, the true place included."""
    from sklearn.metrics import average_precision_score

    own = average_precision_score(marks, scores)
    drawn = rng.integers(1, len(marks), shifts)
    return float(1 + sum(average_precision_score(np.roll(marks, s), scores) >= own for s in drawn)) / (1 + shifts)


def noise_study(judged: Judged, count: int, decision: Decision, sets: int, rng: np.random.Generator) -> dict[str, float]:
    """The rates of false alarms that a threshold really has on sets of pure normal noise, of the size of the judged one."""
    steps, some = 0, 0
    for _ in range(sets):
        found = raise_alarms(rng.standard_normal(count), judged.method, control=decision.control, rate=decision.rate).found
        steps, some = steps + found, some + (found > 0)
    return {"noise_step": steps / (sets * count), "noise_set": some / sets}

"""Analysis: left alone, does the network generate the attractor that it was trained on?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from rnnscope.analysis.figures_reconstruction import attractor_figure, distribution_figure, validity_figure
from rnnscope.core.driven import in_double
from rnnscope.core.forecast import ForecastData
from rnnscope.core.free_runs import Player
from rnnscope.core.interfaces import AnalysisSpec, Findings, Trained, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.series import Series
from rnnscope.core.spec import NonNegative, NonNegativeFloat, Positive, PositiveFloat
from rnnscope.core.system import SequenceModel, only_system
from rnnscope.core.tables import Column, Figure, Row, Table
from rnnscope.numerics.delays import delay_lag, delayed
from rnnscope.numerics.reconstruction import ReconstructionScores, Score, reconstruction_scores
from rnnscope.numerics.reconstruction_measures import after_divergence

FEWEST = 200  # points of a recording that can be compared with anything
STILL = 1e-6  # of the recording's standard deviation: less is rest


class Reconstruction(AnalysisSpec):
    """Long free runs against the recorded series: where they go, how they move, how long forecasts stay valid.

    The network reads recorded values up to a start, then its own forecasts, in physical units; it is compared with the recording
    without its observation noise, where a task knows it. A single observed variable is compared
    in three delays, one at which its autocorrelation has fallen to 1/e apart. Known covariates drive a run, which then lasts as
    long as they are known.

    Fields:
        num_runs: free runs, from starts spread over the series. num_steps: of each, after burn_in steps that do not count.
        num_starts: of forecasts over the test part. lead_steps: of each, at most half of the test part.
        num_bins: cells per variable; None: up to 30, fewer where the recording does not fill them.
        smoothing: standard deviation by which spectra are smoothed, in bins of the whole recording's, >= 0. The more, the smaller D_H
            and its floor: compare only scores of one smoothing and length.
        lyapunov_time: 1 / largest exponent of the true system, in the unit of the series' time (steps where it has none), where known.
    """

    num_runs: Positive = 4
    num_steps: Positive = 20_000
    burn_in: NonNegative = 1000
    num_starts: Positive = 200
    lead_steps: Positive = 1000
    num_bins: Positive | None = None
    smoothing: NonNegativeFloat = 20.0
    lyapunov_time: PositiveFloat | None = None

    def obstacle(self, model: SequenceModel, data: TrainingData) -> str:
        if not isinstance(data, ForecastData):
            return "the task has no series whose attractor could be compared"
        if len(model.systems()) != 1:
            return f"the model has {len(model.systems())} recurrent systems, and a free run needs exactly one"
        if data.parts.leaky_seed is not None:
            return "the leaky split has no test part to start forecasts in"
        if data.has_gaps:
            return "values are missing, and spectra need all of them"
        recorded = data.series[data.parts.tests["test"][0].series].values
        if len(recorded) < FEWEST:
            return f"the recording has {len(recorded)} points, too few to know an attractor by (at least {FEWEST})"
        return "a recorded variable is constant" if (np.ptp(recorded, 0) == 0).any() else ""

    @torch.no_grad()
    def run(self, trained: Trained, data: TrainingData, streams: Streams) -> Findings:
        assert isinstance(data, ForecastData)
        player = Player(in_double(only_system(trained.model)).eval(), data.representation, data.window, data.protocol)
        number = data.parts.tests["test"][0].series
        recorded = _truth(data.series[number])
        generated = self._generate(player, data, number)
        lag = delay_lag(recorded[:, 0], generated.shape[1]) if recorded.shape[1] == 1 else 0
        found = reconstruction_scores(
            delayed(recorded[None], lag),
            delayed(generated, lag),
            forecasts=self._forecasts(player, data),
            num_bins=self.num_bins,
            smoothing=self.smoothing,
            dt=data.sampling_interval,
            lyapunov_time=self.lyapunov_time,
            rng=streams.numpy(),
        )
        generated = np.where(after_divergence(generated, recorded[None])[..., None], np.nan, generated)
        told = {"found": found, "recorded": recorded, "generated": generated, "names": data.series[number].names}
        told |= {"lag": lag, "interval": data.sampling_interval, "unit": data.unit}
        statements = list(_statements(found, recorded, generated, _trained_share(data, number), lag))
        if data.series[number].clean is not None:
            statements.append("The recording is taken without its observation noise, which is no part of the system.")
        assert found.prediction_time is not None
        errors = np.minimum(found.prediction_time.errors, 1e6).astype(np.float32)
        arrays = {"generated": generated.astype(np.float32), "errors": errors, "valid_steps": found.prediction_time.steps}
        return Findings(tuple(statements), _metrics(found, lag), arrays, (_table(found),), told)

    def figures(self, findings: Findings) -> Iterator[Figure]:
        told = findings.results
        yield attractor_figure(told["recorded"], told["generated"], told["names"], told["lag"])
        yield distribution_figure(told["recorded"], told["generated"], told["names"], told["interval"])
        yield validity_figure(told["found"].prediction_time, told["interval"])

    def _generate(self, player: Player, data: ForecastData, number: int) -> Float[np.ndarray, "B T D"]:
        """The runs, less their burn-in."""
        series = data.series[number]
        size, first = len(series), min(data.window + data.representation.first, len(series) // 2)
        if data.representation.feedback().num_exogenous:
            return player.play(series, np.array([first]), size - first)
        origins = np.linspace(first, size, self.num_runs).astype(int)
        return player.play(series, origins, self.burn_in + max(self.num_steps, 16))[:, self.burn_in :]

    def _forecasts(self, player: Player, data: ForecastData) -> tuple[np.ndarray, np.ndarray]:
        """Truth and forecast over the test part from many starts."""
        spans = data.parts.tests["test"]
        steps = min(self.lead_steps, max(1, max(len(s) for s in spans) // 2))
        truth, forecast = [], []
        for span in spans:
            last, earliest = span.stop - steps, max(span.start, data.representation.first + 1)
            if last < earliest:
                continue
            origins = np.unique(np.linspace(earliest, last, -(-self.num_starts // len(spans))).astype(int))
            series = data.series[span.series]
            truth.append(_truth(series)[origins[:, None] + np.arange(steps)])
            forecast.append(player.play(series, origins, steps))
        return np.concatenate(truth), np.concatenate(forecast)


def _truth(series: Series) -> Float[np.ndarray, "T D"]:
    """The values without observation noise where they are known."""
    return series.values if series.clean is None else series.clean


def _trained_share(data: ForecastData, number: int) -> float:
    """Share of a series on which the network was trained."""
    return sum(len(s) for s in data.parts.train if s.series == number) / len(data.series[number])


def _grade(score: Score, words: tuple[str, str, str, str]) -> str:
    """same, nearly, partly or not the same, by where the score stands between its floor and a failure."""
    if score.at_floor:
        return words[0]
    if np.isnan(score.excess):
        return words[2]
    return words[1] if score.excess < 0.1 else words[2] if score.excess < 0.5 else words[3]


def _statements(
    found: ReconstructionScores, recorded: np.ndarray, generated: np.ndarray, trained: float, lag: int
) -> Iterator[str]:
    count, length = generated.shape[:2]
    if found.diverged_at is not None:
        yield (
            f"Left alone, the network leaves the finite numbers, first after {found.diverged_at} steps; "
            f"{100 * found.diverged_share:.0f} % of the generated points are lost to that and count as wrong."
        )
    still = int((generated[:, -(length // 4) :].std(1) < STILL * recorded.std(0)).all(1).sum())
    if still:
        yield f"{still} of {count} free run{'s' if count > 1 else ''} come{'s' if count == 1 else ''} to rest."
    runs = f"for {length} steps" if count == 1 else f"in {count} runs of {length} steps"
    where, how = found.d_stsp, found.d_h
    region = _grade(
        where, ("the same region as", "nearly the same region as", "partly the same region as", "another region than")
    )
    yield (
        f"Left alone {runs}, the network visits {region} the recording of {len(recorded)} points: {_beside('D_stsp', where, found)}; "
        f"with shuffled phases the recording scores {where.failures['phases shuffled']:.3g}, a constant {where.failures['constant']:.3g}."
    )
    rhythm = _grade(how, ("the same rhythm", "nearly the same rhythm", "a similar rhythm", "another rhythm"))
    yield f"It moves with {rhythm}: {_beside('D_H', how, found)}; shuffled in time the recording scores {how.failures['shuffled in time']:.3g}."
    valid = found.prediction_time
    assert valid is not None
    yield f"From starts in the test part, forecasts are {valid.summary}; valid: normalised error at most {valid.threshold:g}."
    space = f"three delays of {lag} steps" if lag else "the observed variables"
    cells = f"{found.num_bins} cells per variable" if found.num_bins else "Gaussian mixtures"
    yield (
        f"D_stsp compares {space} by {cells}; {100 * trained:.0f} % of the recording were trained on. It is blind to time and D_H "
        "to phases, so only both together show the same motion."
    )


def _beside(name: str, score: Score, found: ReconstructionScores) -> str:
    return (
        f"{name} {score.matched:.3g} on {found.num_matched} points, where two halves of the recording differ by "
        f"{score.floor:.3g} ± {score.floor_sd:.2g} ({score.value:.3g} on all points)"
    )


def _metrics(found: ReconstructionScores, lag: int) -> dict[str, Any]:
    valid = found.prediction_time
    assert valid is not None
    metrics: dict[str, Any] = {
        "valid_prediction_time": valid.lyapunov_times,
        "valid_steps": {"median": valid.median, "lower": valid.lower, "upper": valid.upper, "never_failed": valid.share_never},
        "valid_steps_by_chance": valid.failures,
        "num_points": {"recorded": found.num_true, "generated": found.num_generated, "matched": found.num_matched},
        "num_bins": found.num_bins,
        "delay": lag or None,
        "diverged_at": found.diverged_at,
    }
    for name, score in (("d_stsp", found.d_stsp), ("d_h", found.d_h)):
        parts = {"value": score.value, "matched": score.matched, "floor": score.floor, "floor_sd": score.floor_sd}
        metrics[name] = parts | score.failures
    return metrics


def _table(found: ReconstructionScores) -> Table:
    """All scores beside their floors and failures."""
    columns = (
        Column("d_stsp", "D_stsp", "low"),
        Column("d_h", "D_H", "low"),
        Column("d_stsp_matched", f"D_stsp, {found.num_matched} points", "low"),
        Column("d_h_matched", f"D_H, {found.num_matched} points", "low"),
    )
    where, how = found.d_stsp, found.d_h
    network = {"d_stsp": where.value, "d_h": how.value, "d_stsp_matched": where.matched, "d_h_matched": how.matched}
    halves = {"d_stsp": None, "d_h": None, "d_stsp_matched": where.floor, "d_h_matched": how.floor}
    wrong = [
        Row(name, "ceiling", {"d_stsp": where.failures[name], "d_h": how.failures[name]} | dict.fromkeys(list(halves)[2:]))
        for name in where.failures
    ]
    rows = (
        Row("the network", "model", network),
        Row("two halves of the recording", "ceiling", halves, {"d_stsp_matched": where.floor_sd, "d_h_matched": how.floor_sd}),
        *wrong,
    )
    note = (
        "The last four rows are the recording made wrong in a known way. Scores shrink as points grow: compare within a column."
    )
    return Table("Is it the same attractor?", columns, rows, note)

"""Analysis: do small differences die out, stay or grow? The Lyapunov spectrum of the trained network."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rnnscope.analysis.figures_lyapunov import convergence_figure, spectrum_figure
from rnnscope.analysis.view import HeldInput, View, view
from rnnscope.analysis.wording import capitalised, with_error
from rnnscope.core.errors import ConfigError
from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import AnalysisSpec, Findings, Trained, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import Positive
from rnnscope.core.system import DynamicalSystem
from rnnscope.core.tables import Figure
from rnnscope.dynamics.lyapunov import LyapunovSpectrum, lyapunov_spectrum

WHOLE = 40  # state variables up to which the whole spectrum is computed


class LyapunovExponents(AnalysisSpec):
    """Lyapunov exponents: of the closed loop where the task has a feedback, else conditional ones under the data.

    Fields:
        under: closed: outputs fed back; data: the training inputs; held: one input; auto: closed where there is a feedback, else data.
        input: what is held, see `FixedPointSearch`.
        num_exponents: the largest ones; None: all of up to 40 state variables, else ten.
        num_steps: of each of num_trajectories paths. num_sequences: of the data, joined end to end.
    """

    under: Literal["auto", "closed", "data", "held"] = "auto"
    input: HeldInput = "zero"
    num_exponents: Positive | None = None
    num_steps: Positive = 3000
    num_trajectories: Positive = 8
    num_sequences: Positive = 64

    def run(self, trained: Trained, data: TrainingData, streams: Streams) -> Findings:
        rng = streams.torch()
        loop: Literal["auto", "open", "closed"] = {"closed": "closed", "auto": "auto"}.get(self.under, "open")  # type: ignore[assignment]
        seen = view(trained.model, data, rng, loop=loop, input=self.input, num_sequences=self.num_sequences)
        autonomous = seen.is_closed or self.under == "held"
        system, words = (seen.map, seen.words) if autonomous else (seen.system, "under inputs like those of the data")
        starts = seen.pool(self.num_trajectories, rng)
        if self.num_exponents is not None and self.num_exponents > system.state_size:
            raise ConfigError(f"num_exponents {self.num_exponents}", f"at most {system.state_size}", "ask for fewer")
        count = self.num_exponents or (system.state_size if system.state_size <= WHOLE else 10)
        inputs = None if autonomous else _joined(seen, self.num_trajectories, self.num_steps)
        found = lyapunov_spectrum(system, num_steps=self.num_steps, num_exponents=count, starts=starts, inputs=inputs, rng=rng)
        metrics = {
            "map": words,
            "kind": found.kind,
            "exponents": found.exponents.tolist(),
            "standard_errors": found.standard_errors.tolist(),
            "kaplan_yorke_dimension": found.kaplan_yorke_dimension,
            "sum_rule_error": found.sum_rule_error,
            "interval": found.interval,
            "num_steps": found.num_steps,
            "evidence": found.evidence,
            "outcome": found.outcome,
        }
        arrays = {
            "exponents": found.exponents.numpy(),
            "standard_errors": found.standard_errors.numpy(),
            "local_exponents": found.local_exponents.numpy(),
        }
        escapes = found.kind == "chaotic" and _escapes(system, starts, inputs, self.num_steps)
        metrics["states_escape"] = escapes
        statements = list(_statements(found, words, autonomous, escapes))
        if isinstance(data, ForecastData) and data.sampling_interval not in (None, 1.0) and not escapes:
            metrics["sampling_interval"] = data.sampling_interval
            statements[1:1] = _in_time(found, data.sampling_interval, data.time_label)
        return Findings(tuple(statements), metrics, arrays, (), {"found": found, "words": words})

    def figures(self, findings: Findings) -> Iterator[Figure]:
        found: LyapunovSpectrum = findings.results["found"]
        if torch.isfinite(found.exponents).any():
            yield spectrum_figure(found, findings.results["words"])
            yield convergence_figure(found)


def _joined(seen: View, rows: int, steps: int) -> Tensor:
    """The probe's sequences end to end, as many rows as asked, each from another sequence on."""
    flat = seen.probe.inputs.flatten(0, 1)
    length = -(-steps * 5 // 4)  # the burn-in takes up to a fifth
    places = (torch.arange(rows)[:, None] * (len(flat) // rows) + torch.arange(length)) % len(flat)
    return flat[places]


@torch.no_grad()
def _escapes(system: DynamicalSystem, starts: Tensor, inputs: Tensor | None, steps: int) -> bool:
    """Whether the states themselves grow all the way: far beyond where they began, and still growing in the second half."""
    silence = starts.new_zeros(len(starts), 0)
    state, sizes = starts, [float(starts.abs().max())]
    for step in range(steps):
        state = system.step(state, silence if inputs is None else inputs[:, step].to(state))
        sizes.append(float(state.abs().max()))
        if not np.isfinite(sizes[-1]):
            return True
    half = len(sizes) // 2
    return max(sizes[half:]) > max(10 * max(1.0, sizes[0]), 1.5 * max(sizes[:half]))


def _statements(found: LyapunovSpectrum, words: str, autonomous: bool, escapes: bool) -> Iterator[str]:
    largest, error = float(found.exponents[0]), float(found.standard_errors[0])
    size = "-∞" if largest == -np.inf else with_error(largest, error)
    yield f"Run {words}, the largest Lyapunov exponent is {size} {found.unit}: {_meaning(found, autonomous, escapes)}."
    if 0 < largest < np.inf and found.kind == "chaotic":
        yield f"A small difference grows e-fold in {1 / largest:.3g} steps."
    elif -np.inf < largest < 0 and found.kind == "settles":
        yield f"A small difference shrinks e-fold in {-1 / largest:.3g} steps."
    if np.isfinite(found.kaplan_yorke_dimension) and found.kaplan_yorke_dimension > 0 and not escapes:
        yield f"The Kaplan-Yorke dimension is {with_error(found.kaplan_yorke_dimension, found.kaplan_yorke_error)}."
    rule = (
        f"; the exponents add up to the mean ln |det J| within {found.sum_rule_error:.1e}"
        if found.sum_rule_error is not None
        else ""
    )
    told = (
        found.evidence[found.evidence.find("(") :] if "(" in found.evidence else found.evidence
    )  # the exponent was told above
    yield f"Evidence: {found.num_trajectories} paths of {found.num_steps} steps{rule} {told}. {capitalised(found.outcome)}."


def _in_time(found: LyapunovSpectrum, interval: float, label: str) -> list[str]:
    """The largest exponent on the time axis of the series."""
    largest, error = float(found.exponents[0]) / interval, float(found.standard_errors[0]) / interval
    if not np.isfinite(largest) or found.kind not in ("chaotic", "settles"):
        return []
    grows = "grows" if found.kind == "chaotic" else "shrinks"
    size = with_error(largest, error)
    return [
        f"One step is {interval:g} of the axis '{label}', on which that is {size}: a difference {grows} e-fold in {1 / abs(largest):.3g}."
    ]


def _meaning(found: LyapunovSpectrum, autonomous: bool, escapes: bool) -> str:
    if escapes:
        return "small differences grow, and so do the states themselves without a bound in sight: this is growth, not chaos"
    meaning = {
        "settles": "it settles on a fixed point or a cycle"
        if autonomous
        else "its state is decided by the inputs: it forgets where it began",
        "periodic": "it moves periodically",
        "quasi-periodic": "small differences neither grow nor shrink measurably, as on a cycle that turns at its own pace or on a "
        "set of points at each of which the state can stay",
        "chaotic": "small differences grow: it is chaotic"
        if autonomous
        else "small differences grow under the same inputs: it is not governed by them",
        "undecided": "whether small differences grow or shrink is undecided",
    }
    return meaning[found.kind]

"""Analysis: do small differences die out, stay or grow? The Lyapunov spectrum of the trained network."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rnnscope.analysis.figures_lyapunov import convergence_figure, spectrum_figure
from rnnscope.analysis.view import HeldInput, View, view
from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import AnalysisSpec, Figure, Findings, Trained, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import Positive
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
            "exponents": _finite(found.exponents),
            "standard_errors": _finite(found.standard_errors),
            "kaplan_yorke_dimension": found.kaplan_yorke_dimension if np.isfinite(found.kaplan_yorke_dimension) else None,
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
        return Findings(tuple(_statements(found, words, autonomous)), metrics, arrays, (), {"found": found, "words": words})

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


def _finite(values: Tensor) -> list[float | None]:
    return [v if np.isfinite(v) else None for v in values.tolist()]


def _statements(found: LyapunovSpectrum, words: str, autonomous: bool) -> Iterator[str]:
    largest, error = float(found.exponents[0]), float(found.standard_errors[0])
    meaning = {
        "settles": "it settles on a fixed point or a cycle"
        if autonomous
        else "its state is decided by the inputs: it forgets where it began",
        "periodic": "it moves periodically",
        "quasi-periodic": "it neither forgets nor amplifies small differences, as on a cycle that turns at its own pace",
        "chaotic": "small differences grow: it is chaotic"
        if autonomous
        else "small differences grow under the same inputs: it is not governed by them",
        "undecided": "whether small differences grow or shrink is undecided",
    }[found.kind]
    size = "-∞" if largest == -np.inf else f"{largest:.3g} ± {error:.2g}"
    yield f"Run {words}, the largest Lyapunov exponent is {size} {found.unit}: {meaning}."
    if 0 < largest < np.inf and found.kind == "chaotic":
        yield f"A small difference grows e-fold in {1 / largest:.3g} steps."
    elif -np.inf < largest < 0 and found.kind == "settles":
        yield f"A small difference shrinks e-fold in {-1 / largest:.3g} steps."
    if np.isfinite(found.kaplan_yorke_dimension) and found.kaplan_yorke_dimension > 0:
        yield f"The Kaplan-Yorke dimension is {found.kaplan_yorke_dimension:.3g} ± {found.kaplan_yorke_error:.2g}."
    rule = (
        f"; the exponents add up to the mean ln |det J| within {found.sum_rule_error:.1e}"
        if found.sum_rule_error is not None
        else ""
    )
    yield f"Evidence: {found.evidence}; {found.num_trajectories} paths of {found.num_steps} steps{rule}. {found.outcome[0].upper()}{found.outcome[1:]}."

"""Analysis: what the network settles on when it is left alone, or reads its own outputs."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from rnnscope.analysis.figures_attractors import basin_figure, output_figure
from rnnscope.analysis.view import HeldInput, Loop, View, view
from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import AnalysisSpec, Findings, Trained, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegativeFloat, Positive
from rnnscope.core.tables import Column, Figure, Row, Table
from rnnscope.dynamics.attractors import Attractor, Attractors, attractors
from rnnscope.dynamics.components import principal_components
from rnnscope.dynamics.invariant_circles import InvariantCircle
from rnnscope.dynamics.periodic_orbits import Cycle


class AttractorMap(AnalysisSpec):
    """Where orbits settle from many starts: points, cycles, invariant circles, chaos; with the share of starts of each.

    Fields:
        loop, input: see `FixedPointSearch`. num_starts: visited states, moved by noise of `spread` standard deviations.
        num_steps: of each start before it is looked at. max_period: longest cycle that is looked for.
        num_samples: steps of an orbit that does not close, by which it is examined. max_sets: such sets at most. num_sequences: of the data, to visit states.
    """

    loop: Loop = "auto"
    input: HeldInput = "zero"
    num_starts: Positive = 100
    spread: NonNegativeFloat = 0.5
    num_steps: Positive = 2000
    max_period: Positive = 200
    num_samples: Annotated[int, Field(ge=500)] = 3000
    max_sets: Positive = 2
    num_sequences: Positive = 64

    def run(self, trained: Trained, data: TrainingData, streams: Streams) -> Findings:
        rng = streams.torch()
        seen = view(trained.model, data, rng, loop=self.loop, input=self.input, num_sequences=self.num_sequences)
        starts = seen.starts(self.num_starts, self.spread, rng)
        found = attractors(
            seen.map,
            starts=starts,
            num_steps=self.num_steps,
            num_samples=self.num_samples,
            max_period=self.max_period,
            max_sets=self.max_sets,
            rng=rng,
        )
        metrics = {
            "map": seen.words,
            "attractors": [_plain(a) for a in found.attractors],
            "share_diverged": found.share_diverged,
            "share_unexamined": found.share_unexamined,
        }
        arrays = {"starts": found.starts.numpy(), "labels": found.labels.numpy()}
        arrays |= {f"points_{i}": a.points.numpy() for i, a in enumerate(found.attractors)}
        return Findings(
            tuple(_statements(found, seen, _clock(data))),
            metrics,
            arrays,
            (_table(found),) if found.attractors else (),
            {"found": found, "view": seen, "components": principal_components(seen.visited)},
        )

    def figures(self, findings: Findings) -> Iterator[Figure]:
        found, seen, components = (findings.results[k] for k in ("found", "view", "components"))
        if found.attractors and seen.map.state_size > 1:
            yield basin_figure(found, components, seen.words)
        if found.attractors:
            yield output_figure(found, seen)


def period_of(one: Attractor) -> float | None:
    """Steps after which the motion repeats, where it does."""
    if isinstance(one.settled, Cycle):
        return float(one.settled.period)
    return one.settled.steps_per_turn if isinstance(one.settled, InvariantCircle) else None


def _clock(data: TrainingData) -> str:
    """What one step is, in words, where the task says so and it is not simply one."""
    if not isinstance(data, ForecastData) or data.sampling_interval is None:
        return ""
    return f"One step is {data.sampling_interval:g} in the units of the time axis, '{data.time_label}'."


def _statements(found: Attractors, seen: View, clock: str) -> Iterator[str]:
    total = len(found.starts)
    if not found.attractors:
        yield f"Run {seen.words}, every one of {total} starts diverged: the network has no bounded motion there."
        return
    yield f"Run {seen.words} from {total} starts, the network {_lead(found)}."
    for one in found.attractors[:6]:
        yield f"{_share(one)}, reached in a median of {one.transient_median:g} steps (longest {one.transient_longest}): {one.settled.summary}."
    if clock and any(period_of(one) for one in found.attractors if one.kind != "point"):
        yield clock
    if found.share_diverged:
        yield f"{100 * found.share_diverged:.0f} % of the starts diverged."
    if found.share_unexamined:
        yield f"{100 * found.share_unexamined:.0f} % of the starts end in further sets that were not examined (raise max_sets)."


def _lead(found: Attractors) -> str:
    """What happens to the starts, without claiming more than was examined."""
    examined = 1 - found.share_unexamined - found.share_diverged
    if found.share_unexamined > max(0.5, examined):
        return (
            f"ends in more sets than were examined, or has not settled after {found.num_steps} steps "
            f"(raise num_steps, then max_sets); examined: {_brief(found)}"
        )
    if len(found.attractors) == 1:
        return f"settles on {_brief(found)}"
    return f"settles on one of {len(found.attractors)} sets: {_brief(found)}"


def _share(one: Attractor) -> str:
    """With its binomial standard error, which says nothing where all starts agree."""
    if one.share == 1:
        return "All starts"
    return f"{100 * one.share:.1f} ± {100 * one.share_error:.1f} % of starts"


NAMES = {
    "point": ("a fixed point", "fixed points"),
    "cycle": ("a cycle", "cycles"),
    "invariant circle": ("an invariant circle", "invariant circles"),
    "continuum": ("a continuum of points", "continua of points"),
    "chaotic": ("a chaotic set", "chaotic sets"),
    "undetermined": ("an undetermined set", "undetermined sets"),
}


def _brief(found: Attractors) -> str:
    """Sets of a kind and period together: "8 fixed points (19 %, 14 %, …)"."""
    groups: dict[tuple[str, str], list[float]] = {}
    for one in found.attractors:
        period = period_of(one)
        turn = f" of period {period:.4g} steps" if period is not None and period > 1 else ""
        groups.setdefault((one.kind, turn), []).append(100 * one.share)
    words = []
    for (kind, turn), shares in groups.items():
        name = NAMES[kind][0] if len(shares) == 1 else f"{len(shares)} {NAMES[kind][1]}"
        told = ", ".join(f"{share:.0f} %" for share in shares[:4]) + (", …" if len(shares) > 4 else "")
        words.append(f"{name}{turn} ({told})")
    return ", ".join(words)


def _plain(one: Attractor) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "share": one.share,
        "share_error": one.share_error,
        "period": period_of(one),
        "largest_exponent": one.largest_exponent,
        "exponent_error": one.exponent_error,
        "transient_median": one.transient_median,
        "transient_longest": one.transient_longest,
        "evidence": one.settled.summary,
    }


def _table(found: Attractors) -> Table:
    columns = (
        Column("kind", "settles on"),
        Column("share", "share of starts"),
        Column("period", "period (steps)"),
        Column("exponent", "largest exponent (per step)"),
        Column("transient", "median transient (steps)"),
    )
    rows = tuple(
        Row(
            str(number + 1),
            "",
            {
                "kind": one.kind,
                "share": one.share,
                "period": period_of(one),
                "exponent": one.largest_exponent,
                "transient": one.transient_median,
            },
            {
                **({"share": one.share_error} if one.share < 1 else {}),
                **({"exponent": one.exponent_error} if one.exponent_error else {}),
            },
        )
        for number, one in enumerate(found.attractors)
    )
    note = "Shares are those of the starts tried, with their binomial standard error; exponents of points and cycles follow from multipliers."
    return Table("Where it settles", columns, rows, note)

"""Analysis: where the network can stand still, how stable that is, and what it says there."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from rnnscope.analysis.figures_fixed_points import eigenvalue_figure, flow_figure, portrait_figure, space_figure
from rnnscope.analysis.rays import rays_of, rays_statement, rays_table
from rnnscope.analysis.view import HeldInput, Loop, View, view
from rnnscope.analysis.wording import listed
from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import AnalysisSpec, Findings, Trained, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegativeFloat, Positive
from rnnscope.core.tables import Column, Figure, Row, Table
from rnnscope.dynamics.components import principal_components
from rnnscope.dynamics.fixed_points import FixedPoints, find_fixed_points
from rnnscope.dynamics.limiting_rays import LimitingRays
from rnnscope.dynamics.stability import rotation_periods, time_constants
from rnnscope.dynamics.starts import num_default_starts

SHOWN = 40  # rows of the table
LOST = 0.1  # share of starts that end nowhere, from which on this is explained


class FixedPointSearch(AnalysisSpec):
    """Fixed and slow points of the trained network, with their stability and certificates; limiting rays where it has no biases.

    Fields:
        loop: closed: outputs fed back; open: one input held; auto: closed where the task has a feedback.
        input: what is held: zero, mean, or numbers (of a closed loop: the covariates).
        num_starts: visited states, each moved by noise; None: 1024, fewer for more than 64 units.
        spread: of that noise, in standard deviations of each unit. slow_speed: largest ½|F(h) - h|² of a slow point.
        num_sequences: of the data, to visit states.
    """

    loop: Loop = "auto"
    input: HeldInput = "zero"
    num_starts: Positive | None = None
    spread: NonNegativeFloat = 0.5
    slow_speed: NonNegativeFloat = 1e-4
    num_sequences: Positive = 64

    def run(self, trained: Trained, data: TrainingData, streams: Streams) -> Findings:
        rng = streams.torch()
        seen = view(trained.model, data, rng, loop=self.loop, input=self.input, num_sequences=self.num_sequences)
        starts = seen.starts(self.num_starts or num_default_starts(seen.map.state_size), self.spread, rng)
        found = find_fixed_points(seen.map, starts, slow_speed=self.slow_speed, rng=rng)
        outputs = seen.map.readout(found.points) if len(found) else found.points.new_zeros(0, seen.map.output_size)
        rays = rays_of(seen, starts)
        return Findings(
            tuple(_statements(found, seen, outputs, rays)),
            _metrics(found, seen)
            | ({} if rays is None else {"ray_factors": rays.decay_rates.tolist(), "ray_shares": rays.basin_shares.tolist()}),
            _arrays(found, seen, outputs) | ({} if rays is None else {"rays": rays.directions.numpy()}),
            (
                *([_table(found, *_told(outputs, data))] if len(found) else []),
                *([rays_table(rays)] if rays is not None and len(rays) else []),
            ),
            {"found": found, "view": seen, "components": principal_components(seen.visited)},
        )

    def figures(self, findings: Findings) -> Iterator[Figure]:
        found, seen, components = (findings.results[k] for k in ("found", "view", "components"))
        size = seen.map.state_size
        if size <= 2:
            yield portrait_figure(seen, found)
        else:
            yield flow_figure(seen, found, components)
        if size >= 3:
            yield space_figure(seen, found, components)
        if len(found):
            yield eigenvalue_figure(found)


def _statements(found: FixedPoints, seen: View, outputs: Tensor, rays: LimitingRays | None) -> Iterator[str]:
    lead = f"Run {seen.words}, the network has " if len(found) else f"Run {seen.words}: "
    yield f"{lead}{found.outcome}."
    if found.is_continuum:
        yield "No count is meaningful: fixed points fill a continuous set, such as a line or a ring on which a value can be held."
    elif len(found):
        yield from _stability_statements(found, outputs)
    elif len(found.slow_points.points):
        yield _ghosts(found)
    if rays is not None:
        yield rays_statement(rays)
    if found.failed > LOST * (found.searched + found.restarts):
        yield _lost(found)
    if len(found) and not found.is_continuum:
        yield _evidence(found)


def _stability_statements(found: FixedPoints, outputs: Tensor) -> Iterator[str]:
    stable = found.is_stable
    if stable.any():
        slowest = float(time_constants(found.eigenvalues[stable][:, 0]).max())
        which = "point" if int(stable.sum()) == 1 else "points"
        yield f"Small disturbances of the stable {which} die out with a time constant of at most {slowest:.3g} steps (-1/ln |λ|)."
        told = outputs[stable]
        distinct = _distinct(told)
        if int(stable.sum()) > 1:
            differ = f"{distinct} different outputs" if distinct > 1 else "the same output"
            yield f"The {int(stable.sum())} stable points give {differ} ({'further than' if distinct > 1 else 'within'} 0.1 of the range apart)."
    turning = [i for i, kind in enumerate(found.kinds) if kind.startswith("spiral")]
    if turning:
        period = float(rotation_periods(found.eigenvalues[turning[0], :1]))
        where = "Around it" if len(found) == 1 else f"Around {len(turning)} of the {len(found)} points"
        which = "" if len(turning) == 1 else "around the one of these reached most often "
        yield f"{where} the state turns in the leading direction, {which}once in {period:.3g} steps."


def _ghosts(found: FixedPoints) -> str:
    """What slow points are, where there is nothing else."""
    count, least = len(found.slow_points.points), float((2 * found.slow_points.speed).sqrt().min())
    places = f"In {count} places the network" if count > 1 else "In one place the network"
    return (
        f"{places} nearly stands still: |F(h) - h| falls to {least:.2g} and not to 0. States linger at such a ghost of a fixed point and move "
        "on; a small change of the held input or the weights may make fixed points there (a fold)."
    )


def _lost(found: FixedPoints) -> str:
    """What it means that starts did not converge, and what to do."""
    known = found.expected_index_sum is not None and found.index_sum == found.expected_index_sum
    todo = (
        "The index sum shows no missing point, so nothing need be done."
        if known
        else "Raise num_starts, hold a slightly different input (input), or raise slow_speed to have the slowest places listed."
    )
    return (
        f"{found.failed} of {found.searched + found.restarts} starts and restarts did not converge: the search from there came to no fixed "
        "point, nor to rest where |F(h) - h| is smallest. Two common reasons: units are so saturated that nothing tells the search where to "
        f"go; or two fixed points have just met and vanished, and the search wanders along their ghost as the state does. {todo}"
    )


def _evidence(found: FixedPoints) -> str:
    """Where the starts ended."""
    residual, tried = float(found.residual.max()), found.searched + found.restarts
    reached = int(found.num_starts.sum())
    ends = [f"{reached} ended at a fixed point"]
    if tried - reached - found.failed:
        ends.append(f"{tried - reached - found.failed} where |F(h) - h| is smallest but not 0")
    if found.failed:
        ends.append(f"{found.failed} nowhere")
    return (
        f"Evidence: the largest residual is {f'{residual:.1e}' if residual else '0'}; {found.searched} starts from visited states and "
        f"{found.restarts} restarts between what was found, of which {', '.join(ends)}."
    )


def _distinct(outputs: Tensor) -> int:
    spread = float((outputs.amax(0) - outputs.amin(0)).max())
    close = torch.cdist(outputs, outputs, p=torch.inf) <= 0.1 * spread
    return int((close.float().cumsum(1)[torch.arange(len(outputs)), torch.arange(len(outputs))] == 1).sum())


def _metrics(found: FixedPoints, seen: View) -> dict[str, Any]:
    return {
        "map": seen.words,
        "num_fixed_points": len(found),
        "num_stable": int(found.is_stable.sum()),
        "num_certified": int(found.certificate.is_certified.sum()),
        "index_sum": found.index_sum,
        "expected_index_sum": found.expected_index_sum,
        "is_continuum": found.is_continuum,
        "num_slow_points": len(found.slow_points.points),
        "largest_residual": float(found.residual.max()) if len(found) else None,
        "starts": found.searched,
        "restarts": found.restarts,
        "failed": found.failed,
        "outcome": found.outcome,
    }


def _arrays(found: FixedPoints, seen: View, outputs: Tensor) -> dict[str, Any]:
    return {
        "points": found.points.numpy(),
        "residual": found.residual.numpy(),
        "speed": found.speed.numpy(),
        "eigenvalues_real": found.eigenvalues.real.numpy(),
        "eigenvalues_imag": found.eigenvalues.imag.numpy(),
        "num_unstable": found.num_unstable.numpy(),
        "outputs": outputs.detach().numpy(),
        "existence_radius": found.certificate.existence_radius.numpy(),
        "uniqueness_radius": found.certificate.uniqueness_radius.numpy(),
        "slow_points": found.slow_points.points.numpy(),
        "slow_speed": found.slow_points.speed.numpy(),
        "held": seen.held.numpy(),
    }


def _told(outputs: Tensor, data: TrainingData) -> tuple[Tensor, str]:
    """What is said at each point, and its name: the next step's forecast in physical units where outputs are levels of a series."""
    if not isinstance(data, ForecastData) or data.representation.differences:
        return outputs, "output"
    seen = data.representation
    return torch.from_numpy(seen.unlevel(seen.means(outputs.detach().numpy())[:, 0])), "forecast"


def _table(found: FixedPoints, outputs: Tensor, name: str) -> Table:
    scale = max(1.0, float(outputs.abs().max())) if outputs.numel() else 1.0
    order = sorted(range(len(found)), key=lambda i: (int(found.num_unstable[i]), -int(found.num_starts[i])))
    rows = []
    for number, i in enumerate(order[:SHOWN]):
        leading = found.eigenvalues[i, :1]
        shown = listed(outputs[i, :4].tolist(), scale) + (", …" if outputs.shape[1] > 4 else "")
        period = float(rotation_periods(leading))
        sided = "border" in found.kinds[i]  # of linear regions: eigenvalues would be those of one side
        values = {
            "kind": "on a border" if sided else found.kinds[i],
            "unstable": None if sided else int(found.num_unstable[i]),
            "modulus": None if sided else float(leading.abs()),
            "time": None if sided else float(time_constants(leading)),
            "period": f"{period:.3g}" if period < 1e6 and not sided else "–",
            "output": shown,
            "residual": float(found.residual[i]),
            "alone": float(found.certificate.uniqueness_radius[i]) if found.certificate.is_certified[i] else None,
            "starts": int(found.num_starts[i]),
        }
        rows.append(Row(str(number + 1), "", values))
    columns = (
        Column("kind", "type"),
        Column("unstable", "unstable directions"),
        Column("modulus", "modulus of λ"),
        Column("time", "time constant (steps)"),
        Column("period", "turns once in (steps)"),
        Column("output", name),
        Column("residual", "residual"),
        Column("alone", "alone within"),
        Column("starts", "starts"),
    )
    border = " On a border of linear regions there are no eigenvalues." if any("border" in kind for kind in found.kinds) else ""
    more = f" The first {SHOWN} of {len(found)}." if len(found) > SHOWN else ""
    units = "Forecast: of the next step, in physical units. " if name == "forecast" else ""
    note = (
        f"{units}A negative time constant is that of growth. Residual: largest |F(h) - h|. Alone within: no other fixed point lies closer in "
        f"the hidden state, certified up to rounding (Newton-Kantorovich); – where that could not be shown.{border}{more}"
    )
    return Table("Fixed points", columns, tuple(rows), note)

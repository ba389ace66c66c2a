"""What limiting rays say about a network without biases, whose fixed point 0 has no eigenvalues."""

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.analysis.view import View
from rnnscope.core.tables import Column, Row, Table
from rnnscope.dynamics.limiting_rays import SAME_FACTOR, LimitingRays, is_homogeneous, limiting_rays
from rnnscope.dynamics.stability import time_constants

MOST = 300  # starts
SHOWN = 20  # rows of the table


def rays_of(seen: View, starts: Float[Tensor, "N S"]) -> LimitingRays | None:
    """The rays of a map that is homogeneous by construction; None for any other."""
    moving = starts[starts.norm(dim=1) > 0][:MOST]
    if not len(moving) or not is_homogeneous(seen.map):
        return None
    return limiting_rays(seen.map, moving)


def rays_statement(rays: LimitingRays) -> str:
    """Why there are rays, what they are, and what follows for the fixed point 0."""
    return (
        "Without biases and input, F(s h) = s F(h) for every s > 0. F has a kink at the fixed point 0, so eigenvalues do not decide what "
        f"happens there; the directions into which states turn (limiting rays) do: {rays.summary}. {_conclusion(rays)}"
    )


def _conclusion(rays: LimitingRays) -> str:
    factors = rays.decay_rates
    if bool((factors > 1 + SAME_FACTOR).any()) or rays.open_rate > 1:
        return "So 0 is unstable: states that turn to a growing direction leave every bound."
    if bool((factors >= 1 - SAME_FACTOR).any()):
        return "So states neither reach 0 nor leave: along a ray with factor 1 every length is kept."
    return f"So all of {len(rays.ray)} starts go back to 0."


def rays_table(rays: LimitingRays) -> Table:
    """One row for each ray or cycle of rays."""
    columns = (
        Column("kind", "type"),
        Column("factor", "factor per step"),
        Column("time", "time constant (steps)"),
        Column("share", "share of starts"),
    )
    times = time_constants(torch.complex(rays.decay_rates, torch.zeros_like(rays.decay_rates)))
    rows = tuple(
        Row(
            str(number + 1),
            "",
            {
                "kind": "ray" if period == 1 else f"cycle of {period} rays",
                "factor": factor,
                "time": time,
                "share": share * rays.num_converged / len(rays.ray),
            },
        )
        for number, (period, factor, time, share) in enumerate(
            zip(rays.periods.tolist(), rays.decay_rates.tolist(), times.tolist(), rays.basin_shares.tolist(), strict=True)
        )
    )
    more = f" The first {SHOWN} of {len(rows)}." if len(rows) > SHOWN else ""
    note = (
        "Below a factor of 1 a ray leads into 0, above it away from all bounds; a negative time constant is that of growth. Evidence: "
        f"F(2u) = 2 F(u) on the rays {f'to within {rays.deviation:.1e}' if rays.deviation else 'exactly'}.{more}"
    )
    return Table("Limiting rays", columns, rows[:SHOWN], note)

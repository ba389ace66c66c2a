"""The study's claims about such networks, each held against what was found here; and the tables of the findings."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnscope.analysis.residency import ZONES
from rnnscope.core.tables import Column, Row, Table

HOLDS, FAILS, OPEN = "Holds", "Does not hold here", "Cannot be decided here"


def claims(r: dict[str, Any]) -> list[str]:
    """One sentence per claim, beginning with whether it holds."""
    questions: tuple[Callable[[dict[str, Any]], str | None], ...] = (
        _rest,
        _homogeneous,
        _rays,
        _plane,
        _zones,
        _sensitivity,
        _kick,
        _opposition,
        _gains,
        _readout,
        _pairs,
        _resonance,
        _development,
    )
    return [sentence for ask in questions if (sentence := ask(r)) is not None]


def _word(holds: bool) -> str:
    return HOLDS if holds else FAILS


def _rest(r: dict[str, Any]) -> str:
    found = r["relaxations"]
    settled = float(found.settled.double().mean())
    steps = found.steps_to_rest[found.settled].double()
    ends = found.rest[found.settled]
    spread = float((ends - ends.mean(0)).norm(dim=1).max()) if len(ends) else float("nan")
    scale = float(found.states[:, 0].norm(dim=1).mean())
    one = len(ends) > 0 and spread < 1e-2 * scale
    median = f", after {float(steps.median()):.0f} steps in the median" if len(ends) else ""
    where = "one point" if one else "several points"
    return (
        f"{_word(settled > 0.95 and one)}: without noise the network comes to rest at a single fixed point. {100 * settled:.0f} % of "
        f"{len(found.settled)} driven states come to rest within {found.states.shape[1] - 1} steps{median}"
        + (
            f", at {where} (largest distance between ends {spread:.2g}, driven states have norm {scale:.3g})."
            if len(ends)
            else "."
        )
    )


def _homogeneous(r: dict[str, Any]) -> str:
    found = r["homogeneity"]
    if found.applies:
        return (
            f"Holds, as a theorem: the orbit's radius is linear in the noise. This network is positively homogeneous, h(s x) = s h(x); "
            f"found to {float(found.deviation.max()):.1e} relative over scales {_list(found.scales)}, with {100 * float(found.argmax_equal.min()):.4g} % "
            "equal argmax outputs. So the noise level sets no scale: it cannot change which symbol is largest, and h = 0 is the fixed point."
        )
    return f"The homogeneity theorem does not apply: {found.reason}."


def _rays(r: dict[str, Any]) -> str | None:
    found = r.get("rays")
    if found is None:
        return None
    parts = [
        f"{rate:.4f} per step ({100 * share:.0f} % of starts" + (f", a cycle of {period})" if period > 1 else ")")
        for rate, share, period in zip(
            found.decay_rates.tolist(), found.basin_shares.tolist(), found.periods.tolist(), strict=True
        )
    ]
    extra = f" {found.num_vanished} starts vanished." if found.num_vanished else ""
    extra += f" {found.num_open} had not converged (mean factor {found.open_rate:.4f})." if found.num_open else ""
    decaying = all(rate < 1 for rate in found.decay_rates.tolist())
    tail = "all of them lead into 0" if decaying and parts else "there is a direction in which states grow"
    return (
        f"The Jacobian at 0 is undefined for a ReLU network, so the return to 0 is described by limiting rays: {', '.join(parts) or 'none found'}; "
        f"{tail if parts else 'nothing to report'}.{extra}"
    )


def _plane(r: dict[str, Any]) -> str:
    shares = r["components"].explained_variance_ratio
    first, second = float(shares[0]), float(shares[1]) if len(shares) > 1 else 0.0
    return (
        f"{_word(first + second > 0.6)}: the driven states lie mostly in a plane. The first two components hold {100 * first:.1f} % and {100 * second:.1f} % "
        f"of the variance (study: .60 to .80 together for networks of 150 units), participation ratio {r['components'].participation_ratio:.2f}."
    )


def _zones(r: dict[str, Any]) -> str:
    found, counts = r["zones"], r["zones"].num_unstable
    parts = [f"{name} {100 * float(s):.0f} %" for name, s in zip(ZONES, found.shares, strict=True)]
    unstable = [f"{name} {float(c):.2f}" for name, c in zip(ZONES, counts, strict=True) if np.isfinite(float(c))]
    known = [float(c) for c in counts if np.isfinite(float(c))]
    ordered = len(known) == 3 and max(known[0], known[1]) > known[2]
    word = _word(ordered) if len(known) == 3 else OPEN
    return (
        f"{word}: unstable directions are more frequent outside the clusters. Visited states by residency (< {found.transition:g}, up to {found.cluster:g}, "
        f"more steps): {', '.join(parts)}; mean number of eigenvalues outside the unit circle: {', '.join(unstable)}. Roll-outs cut off at "
        f"{r['residency'].horizon} steps: {100 * r['residency'].total_censored_share:.0f} %."
    )


def _sensitivity(r: dict[str, Any]) -> str:
    found = r["sensitivity"]
    last = found.by_zone[-1]
    values = [float(v) for v in last]
    known = np.isfinite(values)
    holds = bool(known.all()) and max(values[0], values[1]) > values[2] + 2 * float(found.error[-1][2])
    text = ", ".join(f"{name} {v:.2f}" for name, v in zip(ZONES, values, strict=True) if np.isfinite(v))
    return (
        f"{_word(holds) if known.all() else OPEN}: noise moves states outside the clusters more. Spread of replicas relative to |h| after "
        f"{found.steps} steps of fresh noise: {text}."
    )


def _kick(r: dict[str, Any]) -> str | None:
    found = r.get("kick")
    if found is None:
        return None
    if not len(found.units):
        return f"Does not hold here: a few units trigger the switches. Of {len(found.single_score)} units, {found.reason}."
    score = float(found.score[-1])
    size = len(found.single_score)
    return (
        f"{_word(score < 0.5)}: a few units trigger the switches. Silencing units {found.units.tolist()} of {size}, found by search, leaves {100 * score:.0f} % of "
        f"the switches (mean over common outputs), with {100 * float(found.preservation[-1]):.0f} % of the clusters kept; {found.reason}."
    )


def _opposition(r: dict[str, Any]) -> str | None:
    found = r.get("opposition")
    if found is None:
        return None
    groups = len(set(found.population.tolist()))
    if groups < 2:
        return f"Does not hold here: the kick units form opposing populations. All {len(found.units)} are driven alike."
    holds = found.between < 0 < found.within or (found.between < 0 and not np.isfinite(found.within))
    return (
        f"{_word(holds)}: the kick units form opposing populations. Mean cosine between the noise weights of units: {found.within:.2f} within, {found.between:.2f} "
        f"between populations."
    )


def _gains(r: dict[str, Any]) -> str | None:
    sweeps = r.get("gains")
    if not sweeps:
        return None
    parts = []
    for sweep in sweeps:
        rate = sweep.rate.numpy()
        low, mid, high = rate[0], rate[int(np.argmin(np.abs(sweep.gains.numpy() - 1)))], rate[-1]
        name = "their output" if sweep.target == "output" else "their noise"
        parts.append(f"{name} scaled by 0, 1, 2: {low:.3f}, {mid:.3f}, {high:.3f}")
    first = sweeps[0]
    fell = first.rate[0] < first.control_rate[0] - 2 * first.control_sd[0]
    return f"{_word(bool(fell))}: kick units act on switching more than random groups of their size. Switches per step with {'; with '.join(parts)}."


def _readout(r: dict[str, Any]) -> str:
    found = r["readout"]
    inside = found.inside[np.isfinite(found.inside.numpy())]
    text = ", ".join(f"{i}-{j}: {100 * float(v):.0f} %" for (i, j), v in zip(found.pairs.tolist(), found.inside, strict=True))
    moved = ", ".join(f"{100 * float(v):.0f} %" for v in found.variance_inside)
    mean = float(inside.mean()) if len(inside) else 0.0
    return (
        f"{_word(mean > 5 * found.chance)}: the readout is aligned with the leading plane. Share of the squared norm of differences of readout rows inside it: {text} "
        f"(a random direction: {100 * found.chance:.0f} %); share of their variance that motion in the plane makes: {moved}."
    )


def _pairs(r: dict[str, Any]) -> str | None:
    found = r["pairs"]
    if len(found.pairs) < 2:
        return None
    angles = found.angles[..., 0]
    count = len(found.pairs)
    off = [float(angles[i, j]) for i in range(count) for j in range(i + 1, count)]
    return (
        f"Switches of {count} pairs of outputs each have a plane of their own: it holds {_percents(found.plane_share)} of its pair's variance; smallest principal "
        f"angles between the planes {', '.join(f'{a:.0f}°' for a in off[:6])} (0° would be a shared direction)."
    )


def _resonance(r: dict[str, Any]) -> str:
    found = r["resonance"]
    if found.flat:
        return (
            "Cannot hold: stochastic resonance, as tuning by the noise level. By the homogeneity theorem the switching of a bias-free ReLU network does not "
            f"depend on the noise; measured rates {float(found.switch_rate.min()):.4f} to {float(found.switch_rate.max()):.4f} over sds {_list(found.noise_scales[[0, -1]])}."
        )
    word = _word(found.peak is not None)
    return f"{word}: stochastic resonance, as most regular switching at an intermediate noise. {found.reason[:1].upper()}{found.reason[1:]}."


def _development(r: dict[str, Any]) -> str | None:
    if "development" not in r:
        return None
    found = r["development"]
    text = (
        f"Development: between epochs {int(found.epochs[0])} and {int(found.epochs[-1])} the argmax switch rate went from {float(found.switch_rate[0]):.3f} "
        f"to {float(found.switch_rate[-1]):.3f}, states with an unstable direction from {100 * float(found.unstable_share[0]):.0f} % to {100 * float(found.unstable_share[-1]):.0f} %"
    )
    if "drop" in r:
        text += f". {r['drop'].reason[:1].upper()}{r['drop'].reason[1:]}"
    return text + "."


def _list(values: Any) -> str:
    return ", ".join(f"{float(v):g}" for v in values)


def _percents(values: Any) -> str:
    return ", ".join(f"{100 * float(v):.0f} %" for v in values)


def findings_tables(r: dict[str, Any]) -> tuple[Table, ...]:
    """The main numbers, and the zones."""
    shares = r["components"].explained_variance_ratio
    spectra = r["spectra"].summary
    values = {
        "rate": r["switch_rate"],
        "norm": r["mean_norm"],
        "pc": " ".join(f"{float(s):.3f}" for s in shares[:5]),
        "ratio": r["components"].participation_ratio,
        "radius": f"{spectra['radius']:.3f} ({spectra['lowest_radius']:.2f}-{spectra['highest_radius']:.2f})",
        "outside": spectra["num_unstable"],
        "active": f"{100 * spectra['active_share']:.0f} %",
    }
    columns = (
        Column("rate", "argmax changes per step"),
        Column("norm", "mean |h|"),
        Column("pc", "variance of PC 1-5"),
        Column("ratio", "participation ratio"),
        Column("radius", "driven Jacobian's radius (range)"),
        Column("outside", "eigenvalues outside"),
        Column("active", "active units"),
    )
    summary = Table(f"Driven dynamics, {r['driven_steps']:,} steps", columns, (Row("network", "model", values),))
    zone_columns = (
        Column("share", "states"),
        Column("unstable", "eigenvalues outside"),
        Column("spread", "spread after fresh noise"),
    )
    rows = tuple(
        Row(
            name,
            "",
            {
                "share": f"{100 * float(r['zones'].shares[i]):.1f} %",
                "unstable": _finite(r["zones"].num_unstable[i]),
                "spread": _finite(r["sensitivity"].by_zone[-1][i]),
            },
        )
        for i, name in enumerate(ZONES)
    )
    return summary, Table("Zones by residency", zone_columns, rows)


def _finite(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None

"""Tables and sentences of a report on detection."""

from typing import Any

import numpy as np

from rnnscope.core.interfaces import ModelResult, Scores
from rnnscope.core.marked_series import MarkedData
from rnnscope.core.tables import Column, Row, Table
from rnnscope.evaluation.detection_scores import rankable
from rnnscope.numerics.detection_metrics import precision_gap
from rnnscope.numerics.thresholds import Control

LABELS = {"deviation": "|value - median|", "difference": "|change|"}
QUALITY = (
    Column("average_precision", "AP", "high"),
    Column("vus_pr", "VUS-PR", "high"),
    Column("shift_p", "p of AP"),
    Column("precision", "precision", "high"),
    Column("recall", "recall", "high"),
    Column("f1", "F1", "high"),
    Column("range_f1", "range F1", "high"),
    Column("ranges_found", "ranges found", "high"),
    Column("best_f1", "best F1 (oracle)", "high"),
)
COUNTS = (
    Column("lower", "lower bound"),
    Column("upper", "upper bound"),
    Column("alarms", "alarms"),
    Column("expected", "expected by chance"),
    Column("chance", "p of so many"),
    Column("stated_step", "stated rate per step"),
    Column("stated_set", "stated: any in pure noise"),
)
PLACES = (
    Column("alarms_marked", "alarms at marked steps"),
    Column("alarms_near", "near them"),
    Column("alarms_away", "elsewhere"),
    Column("expected_away", "expected elsewhere"),
    Column("independent", "calibration scores, as independent ones"),
)
NOISE = (
    Column("noise_step", "measured rate per step"),
    Column("noise_set", "measured: any in pure noise"),
)
FEW_INDEPENDENT = 30
PROMISE = {
    "step": "a false alarm at {rate} of the steps",
    "set": "any false alarm in a whole set with probability {rate}",
    "fdr": "a share of false ones among the alarms of {rate} (any alarm in pure noise with that probability)",
}


def percent(share: float) -> str:
    """A share in per cent, to two digits."""
    return f"{round(100 * share)} %" if share >= 0.1 else f"{100 * share:.2g} %"


def label(name: str) -> str:
    """A detector's name in tables and legends."""
    return LABELS.get(name, name)


def detection_tables(
    metrics: dict[str, Any], data: MarkedData, control: Control, rate: float, reach: int = 0
) -> tuple[Table, ...]:
    """The six-line summary of draws, alarms beside chance, and quality where steps are marked."""
    rows = [Row(n, "model", told(m["test"]), m.get("test_sd", {})) for n, m in metrics["models"].items()]
    rows += [Row(label(n), "baseline", told(s["test"])) for n, s in metrics["baselines"].items()]
    found = []
    if not data.series.ordered and "centre" in (own := metrics["models"][metrics["chosen_model"]]["test"]):
        found.append(summary_table(own, metrics["chosen_model"]))
    if any("average_precision" in row.values for row in rows):
        assert data.series.marks is not None
        marked = int(data.series.marks[data.series.judged].sum())
        ordered = sorted(rows, key=lambda row: -row.values["average_precision"])
        found.append(
            Table(
                f"How well the detectors find the {marked} marked steps",
                tuple(c for c in QUALITY if any(c.key in row.values for row in rows)),
                tuple(ordered),
                f"AP: average precision; its p-value is against randomly shifted marks. A score without any relation to the marks has an average precision of about {marked / own_count(data):.3g}. "
                "Best F1 is that of a threshold chosen by looking at the marks; the other scores of alarms are those of the stated rate.",
            )
        )
    columns = tuple(c for c in (*COUNTS, *NOISE) if any(c.key in row.values for row in rows))
    title = "Alarms at the stated rate, beside chance: " + PROMISE[control].format(rate=percent(rate))
    found.append(Table(title, columns, tuple(rows)))
    if any("alarms_away" in row.values for row in rows):
        columns = tuple(c for c in PLACES if any(c.key in row.values for row in rows))
        found.append(Table("Where the alarms are", columns, tuple(rows), places_note(rows, data, reach)))
    return tuple(found)


def places_note(rows: list[Row], data: MarkedData, reach: int) -> str:
    """Why there are more alarms than marked steps, in words."""
    text = (
        f"Near: at most {reach} steps (the buffer of VUS-PR) from a marked one. A detector of windows raises all steps of every window "
        "that an anomaly touches, and one of residuals the steps whose forecast an anomaly enters, so that alarms near marks exceed the "
        "stated rate; that rate is about the alarms elsewhere."
    )
    over = [r for r in rows if r.values.get("alarms_away", 0) > 3 * r.values.get("expected_away", np.inf) + 3]
    if over:
        named = "; ".join(
            f"{r.name} {r.values['alarms_away']:.0f} where {r.values['expected_away']:.2g} were stated" for r in over
        )
        text += f" Elsewhere the stated rate does not hold for: {named}."
    few = [r.name for r in rows if r.values.get("independent", np.inf) < FEW_INDEPENDENT]
    if few:
        text += (
            f" Scores of {', '.join(few)} change so slowly that the {data.series.train_until - data.series.calibrate_from} calibration "
            "scores tell only as much as the number of independent ones in the last column. Their thresholds lie far beyond what so "
            "few can tell, and a stretch that is normal but unlike the calibration part raises alarms: the stated rate is not to be "
            "relied on. A longer training part (train_until) helps."
        )
    return text


def told(scores: Scores) -> dict[str, Any]:
    """Scores for a table: no digits of a probability that is next to nothing."""
    return {**scores, "chance": "< 0.0001"} if scores["chance"] < 1e-4 else {**scores}


def own_count(data: MarkedData) -> int:
    """Steps that may raise alarms."""
    return len(data.series) - data.series.train_until


def summary_table(scores: Scores, name: str) -> Table:
    """Mean, standard deviation, upper and lower threshold, number of emergent and of normal values."""
    emergent = int(scores["alarms"])
    lines: list[tuple[str, Any]] = [
        ("centre (mean for three-sigma)", scores["centre"]),
        ("scale (standard deviation for three-sigma)", scores["scale"]),
        ("upper threshold", scores.get("upper", "none")),
        ("lower threshold", scores.get("lower", "none")),
        ("emergent values", emergent),
        ("normal values", int(scores["judged"]) - emergent),
    ]
    rows = tuple(Row(what, "", {"value": value}) for what, value in lines)
    return Table(f"Summary by {name}", (Column("value", "value"),), rows)


def verdict_of(
    result: ModelResult,
    references: dict[str, ModelResult],
    others: dict[str, ModelResult],
    data: MarkedData,
    control: Control,
    rate: float,
    reach: int = 0,
) -> str:
    """Is there more than chance, and with marks: does it find them better than a line of code would, and than the other detectors?"""
    scores = result.scores["test"]
    text = against_chance(scores, control, rate, ordered=data.series.ordered)
    if "average_precision" not in scores:
        return text
    return f"{against_marks(result, references, others, data, reach)} {text}"


def against_chance(scores: Scores, control: Control, rate: float, *, ordered: bool = False) -> str:
    """Number of alarms beside the expected one; of draws, whether anything emerges."""
    found, count, expected = int(scores["alarms"]), int(scores["judged"]), scores["expected"]
    what = "step" if ordered else "value"
    head = f"{found} of {count} {what}s raise{'s' if found == 1 else ''} an alarm"
    if control != "step":
        promise = f"any at all in pure noise with probability {percent(rate)}"
        if control == "fdr":
            promise = f"{percent(rate)} of the alarms false on average, any at all in pure noise with that probability"
        text = f"{head} (held to: {promise})"
        return f"{text}. {'More than chance predicts.' if found else 'Nothing stands out' + ('.' if ordered else ': no emergence.')}"
    chance = f"{scores['chance']:.2g}" if scores["chance"] >= 1e-4 else "below 0.0001"
    text = f"{head}; chance alone predicts {expected:.2g}, and as many or more with probability {chance}"
    if scores["chance"] < 0.01:
        return f"{text}: more than chance predicts."
    if (least := scores["smallest_p"]) * count < 0.01:
        return f"{text}; but the least probable of them, p = {least:.1g}, would hardly come by chance among {count}."
    if ordered:
        return f"{text}: no more than chance predicts."
    some = scores["stated_set"]
    return f"{text}. Finding what chance predicts is no emergence: {percent(some)} of sets of pure noise raise an alarm at this threshold."


def against_marks(
    result: ModelResult, references: dict[str, ModelResult], others: dict[str, ModelResult], data: MarkedData, reach: int
) -> str:
    """Average precision beside the best one-line score's and the best other detector's, and the alarms' precision and recall."""
    scores = result.scores["test"]
    text = f"Average precision {scores['average_precision']:.3f}"
    if "shift_p" in scores:
        text += f" (p = {scores['shift_p']:.2g} against randomly shifted marks)"
    rivals = [("one-line score", references), ("other detector", others)]
    compared = [beside(result, kind, group, data, reach) for kind, group in rivals if group]
    if compared:
        text += f" {' and '.join(compared)}"
    ends = (
        "One series: the figures have no spread."
        if "95 %" not in text
        else "One series: the intervals are over blocks of its steps."
    )
    return (
        f"{text}; VUS-PR {scores['vus_pr']:.3f}. Its alarms have precision {scores['precision']:.2f} and recall {scores['recall']:.2f} "
        f"and meet {percent(scores['ranges_found'])} of the marked ranges. {ends}"
    )


def beside(result: ModelResult, kind: str, group: dict[str, ModelResult], data: MarkedData, reach: int) -> str:
    """Beats, loses to or equals the best of a group, with an interval of the difference where there is one."""
    assert data.series.marks is not None
    rival = max(group, key=lambda n: group[n].scores["test"]["average_precision"])
    own, other = (r.scores["test"]["average_precision"] for r in (result, group[rival]))
    verb = "beats" if own > other else "loses to" if own < other else "equals"
    part = data.series.judged
    first, second = (rankable(r.arrays["score"][part]) for r in (result, group[rival]))
    gap = precision_gap(first, second, data.series.marks[part], reach)
    best = f"the best {kind}'s, {label(rival)}, {other:.3f}"
    if gap is None:
        return f"{verb} {best} (no interval: too few marked ranges)"
    unsure = gap[0] <= 0 <= gap[1]
    told = f"difference {own - other:+.3f}, 95 % interval {gap[0]:+.3f} to {gap[1]:+.3f}{', which holds 0' if unsure else ''}"
    return f"{'is not clearly different from' if unsure else verb} {best} ({told})"


def notes(data: MarkedData, threshold: str | None, noise_sets: int) -> tuple[str, ...]:
    """What the stated rates rest on."""
    found = [
        "three-sigma and mad take the values for normal, mad even with outliers among them; quantile and pot assume no law. A quantile "
        "of the very values it judges cuts off the same number of them whatever they are, so it says nothing about whether there is anything."
    ]
    if data.series.ordered:
        found.append(
            "A stated rate per step holds where the calibration part is like the rest. Neighbouring scores resemble one another, so "
            "probabilities of so many alarms, and of any in a whole series, are those of independent steps and too small."
        )
        by = threshold or ("pot" if data.series.train_until else "mad")
        kept = ", set by the calibration steps, which no detector was fitted to" if data.series.train_until else ""
        found.append(f"Scores other than values become alarms by {by}{kept}.")
    elif noise_sets:
        found.append(
            f"The rates were measured on {noise_sets} sets of normal noise of the same size, whose own chance is up to "
            f"{50 / noise_sets**0.5:.1f} points of the share of sets with an alarm."
        )
    if not data.series.train_until:
        found.append("There is no training part: what is usual was learned from the very steps that are judged.")
    return tuple(found)

"""The acceptance window, the tables and the sentences of an emulation report."""

from typing import Any

import numpy as np

from rnnscope.core.interfaces import History, ModelResult, Scores
from rnnscope.core.tables import Column, Headline, Row, Table

# name -> (reading, score, lower bound, upper bound); fixed beforehand, see docs/results/hmm.md
WINDOW = {
    "divergence / floor": ("sampled", "divergence_ratio", 0.93, 1.06),
    "frequencies": ("sampled", "frequency_error", 0.0, 0.04),
    "output transitions": ("sampled", "transition_error", 0.0, 0.08),
    "volatility": ("sampled", "volatility_error", 0.0, 0.25),
    "distance / floor": ("sampled", "distance_ratio", 0.95, 1.05),
    "bounded states": ("states", "bounded", 1.0, 1.0),
}
HEADLINES = (
    Headline("divergence_ratio", "sampled", "divergence_ratio", "Sinkhorn divergence / HMM-HMM floor"),
    Headline("transition_error", "sampled", "transition_error", "largest output-transition error"),
    Headline("distance_ratio", "sampled", "distance_ratio", "matched distance / floor", ""),
    Headline("volatility", "sampled", "volatility", "volatility", ""),
    Headline("frequency_error", "sampled", "frequency_error", "largest frequency error"),
    Headline("log_likelihood", "sampled", "log_likelihood", "log-likelihood per symbol under the HMM", ""),
)
NOTES = (
    "The HMM's row is the sampling floor: independent sequences of the HMM itself, scored as if a network had made them. "
    "A network can be close to the floor; clearly below it means too little variety, not quality. "
    "Sampled symbols are drawn from the softmax of the outputs, argmax symbols are the largest output: different things.",
)
COLUMNS = (
    Column("divergence", "divergence"),
    Column("divergence_ratio", "/ floor"),
    Column("distance", "matched distance"),
    Column("distance_ratio", "/ floor"),
    Column("volatility", "volatility"),
    Column("volatility_sd", "its sd"),
    Column("frequency_error", "frequency error", "low"),
    Column("rare_share", "rare symbols"),
    Column("transition_error", "transition error", "low"),
)
MORE_COLUMNS = (
    Column("word_divergence", "words (JS, nats)", "low"),
    Column("dwell_error", "run lengths (TV)", "low"),
    Column("autocorrelation_error", "autocorrelation", "low"),
    Column("log_likelihood", "log-likelihood / symbol"),
    Column("smallest_p", "smallest p (corrected)"),
)
LABELS = {"hmm": "HMM, fresh draws", "iid": "independent symbols"}


def gates(scores: dict[str, Scores], references: dict[str, ModelResult]) -> dict[str, bool]:
    """Which conditions of the acceptance window hold."""
    found = {}
    for name, (reading, score, low, high) in WINDOW.items():
        value = scores[reading].get(score, np.nan)
        found[name] = bool(low <= value <= high)
    iid, floor = references["iid"].scores["sampled"], references["hmm"].scores["sampled"]
    # clearly better: at most half way from the floor to independent symbols
    halfway = (iid["divergence"] + floor["divergence"]) / 2
    found["better than independent symbols"] = bool(scores["sampled"]["divergence"] < halfway)
    return found


def label(name: str) -> str:
    """A generator's name in tables and legends."""
    return f"Markov chain, order {name[6:]}" if name.startswith("markov") else LABELS.get(name, name)


def emulation_tables(metrics: dict[str, Any]) -> tuple[Table, ...]:
    """Distances and frequencies; shapes and tests; the way back; the acceptance window."""
    several = any("seeds" in m for m in metrics["models"].values())
    rows = []
    for name, entry in metrics["models"].items():
        for reading in ("sampled", "argmax"):
            rows.append(Row(f"{name}, {reading}", "model", entry[reading], entry.get(f"{reading}_sd", {})))
    for name, scores in metrics["baselines"].items():
        kind = "ceiling" if name == "hmm" else "baseline"
        rows.append(Row(label(name), kind, scores["sampled"], scores.get("sampled_sd", {})))  # type: ignore[arg-type]
    note = "± is the sd over repeats; for the HMM, over draws." if several else "± is the sd over draws of the HMM."
    found = [
        Table("Distances and frequencies", COLUMNS, tuple(rows), note),
        Table("Words, runs, memory, likelihood", MORE_COLUMNS, tuple(rows)),
    ]
    back = [Row(n, "model", m["way_back"], m.get("way_back_sd", {})) for n, m in metrics["models"].items() if "way_back" in m]
    if back:
        columns = (
            Column("states_by_held_out", "states by held-out likelihood"),
            Column("states_by_bic", "states by BIC"),
            Column("transition_error", "largest transition error"),
            Column("emission_error", "largest emission error"),
        )
        found.append(
            Table(
                "The way back: HMMs fitted to the network's sequences",
                columns,
                tuple(back),
                "Errors are those of the fit with the original's number of states, its states matched to the original's.",
            )
        )
    windows = []
    for name, entry in metrics["models"].items():
        shares = {k: f"{100 * v:.0f} %" if several else "yes" if v else "no" for k, v in entry["gates"].items()}
        windows.append(Row(name, "", {**shares, "all": f"{100 * entry['success_rate']:.0f} %"}))
    shown = (*(Column(k, k) for k in windows[0].values if k != "all"), Column("all", "all of them"))
    found.append(
        Table("Acceptance window (share of repeats inside)" if several else "Acceptance window", shown, tuple(windows))
    )
    return tuple(found)


def model_verdict(
    scores: dict[str, Scores], references: dict[str, ModelResult], repeats: list[dict[str, Scores]], histories: list[History]
) -> str:
    """Close to the floor? Better than trivial generators? What fails, and what training looked like where it failed."""
    own, floor = scores["sampled"], references["hmm"].scores["sampled"]
    spread = references["hmm"].scores["sampled_sd"]["divergence"]
    sentences = [
        f"Sinkhorn divergence to fresh HMM sequences {own['divergence']:.4g}, {own['divergence_ratio']:.3f} times the HMM's own "
        f"floor ({floor['divergence']:.4g} ± {spread:.2g})"
    ]
    rivals = {n: r.scores["sampled"]["divergence"] for n, r in references.items() if n != "hmm"}
    beaten = [label(n) for n, v in rivals.items() if own["divergence"] < v - 2 * spread]
    tied = [label(n) for n, v in rivals.items() if abs(own["divergence"] - v) <= 2 * spread]
    lost = [label(n) for n, v in rivals.items() if own["divergence"] > v + 2 * spread]
    parts = [
        f"{word} {' and '.join(names)}" for word, names in (("beats", beaten), ("ties with", tied), ("loses to", lost)) if names
    ]
    sentences.append(f"it {'; '.join(parts)}" if parts else "there is nothing to compare with")
    failed = [name for name, held in scores["gates"].items() if not held]
    sentences.append("Inside the acceptance window" if not failed else f"Outside the acceptance window: {', '.join(failed)}")
    if own["divergence_ratio"] < 0.93:
        sentences.append("Below the floor: its sequences lack variety")
    if not scores["states"]["bounded"]:
        sentences.append("Its states grow without bound over a long run, so it is not done")
    trouble = {h.outcome.reason for h in histories if h.outcome.reason not in ("completed", "")}
    sentences += sorted(trouble)
    if len(repeats) > 1:
        inside = sum(all(r["gates"].values()) for r in repeats)
        sentences.append(f"{inside} of {len(repeats)} repeats are inside the window")
    return ". ".join(s[0].upper() + s[1:] for s in sentences) + "."

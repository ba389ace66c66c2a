"""The verdict: in one line, does the model beat the trivial answer? With a test, so that a tie is called a tie."""

import numpy as np

from rnnscope.core.interfaces import ModelResult
from rnnscope.evaluation.baselines import TRIVIAL, label
from rnnscope.numerics.statistics import diebold_mariano

SIGNIFICANT = 0.05


def model_verdict(name: str, repeats: list[ModelResult], references: dict[str, ModelResult]) -> str:
    """One sentence on one step ahead against the best baseline, and one on the closed loop."""
    baselines = {n: r for n, r in references.items() if n != "noise_ceiling"}
    sentences = [_one_step(repeats, baselines)]
    if "closed_loop" in repeats[0].scores:
        sentences.append(_closed_loop(repeats, baselines))
    if len(repeats) > 1:
        sentences.append(f"Mean of {len(repeats)} seeds")
    return ". ".join(sentences) + "."


def run_verdict(chosen: str, results: dict[str, list[ModelResult]], references: dict[str, ModelResult], leaky: bool) -> str:
    """The verdict of the run: that of the model chosen without the test part."""
    text = f"{chosen}: {model_verdict(chosen, results[chosen], references)}"
    if leaky:
        text += " But the split leaks (overlapping windows drawn at random): the one-step scores are not on unseen data."
    return text


def _rmse(results: list[ModelResult], key: str) -> float:
    """Mean over seeds, as in the tables."""
    return float(np.mean([r.scores[key].get("rmse", np.inf) for r in results]))


def _groups(baselines: dict[str, ModelResult], key: str) -> list[tuple[str, bool]]:
    """The best trivial baseline, and the best linear one, by mean squared error on a test set; True marks the trivial one."""
    found = []
    for trivial in (True, False):
        group = {
            n: r.scores[key].get("mse", np.inf) for n, r in baselines.items() if (n in TRIVIAL) == trivial and key in r.scores
        }
        if group:
            found.append((min(group, key=lambda n: group[n]), trivial))
    return found


def _one_step(repeats: list[ModelResult], baselines: dict[str, ModelResult]) -> str:
    own = _rmse(repeats, "test")
    error = np.mean([r.arrays["test_error"] for r in repeats], 0)
    parts = []
    for name, trivial in _groups(baselines, "test"):
        p = diebold_mariano(error, baselines[name].arrays["test_error"])[1]
        parts.append(_compare(own, baselines[name].scores["test"]["rmse"], name, trivial, p))
    return _sentence(f"One step ahead (RMSE {own:.4g}) it", parts)


def _closed_loop(repeats: list[ModelResult], baselines: dict[str, ModelResult]) -> str:
    own = _rmse(repeats, "closed_loop")
    steps = f"Free-running for {len(repeats[0].arrays['closed_loop_forecast'])} steps"
    head = f"{steps} (RMSE {own:.4g}) it"
    left = [r.scores["closed_loop"] for r in repeats if "diverged_at" in r.scores["closed_loop"]]
    if left:
        many = f" in {len(left)} of {len(repeats)} seeds" if len(repeats) > 1 else ""
        step, norm = left[0]["diverged_at"], left[0]["diverged_norm"]
        return f"{steps} it diverges{many} at step {step:.0f} (norm {norm:.3g}); the forecast up to there is kept"
    if not np.isfinite(own):
        return f"{head} diverges"
    parts = [
        _compare(own, baselines[n].scores["closed_loop"].get("rmse", np.inf), n, t, None)
        for n, t in _groups(baselines, "closed_loop")
    ]
    return _sentence(head, parts)


def _sentence(head: str, parts: list[str]) -> str:
    return f"{head} {', and '.join(parts)}" if parts else f"{head} is compared with nothing"


def _compare(own: float, theirs: float, name: str, trivial: bool, p: float | None) -> str:
    """Beats, ties or loses. p: of a test of equal accuracy; without one, within 2 % is a tie."""
    ratio = own / max(theirs, 1e-300)
    tie = 0.98 < ratio < 1.02 if p is None else p > SIGNIFICANT and 0.5 < ratio < 2
    if tie:
        return f"is not clearly different from {label(name)} ({theirs:.4g}{'' if p is None else f', p = {p:.2f}'})"
    if ratio < 1:
        return f"beats {'every trivial baseline, the best being ' if trivial else ''}{label(name)} ({theirs:.4g}), by {_factor(theirs, own)}"
    exact = " (the system is linear: that baseline is exact but for rounding)" if theirs < 1e-8 and own > 1e4 * theirs else ""
    return f"loses to {label(name)} ({theirs:.4g}), by {_factor(own, theirs)}{exact}"


def _factor(larger: float, smaller: float) -> str:
    ratio = larger / max(smaller, 1e-300)
    if ratio > 1e4:
        return f"{ratio:.0e}x" if ratio >= 1e7 else f"{float(f'{ratio:.1g}'):,.0f}x"
    if ratio >= 100:
        return f"{ratio:.0f}x"
    return f"{ratio:.1f}x" if ratio >= 1.5 else f"{100 * (ratio - 1):.1f} %"

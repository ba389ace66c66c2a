"""What every evaluation says over repeats: how training went, means of scores, and the arrays to keep."""

from typing import Any

import numpy as np

from rnnscope.core.interfaces import History, ModelResult, Scores


def training_summary(histories: list[History]) -> dict[str, Any]:
    """How training went, over repeats."""
    outcomes = [h.outcome for h in histories]
    return {
        "score": float(np.mean([o.score for o in outcomes])),
        "criterion": outcomes[0].criterion,
        "best_repeat": int(np.argmin([o.score for o in outcomes])),
        "epochs": float(np.mean([o.best_epoch for o in outcomes])),
        "reason": outcomes[0].reason,
        "repeats": [{"score": o.score, "epoch": o.best_epoch, "reason": o.reason, "seconds": o.seconds} for o in outcomes],
        "seconds": float(np.mean([o.seconds for o in outcomes])),
        "final_train_loss": float(
            np.mean([h.columns["train_loss"][_last(h)] for h in histories if "train_loss" in h.columns] or [np.nan])
        ),
    }


def _last(history: History) -> int:
    """The row with which training ended: of candidates the one chosen."""
    return -1 if history.outcome.unit == "epoch" else min(history.outcome.best_epoch, len(history.columns["train_loss"])) - 1


def summarise(repeats: list[dict[str, Scores]]) -> dict[str, Any]:
    """Means over repeats under each test set's name; with several, sd beside them and every repeat under `seeds`."""
    found: dict[str, Any] = {}
    for key in repeats[0]:
        columns = {m: np.array([r[key][m] for r in repeats if m in r[key]]) for m in repeats[0][key]}
        found[key] = {m: float(v.mean()) for m, v in columns.items()}
        if len(repeats) > 1:
            found[f"{key}_sd"] = {m: float(v.std(ddof=1)) if len(v) > 1 else 0.0 for m, v in columns.items()}
            found[f"{key}_median"] = {m: float(np.median(v)) for m, v in columns.items()}
    if len(repeats) > 1:
        found["seeds"] = [dict(r) for r in repeats]
    return found


def entries(results: dict[str, list[ModelResult]], histories: dict[str, list[History]]) -> dict[str, dict[str, Any]]:
    """What every model's entry of metrics.json begins with: its scores over repeats, and under `training` how training went."""
    return {
        name: {**summarise([r.scores for r in rs]), "training": training_summary(histories[name])}
        for name, rs in results.items()
    }


def best_results(models: dict[str, dict[str, Any]], results: dict[str, list[ModelResult]]) -> dict[str, ModelResult]:
    """Each model's repeat with the best training score."""
    return {name: repeats[models[name]["training"]["best_repeat"]] for name, repeats in results.items()}


def run_metrics(
    models: dict[str, dict[str, Any]],
    references: dict[str, ModelResult],
    chosen: str | None = None,
    chosen_by: str = "",
) -> dict[str, Any]:
    """What every metrics.json holds: the chosen model and its verdict, the baselines' scores, the models' entries.

    Args:
        models: finished entries, each with its `verdict`. chosen, chosen_by: which model, and by what in words; the one with the
            smallest training score, by that score's criterion, when None.
    """
    if chosen is None:
        chosen = min(models, key=lambda n: models[n]["training"]["score"])
        chosen_by = models[chosen]["training"]["criterion"]
    return {
        "verdict": f"{chosen}: {models[chosen]['verdict']}",
        "chosen_model": chosen,
        "chosen_by": chosen_by,
        "baselines": {name: dict(r.scores) for name, r in references.items()},
        "models": models,
    }


def kept_arrays(references: dict[str, ModelResult], results: dict[str, list[ModelResult]]) -> dict[str, np.ndarray]:
    """The arrays of all references and of every repeat of every model, under <reference>/<name> and <model>/<repeat>/<name>."""
    arrays = {f"{name}/{key}": v for name, r in references.items() for key, v in r.arrays.items()}
    for name, repeats in results.items():
        arrays |= {f"{name}/{i}/{key}": v for i, r in enumerate(repeats) for key, v in r.arrays.items()}
    return arrays

"""The tables of a forecasting report: one per test set, models and baselines as rows, best first; then the intervals."""

from typing import Any

from rnnscope.core.tables import Column, Headline, Row, Table
from rnnscope.evaluation.baselines import label

COLUMNS = (
    Column("rmse", "RMSE", "low"),
    Column("mae", "MAE", "low"),
    Column("r2", "R²", "high"),
    Column("mase", "MASE", "low"),
    Column("relative_variance", "rel. variance", "low"),
    Column("mse", "MSE", "low"),
)
HEADLINES = (
    Headline("rmse", "test", "rmse", "RMSE, one step ahead"),
    Headline("r2", "test", "r2", "R², one step ahead", "high"),
    Headline("closed_loop_rmse", "closed_loop", "rmse", "RMSE, closed loop"),
    Headline("closed_loop_r2", "closed_loop", "r2", "R², closed loop", "high"),
)
NOTE = (
    "Baselines see the same past as the models; the linear autoregression's order is chosen by AIC on the training part. "
    "Test values were used for nothing else."
)
SET_LABELS = {
    "test": "One step ahead, test part",
    "closed_loop": "Closed loop over the test part",
    "closed_loop_window": "Closed loop over the test part, last window re-run at every step",
    "closed_loop_stream": "Closed loop over the test part, state carried on",
    "unseen": "One step ahead, unseen trajectories",
    "closed_loop_unseen": "Closed loop, unseen trajectories",
    "generation": "Closed loop over the whole series from its first values",
}


def forecast_tables(metrics: dict[str, Any]) -> tuple[Table, ...]:
    """Score tables from the metrics of a forecasting run."""
    models, baselines = metrics["models"], metrics["baselines"]
    first = next(iter(models.values()))
    keys = [k for k, v in first.items() if isinstance(v, dict) and "rmse" in v and not k.endswith(("_sd", "_median"))]
    found = []
    for key in keys:
        rows = [Row(n, "model", m[key], m.get(f"{key}_sd", {})) for n, m in models.items() if key in m]
        for name, scores in baselines.items():
            if key in scores:
                rows.append(Row(label(name), "ceiling" if name == "noise_ceiling" else "baseline", scores[key]))
        rows.sort(key=lambda r: r.values.get("rmse", float("inf")))
        columns = tuple(c for c in COLUMNS if any(c.key in r.values for r in rows))
        found.append(Table(set_label(key, metrics.get("closed_loop_mode")), columns, tuple(rows)))
    intervals = {n: m["intervals"] for n, m in models.items() if "intervals" in m}
    return (*found, interval_table(intervals)) if intervals else tuple(found)


def interval_table(intervals: dict[str, dict[str, Any]]) -> Table:
    """What was promised and what was covered."""
    columns = (
        Column("nominal", "promised"),
        Column("coverage", "covered"),
        Column("mean_width", "mean width"),
        Column("part", "calibrated on"),
    )
    rows = tuple(
        Row(
            name,
            "model",
            {
                "nominal": f"{100 * one['nominal']:.0f} %",
                "coverage": f"{100 * one['coverage']:.1f} %",
                "mean_width": one["mean_width"],
                "part": "training part" if one["calibrated_in_sample"] else "held-out part",
            },
        )
        for name, one in intervals.items()
    )
    return Table("Prediction intervals, one step ahead", columns, rows)


def set_label(key: str, mode: str | None) -> str:
    """The heading of a score table; `mode` says how the main closed loop went on."""
    heading = SET_LABELS.get(key, f"One step ahead, {key}")
    if key.startswith("closed_loop") and not key.startswith(("closed_loop_window", "closed_loop_stream")) and mode:
        heading += ", " + {"window": "last window re-run at every step", "stream": "state carried on"}[mode]
    return heading

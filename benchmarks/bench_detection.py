"""Every detector on two labelled real series, and the matrix profile's speed.

The series ship inside packages that are not imported, only read: KDD-TSAD_135 (UCR Anomaly Archive, internal bleeding; 7501 steps, the
first 1200 normal, steps 4187-4198 marked) in aeon, and mitdb (ECG; 7500 steps, no training part, steps 6936-7287 marked) in sktime.
They are looked for where the packages are installed, or in the folders given. What is not found is skipped with one line.

Every detector has its default settings, fixed before any score on these series was looked at: window = the period found by
autocorrelation on the fitting part, window scores averaged over the windows that hold a step, order of the autoregression by AIC, a GRU of 32
units trained on the fitting part (without a training part: on the series itself, anomaly included), median over seeds. One series each:
the figures have no spread but that of the seeds.

    python benchmarks/bench_detection.py [--quick] [--seeds 5] [--folder DIR]…
"""

import argparse
import importlib.util
import time
from pathlib import Path

import numpy as np
import pandas as pd

import rnnscope as rs
from rnnscope.core.marked_series import MarkedData, marked_series
from rnnscope.core.random import Streams
from rnnscope.evaluation.detection_scores import (
    ONE_LINERS,
    Decision,
    forecast_errors,
    judge,
    one_line_scores,
    result_of,
    step_scores,
)
from rnnscope.models.detectors import LinearResidual, MatrixProfile, SubPCA, Threshold

SERIES = {
    "KDD-TSAD_135": ("aeon", "KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16_TEST.csv", "value", "is_anomaly", 1200),
    "mitdb": ("sktime", "mitdb/mitdb.csv", "data", "label", 0),
}
DETECTORS = {
    "matrix profile": MatrixProfile(),
    "matrix profile, past only": MatrixProfile(join="past"),
    "Sub-PCA": SubPCA(),
    "AR residual": LinearResidual(),
    "three-sigma": Threshold(method="three-sigma"),
    "MAD": Threshold(method="mad"),
    "quantile": Threshold(method="quantile"),
    "POT": Threshold(method="pot"),
}
COLUMNS = ("average_precision", "vus_pr", "best_f1", "precision", "recall", "f1", "range_f1")


def find(package: str, path: str, folders: list[Path]) -> Path | None:
    """The file of a package, without importing it."""
    spec = importlib.util.find_spec(package)
    roots = [Path(spec.origin).parent] if spec is not None and spec.origin else []
    for root in [*roots, *(f / package for f in folders), *folders]:
        if (file := root / "datasets" / "data" / path).is_file():
            return file
    return None


def read(file: Path, column: str, label: str, train_until: int) -> MarkedData:
    """The series with its marks."""
    frame = pd.read_csv(file)
    return MarkedData(marked_series(frame[column].to_numpy(), frame[label].to_numpy(), train_until=train_until), window=100)


def network_scores(data: MarkedData, seed: int, epochs: int) -> np.ndarray:
    """Errors of a GRU trained one step ahead."""
    trainer = rs.BPTT(
        epochs=epochs,
        batch_size=64,
        optimizer="adamw",
        learning_rate=3e-3,
        schedule="cosine",
        readout_start="ridge",
        readout_ridge=1e-3,
    )
    model = rs.GRU(hidden_size=32, num_layers=1, skip=25).build(data.signature, Streams(seed).at("init").torch())
    run = trainer.start(model, data, Streams(seed).at("training"))
    for _ in run:
        pass
    run.finish()
    return forecast_errors(model, data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, action="append", default=[])
    options = parser.parse_args()
    for name, (package, path, column, label, train_until) in SERIES.items():
        file = find(package, path, options.folder)
        if file is None:
            print(f"{name}: skipped, {package} is not installed (pip install --no-deps {package})")
            continue
        data = read(file, column, label, train_until)
        print(f"\n{name}: {len(data.series)} steps, {int(data.series.marks.sum())} marked\n")
        print(f"{'':28}" + "".join(f"{c.replace('_', ' '):>19}" for c in COLUMNS) + f"{'seconds':>10}")
        for title, spec in DETECTORS.items():
            started = time.perf_counter()
            model = spec.build(data.signature, Streams(0).torch())
            model.learn(data.series.values[data.series.fitting])
            raw, signed, method = step_scores(model, data)
            seconds = time.perf_counter() - started
            show(
                title, [result_of(judge(raw, data.series, decision(method), signed=signed), data, None).scores["test"]], seconds
            )
        for one in ONE_LINERS:
            judged = judge(one_line_scores(one, data.series), data.series, decision(None))
            show(f"|{one}|", [result_of(judged, data, None).scores["test"]], 0.0)
        seeds = []
        started = time.perf_counter()
        for seed in range(1 if options.quick else options.seeds):
            judged = judge(network_scores(data, seed, 2 if options.quick else 60), data.series, decision(None))
            seeds.append(result_of(judged, data, None).scores["test"])
        show(f"GRU residual, median of {len(seeds)}", seeds, (time.perf_counter() - started) / len(seeds))
        aps = [s["average_precision"] for s in seeds]
        print(f"  its average precision over seeds: {min(aps):.3f} to {max(aps):.3f}")


def decision(method: str | None) -> Decision:
    """The stated rate of three standard deviations, per step."""
    return Decision(method, "step", rs.Detection().rate)


def show(title: str, scores: list[dict[str, float]], seconds: float) -> None:
    """One line of the table, the median over seeds."""
    print(
        f"{title:28}" + "".join(f"{np.median([s[c] for s in scores]):19.3f}" for c in COLUMNS) + f"{seconds:10.2f}", flush=True
    )


if __name__ == "__main__":
    main()

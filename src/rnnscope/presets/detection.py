"""Detection: is a value, or a stretch of a series, more than chance (scope G1)?"""

from rnnscope.evaluation.detection import Detection
from rnnscope.experiment import Experiment
from rnnscope.models.detectors import LinearResidual, MatrixProfile, SubPCA, Threshold
from rnnscope.models.recurrent import GRU
from rnnscope.tasks.marked_series import Emergence, PlantedAnomalies
from rnnscope.training.fit import Fit
from rnnscope.training.gradient import BPTT


def emergence() -> Experiment:
    """1000 draws of N(50, 5²), mean ± 3σ, as usually done; beside it the other thresholds at the same stated rate."""
    return Experiment(
        task=Emergence(),
        models={
            # the one in question comes first: the verdict is about it
            "three_sigma": Threshold(method="three-sigma"),
            "mad": Threshold(method="mad"),
            "quantile": Threshold(method="quantile"),
            "pot": Threshold(method="pot"),
        },
        trainer=Fit(),
        evaluation=Detection(),
        threads=1,
    )


def emergence_quick() -> Experiment:
    """`emergence` with 300 draws, its rates measured on 50 sets."""
    return emergence().but(task=Emergence(num_draws=300), evaluation=Detection(noise_sets=50))


def emergence_best() -> Experiment:
    """What a claim of emergence needs: a robust scale, and control of the share of false ones among all alarms."""
    return emergence().but(
        # outliers pull mean and standard deviation towards themselves and hide behind them; median and MAD they do not move
        models={
            "mad": Threshold(method="mad"),
            "three_sigma": Threshold(method="three-sigma"),
            "pot": Threshold(method="pot"),
        },
        # at 0.27 % a step nine sets of pure noise in ten raise an alarm; so one in twenty does
        evaluation=Detection(control="fdr", rate=0.05),
    )


def anomalies() -> Experiment:
    """A seasonal series with ten planted anomalies of five kinds: a recurrent forecaster's errors beside classical detectors."""
    return Experiment(
        task=PlantedAnomalies(),
        models={
            # taps over half a period and a ridge start: it begins as a linear autoregression and can only get better
            "gru": GRU(hidden_size=24, num_layers=1, skip=25),
            "ar": LinearResidual(),
            "matrix_profile": MatrixProfile(),
            "sub_pca": SubPCA(),
        },
        trainer=Fit(),
        trainers={
            "gru": BPTT(
                epochs=60,
                batch_size=64,
                optimizer="adamw",
                learning_rate=3e-3,
                schedule="cosine",
                readout_start="ridge",
                readout_ridge=1e-3,
            )
        },
        evaluation=Detection(),
        threads=1,
    )


def anomalies_quick() -> Experiment:
    """`anomalies` with five stretches and ten epochs."""
    full = anomalies()
    return full.but(
        task=PlantedAnomalies(num_steps=2000, train_until=1000, num_anomalies=5),
        trainers={"gru": full.trainers["gru"].but(epochs=10)},
        evaluation=Detection(shifts=99),
    )

"""How far the free runs of a network are from what was recorded: what a model of a dynamical system is chosen by."""

import numpy as np

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import SupervisedData
from rnnscope.core.system import DynamicalSystem
from rnnscope.numerics.delays import delay_lag, delayed
from rnnscope.numerics.reconstruction_measures import (
    Cells,
    Mixtures,
    Spectra,
    after_divergence,
    resolvable_bins,
)

GRID = 3  # variables up to which cells are counted
SMOOTHING = 20.0
# one sentence for every trainer that chooses so: the scores of models trained in different ways are then comparable
CRITERION = "distance of free runs to the training and validation parts (D_stsp + D_H)"


def check_free_runs(data: SupervisedData, field: str, instead: str) -> None:
    """Refuse a choice by free runs where there are none; `field`: of the trainer, `instead`: another value of it."""
    if not data.has_free_runs:
        raise ConfigError(
            f"trainer.{field} is reconstruction, but this task has no free run that could be compared with a recording",
            "at least 200 recorded values that vary, none missing, in an honest split",
            f"set trainer.{field}={instead}",
        )


def free_run_distance(system: DynamicalSystem, data: SupervisedData) -> dict[str, float]:
    """D_stsp and D_H between a system's free runs and the training and validation parts, with their sum; empty where there are none.

    The scores of `rs.reconstruction_scores`, without floors. The same system and data give the same numbers.
    """
    found = data.free_runs(system)
    if found is None:
        return {}
    true, generated = found
    if true.shape[2] == 1:
        lag = delay_lag(true[0, :, 0], generated.shape[1])
        true, generated = delayed(true, lag), delayed(generated, lag)
    generated = np.where(after_divergence(generated, true)[..., None], np.nan, generated)
    if true.shape[2] <= GRID:
        where = Cells(true, resolvable_bins(true)).of(true, generated)
    else:
        where = Mixtures(true, 1.0, np.random.default_rng(0)).of(true, generated)
    how = Spectra(true, SMOOTHING).of(true, generated)
    return {"free_run": where + how, "free_run_d_stsp": where, "free_run_d_h": how}

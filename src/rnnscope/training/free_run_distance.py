"""How far the free runs of a network are from what was recorded: what a model of a dynamical system is chosen by."""

import numpy as np

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

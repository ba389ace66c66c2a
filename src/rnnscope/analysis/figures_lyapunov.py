"""Figures of Lyapunov spectra: the exponents with their errors, and how they converged."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from rnnscope.core.tables import Figure
from rnnscope.dynamics.lyapunov import LyapunovSpectrum
from rnnscope.plotting import COLOURS, INK, colour, new_figure, style


def spectrum_figure(found: LyapunovSpectrum, words: str) -> Figure:
    """Exponents in order, with three standard errors."""
    values, errors = found.exponents.numpy(), found.standard_errors.numpy()
    finite = np.isfinite(values)
    numbers = np.arange(1, len(values) + 1)
    with style():
        canvas, axes = new_figure(1, 1, 6.4, 3.2)
        axes.axhline(0, color=INK, lw=0.8)
        axes.errorbar(numbers[finite], values[finite], 3 * errors[finite], fmt="o", ms=4, color=COLOURS[0], capsize=2, lw=1)
        axes.set(xlabel="number", ylabel=f"exponent ({found.unit})", xlim=(0.3, len(values) + 0.7))
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    lost = int((~finite).sum())
    missing = f"; {lost} more {'is' if lost == 1 else 'are'} -∞" if lost else ""
    caption = f"Lyapunov exponents of the network {words}, bars of three standard errors{missing}. Above zero small differences grow, below they shrink."
    return Figure("spectrum", caption, canvas)


def convergence_figure(found: LyapunovSpectrum) -> Figure:
    """Running means of the leading exponents over the windows of the run, each path apart."""
    local = found.local_exponents.numpy()
    count = min(3, local.shape[2])
    windows = np.arange(1, local.shape[1] + 1)
    steps = found.num_steps * windows / local.shape[1]
    with style():
        canvas, axes = new_figure(1, 1, 6.4, 3.2)
        axes.axhline(0, color=INK, lw=0.8)
        for k in range(count):
            running = local[:, :, k].cumsum(1) / windows
            if np.isfinite(running).all():
                axes.plot(steps, running.T, color=colour(k), lw=0.6, alpha=0.5)
                axes.plot(steps, running.mean(0), color=colour(k), lw=1.6, label=f"exponent {k + 1}")
        axes.set(xlabel="steps", ylabel=f"mean so far ({found.unit})")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    caption = "How the leading exponents converge: thin lines are single paths, thick ones their mean. Values still on the move are no result."
    return Figure("convergence", caption, canvas)

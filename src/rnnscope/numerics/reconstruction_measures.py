"""Divergences behind the scores of a reconstruction: of distributions in state space and of power spectra; surrogates.

Axis names: B sequences, T steps, D variables, P pieces of equal length L, F frequencies.
"""

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Real
from scipy.ndimage import gaussian_filter1d

ALPHA = 1e-5  # pseudo-count of every cell
MOST_BINS = 30
PER_CELL = 16  # points that a visited cell holds on average, where the number of bins is chosen
MOST_CENTRES, NUM_SAMPLES = 4000, 1000  # of the mixtures
FAR = 1e9  # standard deviations beyond which a value counts as diverged


def resolvable_bins(true: Float[np.ndarray, "B T D"]) -> int:
    """The most bins per variable, 4 to 30, at which a visited cell holds on average 16 points of each half of the truth."""
    for bins in range(MOST_BINS, 4, -1):
        cells = Cells(true, bins)
        if np.count_nonzero(np.bincount(cells.encode(true).ravel())) * PER_CELL * 2 <= true[..., 0].size:
            return bins
    return 4


def phase_surrogate(values: Float[np.ndarray, "B T D"], rng: np.random.Generator) -> Float[np.ndarray, "B T D"]:
    """Series with the same spectra and cross-spectra but random phases: a linear Gaussian process (Prichard & Theiler 1994)."""
    spectrum = np.fft.rfft(values, axis=1)
    turns = np.exp(2j * np.pi * rng.random((len(values), spectrum.shape[1], 1)))
    turns[:, 0] = 1
    if values.shape[1] % 2 == 0:
        turns[:, -1] = 1
    return np.fft.irfft(spectrum * turns, values.shape[1], axis=1)


def smoothed_spectrum(values: Float[np.ndarray, "P L D"], smoothing: float = 20.0) -> Float[np.ndarray, "F D"]:
    """Mean power spectrum of the centred sequences at 0, 1/L, … 1/2 per step, smoothed by a Gaussian, each variable's sum 1."""
    return _normalised(_power(values).mean(0), smoothing)


def _power(values: np.ndarray) -> Float[np.ndarray, "P F D"]:
    return np.abs(np.fft.rfft(values - values.mean(1, keepdims=True), axis=1)) ** 2


def _normalised(power: np.ndarray, smoothing: float) -> np.ndarray:
    smooth = gaussian_filter1d(power, smoothing, axis=0) if smoothing else power
    total = smooth.sum(0)
    return smooth / np.where(total > 0, total, 1.0)


class Measure(ABC):
    """A divergence of two sets of pieces, with the work on single pieces done once."""

    @abstractmethod
    def encode(self, pieces: Float[np.ndarray, "P L D"]) -> Real[np.ndarray, "P ..."]:
        """What is needed of each piece."""

    @abstractmethod
    def distance(self, true: Any, generated: Any) -> float:
        """Between two sets of encoded pieces."""

    def of(self, true: np.ndarray, generated: np.ndarray) -> float:
        """Of all there is."""
        return self.distance(self.encode(true), self.encode(generated))


class Cells(Measure):
    """D_stsp on a grid: a piece is the numbers of the cells it visits; the last number means outside."""

    def __init__(self, true: np.ndarray, bins: int) -> None:
        if bins < 2:
            raise ValueError(f"num_bins is {bins}, expected at least 2")
        margin = 0.1 * true.std((0, 1))
        self.low = true.min((0, 1)) - margin
        self.width = (true.max((0, 1)) + margin - self.low) / bins
        self.bins, self.count = bins, bins ** true.shape[2]

    def encode(self, pieces: np.ndarray) -> np.ndarray:
        place = np.floor((pieces - self.low) / self.width)
        inside = ((place >= 0) & (place < self.bins)).all(2)
        digits = np.where(inside[..., None], place, 0).astype(np.int64)
        return np.where(inside, digits @ self.bins ** np.arange(pieces.shape[2]), self.count)

    def distance(self, true: np.ndarray, generated: np.ndarray) -> float:
        p, q = self._probs(true), self._probs(generated)
        return max(0.0, float(p @ np.log(p / q)))

    def _probs(self, cells: np.ndarray) -> np.ndarray:
        counts = np.bincount(cells.ravel(), minlength=self.count + 1) + ALPHA
        return counts / counts.sum()


class Mixtures(Measure):
    """D_stsp between Gaussian mixtures: a piece is its z-scored points."""

    def __init__(self, true: np.ndarray, variance: float, rng: np.random.Generator) -> None:
        if not variance > 0:
            raise ValueError(f"mixture_variance is {variance}, expected a positive number")
        self.mean, self.scale, self.variance, self.rng = true.mean((0, 1)), true.std((0, 1)), variance, rng

    def encode(self, pieces: np.ndarray) -> np.ndarray:
        return (pieces - self.mean) / self.scale

    def distance(self, true: np.ndarray, generated: np.ndarray) -> float:
        points = true.reshape(-1, true.shape[2])
        drawn = points[self.rng.integers(len(points), size=NUM_SAMPLES)]
        drawn = drawn + math.sqrt(self.variance) * self.rng.standard_normal(drawn.shape)
        p, q = self._log_density(drawn, true), self._log_density(drawn, generated)
        least = p + math.log(
            ALPHA / min(MOST_CENTRES, len(points))
        )  # as the pseudo-count of cells does, it bounds what is missed
        return max(0.0, float((p - np.logaddexp(q, least)).mean()))

    def _log_density(self, points: np.ndarray, pieces: np.ndarray) -> np.ndarray:
        centres = pieces.reshape(-1, pieces.shape[2])
        chosen = np.linspace(0, len(centres) - 1, min(MOST_CENTRES, len(centres))).astype(int)
        known = centres[chosen][np.isfinite(centres[chosen]).all(1)]
        if not len(known):
            return np.full(len(points), -np.inf)
        squares = (points**2).sum(1)[:, None] + (known**2).sum(1) - 2 * points @ known.T
        exponents = torch.from_numpy(-squares / (2 * self.variance))
        return exponents.logsumexp(1).numpy() - math.log(len(chosen))


class Spectra(Measure):
    """D_H: a piece is its power spectrum; NaN where it diverged. Smoothed over the same frequencies whatever the pieces' length."""

    def __init__(self, true: np.ndarray, smoothing: float) -> None:
        if not smoothing >= 0:
            raise ValueError(f"smoothing is {smoothing}, expected a standard deviation in bins, at least 0")
        self.smallest = 1e-12 * true.var((0, 1))
        self.width = smoothing / (true.shape[1] // 2)  # as a share of the band from 0 to 1/2 per step

    def of(self, true: np.ndarray, generated: np.ndarray) -> float:
        length = min(true.shape[1], generated.shape[1])
        return self.distance(self.encode(cut(true, length)), self.encode(cut(generated, length)))

    def encode(self, pieces: np.ndarray) -> np.ndarray:
        still = pieces.var(1) < self.smallest
        return np.where(still[:, None], 0.0, _power(pieces))

    def distance(self, true: np.ndarray, generated: np.ndarray) -> float:
        known = generated[np.isfinite(generated).all((1, 2))]
        if not len(known):
            return 1.0
        p, q = (_normalised(power.mean(0), self.width * (power.shape[1] - 1)) for power in (true, known))
        distance = float(np.sqrt(np.clip(1 - np.sqrt(p * q).sum(0), 0.0, 1.0)).mean())
        share = len(known) / len(generated)
        return share * distance + (1 - share)


def cut(values: np.ndarray, length: int) -> Float[np.ndarray, "P L D"]:
    """Each sequence cut into stretches of this length; what remains at its end is left out."""
    count = values.shape[1] // length
    return values[:, : count * length].reshape(-1, length, values.shape[2])


def after_divergence(values: Float[np.ndarray, "B T D"], true: Float[np.ndarray, "B2 T2 D"]) -> Bool[np.ndarray, "B T"]:
    """Whether a sequence has left the finite numbers, or gone beyond 1e9 standard deviations of the truth, by this step."""
    with np.errstate(over="ignore", invalid="ignore"):
        gone = ~(np.abs((values - true.mean((0, 1))) / true.std((0, 1))) < FAR).all(2)
    return np.logical_or.accumulate(gone, axis=1)

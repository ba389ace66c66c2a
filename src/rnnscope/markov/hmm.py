"""Hidden Markov models: categorical and Gaussian observations; sampling, inference and learning in a few words.

Rabiner (1989), Proc. IEEE 77, 257-286. The computations are functions in `rnnscope.numerics`; objects here hold parameters,
check what they are given and name results.
"""

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.markov.families import check_probabilities
from rnnscope.markov.observations import Observations, symbols, vectors
from rnnscope.numerics import baum_welch, hmm, hmm_gaussian, hmm_torch
from rnnscope.numerics import markov_statistics as exact

Precision = Literal["float64", "float32"]
Rng = np.random.Generator | int | None


class Sample(NamedTuple):
    """Drawn sequences: observations (N, T) or (N, T, D), and the states (N, T) behind them."""

    observations: np.ndarray
    states: np.ndarray


class StateProbabilities(NamedTuple):
    """State probabilities (N, T, S), zero beyond a sequence's length, and log-likelihoods (N,) in nats."""

    probabilities: np.ndarray
    log_likelihood: np.ndarray


class StatePath(NamedTuple):
    """The most likely states (N, T), -1 beyond a sequence's length, and the log joint probability (N,) in nats."""

    states: np.ndarray
    log_probability: np.ndarray


class HiddenMarkovModel(ABC):
    """What categorical and Gaussian HMMs share: states s_t with P(s_1) = p and P(s_t | s_{t-1}) = A.

    A bare sequence is answered without the leading axis N. Missing observations (-1, or NaN) count as unseen steps.

    Attributes:
        initial_probs: p, (S,). transition_matrix: A, (S, S), rows sum to 1. Read-only float64.
        fitted: how `fit` found the parameters; None otherwise.
    """

    initial_probs: np.ndarray
    transition_matrix: np.ndarray
    fitted: baum_welch.BaumWelchResult | None = None

    def _set_chain(self, initial_probs: Any, transition_matrix: Any) -> None:
        self.transition_matrix = check_probabilities(transition_matrix, "transition_matrix", (None, None))
        shape = self.transition_matrix.shape
        if shape[0] != shape[1]:
            raise ConfigError(
                f"transition_matrix has shape {shape}", "a square matrix", "give one row and one column per state"
            )
        if initial_probs is None:
            initial_probs = exact.stationary_distribution(self.transition_matrix)
        self.initial_probs = check_probabilities(initial_probs, "initial_probs", (len(self.transition_matrix),))

    @property
    def num_states(self) -> int:
        """S."""
        return len(self.initial_probs)

    @property
    def stationary_probs(self) -> np.ndarray:
        """π with π A = π."""
        return exact.stationary_distribution(self.transition_matrix)

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """Free parameters, as BIC counts them."""

    @abstractmethod
    def sample(self, num_sequences: int, num_steps: int, *, rng: Rng = None) -> Sample:
        """Draw sequences; `rng` is a NumPy generator or a seed."""

    @abstractmethod
    def _observe(self, x: Any, lengths: Any) -> Observations:
        """Checked observations."""

    @abstractmethod
    def _infer(self, job: str, x: Observations, precision: Precision) -> Any:
        """One of the kernels: log_likelihood, filter_states, smooth_states, most_likely_states."""

    @abstractmethod
    def _infer_on(self, device: str, job: str, x: Observations, precision: Precision) -> Any:
        """The same in torch on a device."""

    @abstractmethod
    def permuted(self, order: Any) -> "HiddenMarkovModel":
        """The same model with its states renumbered: new state i is old state order[i]."""

    def log_likelihood(self, x: Any, *, lengths: Any = None, precision: Precision = "float64", device: str = "cpu") -> Any:
        """log P(x_1 … x_T) in nats, one number per sequence; -inf where a sequence is impossible.

        Args:
            x: observations, see `rnnscope.markov.observations`. lengths: valid steps of each padded sequence.
            precision: float64 or float32. device: cpu uses the compiled kernels, any other torch device the torch ones.
        """
        return self._answer("log_likelihood", x, lengths, precision, device)

    def filter(
        self, x: Any, *, lengths: Any = None, precision: Precision = "float64", device: str = "cpu"
    ) -> StateProbabilities:
        """P(s_t | x_1 … x_t): what an observer knows at each step. Arguments as in `log_likelihood`."""
        return StateProbabilities(*self._answer("filter_states", x, lengths, precision, device))

    def smooth(
        self, x: Any, *, lengths: Any = None, precision: Precision = "float64", device: str = "cpu"
    ) -> StateProbabilities:
        """P(s_t | x_1 … x_T): what one knows afterwards. Arguments as in `log_likelihood`."""
        return StateProbabilities(*self._answer("smooth_states", x, lengths, precision, device))

    def viterbi(self, x: Any, *, lengths: Any = None, precision: Precision = "float64", device: str = "cpu") -> StatePath:
        """The most likely state path of each sequence and its log joint probability. Arguments as in `log_likelihood`."""
        return StatePath(*self._answer("most_likely_states", x, lengths, precision, device))

    def _answer(self, job: str, x: Any, lengths: Any, precision: Precision, device: str) -> Any:
        seen = self._observe(x, lengths)
        if torch.device(device).type == "cpu":
            found = self._infer(job, seen, precision)
        else:
            found = self._infer_on(device, job, seen, precision)
        if not seen.single:
            return found
        return tuple(part[0] for part in found) if isinstance(found, tuple) else float(found[0])

    def _in_torch(self, job: str, densities: torch.Tensor, lengths: np.ndarray) -> Any:
        """A torch kernel on log densities (N, T, S), on their device."""
        chain = [torch.as_tensor(p.copy()).to(densities) for p in (self.initial_probs, self.transition_matrix)]
        found = getattr(hmm_torch, job)(densities, torch.as_tensor(lengths, device=densities.device), *chain)
        return tuple(f.cpu().numpy() for f in found) if isinstance(found, tuple) else found.cpu().numpy()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_states={self.num_states})"


def generator(rng: Rng) -> np.random.Generator:
    """A NumPy generator from one, a seed, or nothing."""
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)


def check_counts(num_sequences: int, num_steps: int) -> None:
    """Refuse to draw nothing."""
    if num_sequences < 1 or num_steps < 1:
        raise ConfigError(f"{num_sequences} sequences of {num_steps} steps", "at least one of each", "ask for more")


class HMM(HiddenMarkovModel):
    """A hidden Markov model with symbols 0 … K - 1: P(o_t = k | s_t = i) = B[i, k].

    Args:
        initial_probs: p, (S,); the stationary distribution when None. transition_matrix: A, (S, S).
        emission_probs: B, (S, K).

    Raises:
        ConfigError: rows that do not sum to 1, negative values, shapes that do not fit (naming which).

    Example:
        >>> import rnnscope as rs
        >>> model = rs.HMM([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]], [[0.8, 0.2], [0.2, 0.8]])
        >>> model.sample(2, 5, rng=0).observations.shape
        (2, 5)
        >>> round(model.log_likelihood([0, 0, 1]), 4)
        -2.3413
    """

    def __init__(self, initial_probs: Any, transition_matrix: Any, emission_probs: Any) -> None:
        self._set_chain(initial_probs, transition_matrix)
        self.emission_probs = check_probabilities(emission_probs, "emission_probs", (self.num_states, None))

    @property
    def num_symbols(self) -> int:
        """K."""
        return int(self.emission_probs.shape[1])

    @property
    def num_parameters(self) -> int:
        return self.num_states - 1 + self.num_states * (self.num_states - 1) + self.num_states * (self.num_symbols - 1)

    def sample(self, num_sequences: int, num_steps: int, *, rng: Rng = None) -> Sample:
        check_counts(num_sequences, num_steps)
        return Sample(*hmm.sample(*self._parameters(), num_sequences, num_steps, generator(rng)))

    def _parameters(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.initial_probs, self.transition_matrix, self.emission_probs

    def _observe(self, x: Any, lengths: Any) -> Observations:
        return symbols(x, lengths, self.num_symbols)

    def _infer(self, job: str, x: Observations, precision: Precision) -> Any:
        return getattr(hmm, job)(x.values, x.lengths, *self._parameters(), precision=precision)

    def _infer_on(self, device: str, job: str, x: Observations, precision: Precision) -> Any:
        emitted = torch.as_tensor(self.emission_probs.copy(), dtype=getattr(torch, precision), device=device)
        observed = torch.as_tensor(x.values, dtype=torch.int64, device=device)
        return self._in_torch(job, hmm_torch.categorical_log_densities(observed, emitted), x.lengths)

    def permuted(self, order: Any) -> "HMM":
        order = np.asarray(order)
        return HMM(self.initial_probs[order], self.transition_matrix[np.ix_(order, order)], self.emission_probs[order])

    @classmethod
    def fit(
        cls,
        x: Any,
        num_states: int,
        *,
        lengths: Any = None,
        num_symbols: int | None = None,
        rng: Rng = 0,
        num_restarts: int = 5,
        max_iterations: int = 500,
        tolerance: float = 1e-6,
        **options: Any,
    ) -> "HMM":
        """Learn the parameters by expectation maximisation (Baum et al. 1970) from several random starts.

        Args:
            x: symbol sequences. num_states: S. lengths: valid steps of each. num_symbols: K; one more than the largest seen
                when None. rng: generator or seed of the starts. num_restarts, max_iterations, tolerance (gain in nats per
                observation below which it stops): see `rnnscope.numerics.baum_welch.fit_categorical`, which also takes the
                further options.

        Returns:
            The best model; its `fitted` says how it was found.

        Raises:
            DataError: fewer observed steps than free parameters, or symbols outside the alphabet.
        """
        seen = symbols(x, lengths, num_symbols)
        size = num_symbols or int(seen.values.max()) + 1
        parameters = num_states**2 - 1 + num_states * (size - 1)
        check_enough(seen, parameters, num_states)
        found = baum_welch.fit_categorical(
            seen.values,
            seen.lengths,
            num_states,
            size,
            rng=generator(rng),
            num_restarts=num_restarts,
            max_iterations=max_iterations,
            tolerance=tolerance,
            **options,
        )
        chosen = found.parameters
        assert isinstance(chosen, baum_welch.CategoricalParameters)
        model = cls(chosen.initial_probs, chosen.transition_matrix, chosen.emission_probs)
        model.fitted = found
        return model


def check_enough(seen: Observations, parameters: int, num_states: int) -> None:
    """Refuse to estimate more parameters than there are observations."""
    if num_states < 1:
        raise ConfigError(f"num_states is {num_states}", "at least 1", "choose a number of states")
    if seen.num_observed == 0 or seen.num_observed <= parameters:
        raise DataError(
            f"{seen.num_observed} observed steps for the {max(0, parameters)} free parameters of {num_states} states",
            "clearly more steps than parameters",
            "use fewer states, or more data",
        )


class GaussianHMM(HiddenMarkovModel):
    """A hidden Markov model with Gaussian vectors: x_t | s_t = i ~ N(means[i], covariances[i]).

    Args:
        initial_probs: p, (S,); stationary when None. transition_matrix: A, (S, S). means: (S, D).
        covariances: variances (S, D) for diagonal, matrices (S, D, D) for full covariances.
    """

    def __init__(self, initial_probs: Any, transition_matrix: Any, means: Any, covariances: Any) -> None:
        self._set_chain(initial_probs, transition_matrix)
        self.means = _numbers(means, "means", (self.num_states, None))
        size = self.means.shape[1]
        full = np.ndim(covariances) == 3
        shape = (self.num_states, size, size) if full else (self.num_states, size)
        self.covariances = _numbers(covariances, "covariances", shape)
        for i, one in enumerate(self.covariances):
            spectrum = np.linalg.eigvalsh(one) if full else one
            if not (spectrum > 0).all() or (full and not np.allclose(one, one.T)):
                raise ConfigError(
                    f"covariance {i} is not positive definite", "a symmetric matrix with positive eigenvalues", "correct it"
                )

    @property
    def covariance_type(self) -> Literal["diag", "full"]:
        """diag or full."""
        return "full" if self.covariances.ndim == 3 else "diag"

    @property
    def num_features(self) -> int:
        """D."""
        return int(self.means.shape[1])

    @property
    def num_parameters(self) -> int:
        size = self.num_features
        per_state = size + (size * (size + 1) // 2 if self.covariance_type == "full" else size)
        return self.num_states**2 - 1 + self.num_states * per_state

    def sample(self, num_sequences: int, num_steps: int, *, rng: Rng = None) -> Sample:
        check_counts(num_sequences, num_steps)
        source = generator(rng)
        none = np.ones((self.num_states, 1))
        _, states = hmm.sample(self.initial_probs, self.transition_matrix, none, num_sequences, num_steps, source)
        noise = source.standard_normal((num_sequences, num_steps, self.num_features))
        if self.covariance_type == "diag":
            noise *= np.sqrt(self.covariances)[states]
        else:
            roots = np.linalg.cholesky(self.covariances)
            for state in range(self.num_states):
                chosen = states == state
                noise[chosen] = noise[chosen] @ roots[state].T
        return Sample(self.means[states] + noise, states)

    def _observe(self, x: Any, lengths: Any) -> Observations:
        return vectors(x, lengths, self.num_features)

    def _densities(self, x: Observations) -> np.ndarray:
        return hmm_gaussian.gaussian_log_densities(x.values, self.means, self.covariances)

    def _infer(self, job: str, x: Observations, precision: Precision) -> Any:
        if job == "log_likelihood":  # the densities are then never stored
            chain = (self.initial_probs, self.transition_matrix, self.means, self.covariances)
            return hmm_gaussian.gaussian_log_likelihood(x.values, x.lengths, *chain, precision=precision)
        function = getattr(hmm, f"{job}_from_densities")
        return function(self._densities(x), x.lengths, self.initial_probs, self.transition_matrix, precision=precision)

    def _infer_on(self, device: str, job: str, x: Observations, precision: Precision) -> Any:
        densities = torch.as_tensor(self._densities(x), dtype=getattr(torch, precision), device=device)
        return self._in_torch(job, densities, x.lengths)

    def permuted(self, order: Any) -> "GaussianHMM":
        order = np.asarray(order)
        chain = self.initial_probs[order], self.transition_matrix[np.ix_(order, order)]
        return GaussianHMM(*chain, self.means[order], self.covariances[order])

    @classmethod
    def fit(
        cls,
        x: Any,
        num_states: int,
        *,
        covariance: Literal["diag", "full"] = "diag",
        lengths: Any = None,
        rng: Rng = 0,
        num_restarts: int = 5,
        max_iterations: int = 500,
        tolerance: float = 1e-6,
        **options: Any,
    ) -> "GaussianHMM":
        """Learn the parameters by expectation maximisation, from k-means and random starts.

        Args:
            x: vector sequences. covariance: diag or full. The others as in `HMM.fit`, and of
                `rnnscope.numerics.baum_welch.fit_gaussian`.
        """
        seen = vectors(x, lengths)
        size = seen.values.shape[2]
        per_state = size + (size * (size + 1) // 2 if covariance == "full" else size)
        check_enough(seen, num_states**2 - 1 + num_states * per_state, num_states)
        partly = np.isnan(seen.values).any(2) & ~np.isnan(seen.values).all(2)
        if covariance == "full" and partly.any():
            n, t = (int(i) for i in np.argwhere(partly)[0])
            raise DataError(
                f"step {t} of sequence {n} is partly missing",
                "whole steps, or wholly missing ones, to learn full covariances",
                "take covariance='diag', or mark the whole step as NaN",
            )
        found = baum_welch.fit_gaussian(
            seen.values,
            seen.lengths,
            num_states,
            covariance=covariance,
            rng=generator(rng),
            num_restarts=num_restarts,
            max_iterations=max_iterations,
            tolerance=tolerance,
            **options,
        )
        chosen = found.parameters
        assert isinstance(chosen, baum_welch.GaussianParameters)
        model = cls(chosen.initial_probs, chosen.transition_matrix, chosen.means, chosen.covariances)
        model.fitted = found
        return model


def _numbers(values: Any, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} is no array of numbers", f"shape {shape}", "give one row per state") from None
    if found.ndim != len(shape) or any(w not in (None, h) for h, w in zip(found.shape, shape, strict=True)):
        raise ConfigError(f"{name} has shape {found.shape}", f"shape {shape}", "give one row per state")
    if not np.isfinite(found).all():
        raise ConfigError(f"{name} holds values that are not finite", "finite numbers", "correct them")
    found.setflags(write=False)
    return found

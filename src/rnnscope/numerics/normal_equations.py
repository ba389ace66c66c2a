"""Ridge regression from accumulated products: any number of samples in the memory of one matrix."""

import numpy as np
import scipy.linalg
from jaxtyping import Float
from scipy.linalg.blas import dsyrk


class NormalEquations:
    """Sums over samples of f fᵀ, f yᵀ, f and y, for P features f and Y targets y, float64.

    Features are shifted by the mean of the first samples, so that little is lost when the mean is taken out at the end.

    Example:
        >>> import numpy as np
        >>> sums, x = NormalEquations(1, 1), np.arange(4.0)[:, None]
        >>> sums.add(x, 3 * x + 1)
        >>> weights, intercept = sums.solve(0.0)
        >>> round(float(weights[0, 0]), 9), round(float(intercept[0]), 9)
        (3.0, 1.0)
    """

    def __init__(self, num_features: int, num_targets: int) -> None:
        self.count, self.num_features = 0, num_features
        self._gram = np.zeros((num_features, num_features), order="F")  # its upper half
        self._cross = np.zeros((num_features, num_targets))
        self._sum, self._answers = np.zeros(num_features), np.zeros(num_targets)
        self._shift: np.ndarray | None = None

    def add(self, features: Float[np.ndarray, "N P"], targets: Float[np.ndarray, "N Y"]) -> None:
        """Add samples."""
        if not len(features):
            return
        if self._shift is None:
            self._shift = features.mean(0)
        shifted = np.ascontiguousarray(features - self._shift)
        self._gram = dsyrk(1.0, shifted.T, beta=1.0, c=self._gram, overwrite_c=True)
        self._cross += shifted.T @ targets
        self._sum += shifted.sum(0)
        self._answers += targets.sum(0)
        self.count += len(features)

    def absorb(self, other: "NormalEquations") -> None:
        """Add the samples of another sum of the same features and targets."""
        if other._shift is None:
            return
        if self._shift is None:
            self._shift = other._shift
        apart = other._shift - self._shift
        mixed = np.outer(apart, other._sum)
        self._gram += other._gram + mixed + mixed.T + other.count * np.outer(apart, apart)
        self._cross += other._cross + np.outer(apart, other._answers)
        self._sum += other._sum + other.count * apart
        self._answers += other._answers
        self.count += other.count

    def solve(self, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """W (Y, P), b (Y,) that minimise Σ |y - W f - b|² + λ N |W|²; b is not penalised.

        Args:
            strength: λ >= 0, per sample.

        Raises:
            numpy.linalg.LinAlgError: the matrix is not positive definite to machine precision.
        """
        center, offset = self._sum / self.count, self._answers / self.count
        matrix = self._gram - self.count * np.outer(center, center)
        matrix[np.diag_indices_from(matrix)] += strength * self.count
        factor = scipy.linalg.cho_factor(matrix, lower=False, overwrite_a=True, check_finite=False)
        if not factor[0].diagonal().min() > 1e-9 * np.finfo(float).eps * factor[0].diagonal().max():
            raise np.linalg.LinAlgError("singular")
        solution = scipy.linalg.cho_solve(factor, self._cross - np.outer(self.count * center, offset), check_finite=False)
        weights = np.ascontiguousarray(solution.T)
        assert self._shift is not None
        return weights, offset - weights @ (center + self._shift)

    def smallest_strength(self) -> float:
        """The least power of ten at which the system can be solved."""
        strength = 1e-20 * max(1.0, float(self._gram.diagonal().max()) / max(1, self.count))
        strength = 10.0 ** np.floor(np.log10(strength))
        while strength < 1e20:
            try:
                self.solve(float(strength))
            except np.linalg.LinAlgError:
                strength *= 10
            else:
                break
        return float(strength)

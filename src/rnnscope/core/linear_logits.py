"""Capability of models whose logits are linear in a step's inputs, so that coefficients can be read off them."""

from abc import ABC, abstractmethod

from torch import Tensor


class LinearLogits(ABC):
    """Capability: logit_c - logit_0 = w_c·x + b_c, the first class being the reference."""

    @abstractmethod
    def coefficients(self) -> tuple[Tensor, Tensor]:
        """w (C - 1, X) and b (C - 1,), the parameters themselves."""

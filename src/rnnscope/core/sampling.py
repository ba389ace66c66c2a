"""Capability: a system that reads its own drawn symbols, faster than the loop of `step`."""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor


class FusedSampling(ABC):
    """Capability: s_t drawn from softmax(G(h_{t-1})/τ), h_t = F(h_{t-1}, code of s_t), equal to the plain loop. It records no gradient."""

    @abstractmethod
    def fused_sampling(
        self,
        state: Float[Tensor, "B S"],
        codes: Float[Tensor, "V X"],
        uniforms: Float[Tensor, "B N"],
        temperature: float,
        top_k: int,
        banned: int,
    ) -> tuple[Int[Tensor, "B N"], Float[Tensor, "B S"]]:
        """N symbols and the final state; see `rnnscope.dynamics.symbol_sampling.draw` for the rule of a draw.

        Args:
            codes: what the system reads of each symbol. uniforms: in [0, 1), float64, one per draw. temperature: τ >= 0; 0: the
                most probable symbol. top_k: of the most probable ones; 0: of all. banned: a symbol never drawn; -1: none.
        """

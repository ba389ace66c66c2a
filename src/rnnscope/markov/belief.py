"""The HMM's forward filter as a dynamical system, so that every tool for networks also looks at the HMM."""

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.system import DynamicalSystem
from rnnscope.markov.hmm import HMM


class BeliefFilter(DynamicalSystem):
    """State: the predictive belief b_t = P(s_{t+1} | o_1 … o_t). Input: the symbol o_t, one-hot. Output: log P(o_{t+1} | o_1 … o_t).

    b_t ∝ ((b_{t-1} ⊙ B o_t) A), b_0 = initial_probs. An input of zeros is a missing observation: the belief moves on with A alone.
    The sum of the outputs at the symbols that came is the sequence's log-likelihood.
    """

    def __init__(self, hmm: HMM, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.state_size, self.input_size, self.output_size = hmm.num_states, hmm.num_symbols, hmm.num_symbols
        for name in ("initial_probs", "transition_matrix", "emission_probs"):
            self.register_buffer(name, torch.tensor(getattr(hmm, name).tolist(), dtype=dtype))

    def initial_state(self, batch_size: int) -> Float[Tensor, "B S"]:
        return self.get_buffer("initial_probs").expand(batch_size, -1).clone()

    def step(self, state: Float[Tensor, "B S"], input: Float[Tensor, "B X"]) -> Float[Tensor, "B S"]:
        seen = input @ self.get_buffer("emission_probs").T
        seen = torch.where(input.sum(-1, keepdim=True) == 0, torch.ones_like(seen), seen)
        joint = state * seen
        total = joint.sum(-1, keepdim=True)
        # an impossible symbol leaves no belief: go on from the chain alone rather than with NaN
        known = torch.where(total > 0, joint / total.clamp_min(torch.finfo(joint.dtype).tiny), state)
        return known @ self.get_buffer("transition_matrix")

    def readout(self, state: Float[Tensor, "*B S"]) -> Float[Tensor, "*B Y"]:
        return (state @ self.get_buffer("emission_probs")).log()

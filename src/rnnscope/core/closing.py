"""Closing the loop of a system: it reads its own outputs, and is piecewise linear where the system is."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.errors import ShapeError
from rnnscope.core.loops import AffineFeedback, ClosedLoop, identity_feedback
from rnnscope.core.piecewise import AffineReadout, PiecewiseLinear
from rnnscope.core.system import DynamicalSystem


class PiecewiseLinearLoop(ClosedLoop, PiecewiseLinear, AffineReadout):
    """The closed loop of a piecewise-linear system with an affine readout y = R h + r: piecewise linear again.

    With x = A x' + B (R h + r) + C e fed, the inner map M h + c(x) and borders P h + b(x), c and b affine in x, give in (h, x')

        h_t = (M + c_x B R) h + c_x A x' + c(B r + C e)          v = (P + b_x B R) h + b_x A x' + b(B r + C e)
    """

    def region(self, state: Tensor, input: Tensor) -> Tensor:
        inner, fed = self._fed(state, input)
        return self._own().region(inner, fed)

    def affine(self, pattern: Tensor, input: Tensor) -> tuple[Tensor, Tensor]:
        rows, offsets = self._closed(self._own().affine, pattern, input)
        if not self.feedback.carries:
            return rows, offsets
        by_state, constant = self._feeding(input)
        return torch.cat([rows, by_state.expand(len(rows), -1, -1)], 1), torch.cat([offsets, constant], 1)

    def boundaries(self, pattern: Tensor, input: Tensor) -> tuple[Tensor, Tensor]:
        return self._closed(self._own().boundaries, pattern, input)

    def affine_readout(self) -> tuple[Tensor, Tensor]:
        matrix, offset = self._read()
        return torch.nn.functional.pad(matrix, (0, self.state_size - self.system.state_size)), offset

    def _own(self) -> PiecewiseLinear:
        assert isinstance(self.system, PiecewiseLinear)
        return self.system

    def _read(self) -> tuple[Tensor, Tensor]:
        assert isinstance(self.system, AffineReadout)
        return self.system.affine_readout()

    def _feeding(self, input: Tensor) -> tuple[Float[Tensor, "X S"], Float[Tensor, "B X"]]:
        """The fed input as D (h, x') + d."""
        feedback, (matrix, offset) = self.feedback.like(input), self._read()
        by_state = feedback.from_output @ matrix
        if feedback.carries:
            by_state = torch.cat([by_state, feedback.carry], 1)
        return by_state, offset @ feedback.from_output.T + input @ feedback.from_exogenous.T

    def _closed(
        self, parts: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], pattern: Tensor, input: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Rows and offsets of the inner system with what it is fed put in; offsets' slopes are found at unit inputs."""
        by_state, constant = self._feeding(input)
        rows, offsets = parts(pattern, constant)
        nothing = parts(pattern, torch.zeros_like(constant))[1]
        slopes = [parts(pattern, unit.expand(len(pattern), -1))[1] - nothing for unit in torch.eye(len(by_state)).to(constant)]
        rows = torch.nn.functional.pad(rows, (0, self.state_size - rows.shape[2]))
        return rows + torch.stack(slopes, 2) @ by_state, offsets


def close_loop(system: DynamicalSystem, feedback: AffineFeedback | None = None) -> ClosedLoop:
    """Feed a system's outputs back as its inputs.

    Args:
        system: with output_size == input_size unless a feedback is given.
        feedback: x' = A x + B y + C e; the identity by default.

    Returns:
        A `ClosedLoop`, again a dynamical system, whose input is the exogenous part e; piecewise linear where the system is.
    """
    if feedback is None:
        if system.input_size != system.output_size:
            raise ShapeError(
                f"a system with {system.input_size} inputs and {system.output_size} outputs",
                "as many outputs as inputs",
                "pass feedback=AffineFeedback(…) that says how an output becomes an input",
            )
        feedback = identity_feedback(system.input_size)
    if isinstance(system, PiecewiseLinear) and isinstance(system, AffineReadout):
        return PiecewiseLinearLoop(system, feedback)
    return ClosedLoop(system, feedback)

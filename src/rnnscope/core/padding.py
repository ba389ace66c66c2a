"""Sequences of unequal length in one tensor: which steps are real, and the last of them."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def real_steps(lengths: Int[Tensor, " B"], num_steps: int) -> Bool[Tensor, "B T"]:
    """True at the steps within each row's length.

    Example:
        >>> import torch
        >>> real_steps(torch.tensor([3, 1]), 3).int().tolist()
        [[1, 1, 1], [1, 0, 0]]
    """
    return torch.arange(num_steps, device=lengths.device) < lengths[:, None]


def last_steps(values: Float[Tensor, "B T F"], lengths: Int[Tensor, " B"], count: int) -> Float[Tensor, "B K F"]:
    """The `count` last real steps of each row; a row with fewer repeats its first.

    Example:
        >>> import torch
        >>> last_steps(torch.arange(6.0).reshape(2, 3, 1), torch.tensor([3, 1]), 1).flatten().tolist()
        [2.0, 3.0]
    """
    rows = (lengths[:, None] - count + torch.arange(count, device=lengths.device)).clamp(min=0)
    return values.gather(1, rows[:, :, None].expand(-1, -1, values.shape[-1]))


def kept_steps(values: Float[Tensor, "B T F"], lengths: Int[Tensor, " B"] | None, last: int | None) -> Float[Tensor, "B K F"]:
    """What `SequenceModel.forward` reads out: all steps, or each row's `last` ones, real ones where lengths differ."""
    if last is None:
        return values
    return values[:, -last:] if lengths is None else last_steps(values, lengths, last)


def reversed_steps(values: Float[Tensor, "B T F"], lengths: Int[Tensor, " B"] | None) -> Float[Tensor, "B T F"]:
    """Every row in the reverse order of time, within its own length; what lies behind it stays. Its own inverse.

    Example:
        >>> import torch
        >>> reversed_steps(torch.arange(6.0).reshape(2, 3, 1), torch.tensor([3, 2])).flatten().tolist()
        [2.0, 1.0, 0.0, 4.0, 3.0, 5.0]
    """
    if lengths is None:
        return values.flip(1)
    steps = torch.arange(values.shape[1], device=values.device)
    order = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return values.gather(1, order[..., None].expand(-1, -1, values.shape[-1]))

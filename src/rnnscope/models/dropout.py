"""Dropout whose masks come from the trainer's own generator (Srivastava et al. 2014)."""

import torch
from torch import Tensor


def dropped(values: Tensor, share: float, rng: torch.Generator | None, training: bool) -> Tensor:
    """Values of which a share is set to zero and the rest divided by 1 - share; all as they are outside training.

    Args:
        values: of any shape. share: in [0, 1), 0 draws nothing. rng: where the mask comes from; None: nothing is dropped.
        training: whether the network is being trained.

    Example:
        >>> import torch
        >>> sorted(set(dropped(torch.ones(50), 0.5, torch.Generator().manual_seed(0), True).tolist()))
        [0.0, 2.0]
    """
    if not training or not share or rng is None:
        return values
    keep = 1 - share
    return values * ((torch.rand(values.shape, generator=rng, device=values.device) < keep).to(values.dtype) / keep)

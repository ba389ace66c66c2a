"""Forward passes that training needs beside the plain one: partly free-running windows, and the ridge start of a readout."""

import numpy as np
import torch
from torch import Tensor

from rnnscope.core.interfaces import SequenceModel, SupervisedData
from rnnscope.core.loops import AffineFeedback
from rnnscope.core.system import DynamicalSystem, FusedRollout, LinearReadout, rollout
from rnnscope.numerics.regression import ridge


def free_running_outputs(
    system: DynamicalSystem,
    inputs: Tensor,
    feedback: AffineFeedback,
    steps: int,
    teacher_probability: float,
    rng: torch.Generator,
) -> Tensor:
    """Outputs over windows (B, T, X) whose last `steps` inputs are the system's own, but for a share of true ones.

    The first T - steps inputs are true. After them, each row's next input is the true one with the probability given and
    else x' = A x + B y + C e with e the exogenous part of the true input.
    """
    steps = min(steps, inputs.shape[1] - 1)
    feedback = feedback.like(inputs)
    context, rest = inputs[:, :-steps], inputs[:, -steps:]
    if isinstance(system, FusedRollout):
        outputs, state = system.fused_rollout(context, system.initial_state(len(inputs)), rng)
    else:
        run = rollout(system, context, keep_states=False)
        outputs, state = run.outputs, run.final_state
    found, fed, output = [outputs], context[:, -1], outputs[:, -1]
    for true in rest.unbind(1):
        own = feedback(fed, output, true @ feedback.from_exogenous)
        if teacher_probability > 0:
            keep = torch.rand(len(inputs), 1, generator=rng, device=inputs.device) < teacher_probability
            own = torch.where(keep, true, own)
        fed = own
        state = system.step(state, fed)
        output = system.readout(state)
        found.append(output[:, None])
    return torch.cat(found, 1)


@torch.no_grad()
def solve_readout(
    model: SequenceModel,
    readout: LinearReadout,
    data: SupervisedData,
    strength: float,
    burn_in: int | None,
    whole: bool,
    most: int = 200_000,
) -> None:
    """Set a linear readout by ridge regression on the training part.

    Args:
        burn_in: steps left out at the start of each window (or stream); None: only each window's last step counts.
        whole: regress along whole streams instead of windows. most: at most about so many rows, evenly chosen.
    """
    features, targets = [], []
    if whole:
        for stream in data.streams():
            found = readout.readout_features(stream.inputs[None])[0, burn_in or 0 :]
            features.append(found)
            targets.append(stream.targets[burn_in or 0 :])
    else:
        source = data.train
        kept = 1 if burn_in is None else max(1, source.gather(torch.zeros(1).long().numpy()).inputs.shape[1] - burn_in)
        every = max(1, len(source) * kept // most)
        chosen = torch.arange(0, len(source), every).numpy()
        for start in range(0, len(chosen), 1024):
            batch = source.gather(chosen[start : start + 1024])
            features.append(readout.readout_features(batch.inputs)[:, -kept:].flatten(0, 1))
            targets.append(batch.targets[:, -kept:].flatten(0, 1))
    rows, answers = torch.cat(features).double().cpu().numpy(), torch.cat(targets).double().cpu().numpy()
    known = np.isfinite(answers).all(1)
    rows, answers = rows[known], answers[known]
    weight, bias = ridge(rows, answers, strength)
    like = next(model.parameters())
    readout.set_readout(torch.from_numpy(weight).to(like), torch.from_numpy(bias).to(like))

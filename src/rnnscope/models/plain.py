"""What a network of ours is made of in plain terms: recurrent layers and dense layers. Every export begins here."""

from dataclasses import dataclass

import torch
from torch import nn

from rnnscope.core.errors import ConfigError
from rnnscope.core.system import DynamicalSystem, SequenceModel
from rnnscope.models.classifier import SequenceClassifier
from rnnscope.models.layered import LayeredNetwork
from rnnscope.models.recurrent_systems import RecurrentSystem
from rnnscope.models.stacked import Activation, StackedSystem


@dataclass(frozen=True)
class Plain:
    """A network as layers of torch.

    Attributes:
        layers: per recurrent layer its one or two directions. dense: dense layers, the readout last. activations: of each.
        last_step: whether the network is read at its last step alone (a backward direction at the first step, where it ends).
    """

    layers: list[list[nn.RNNBase]]
    dense: list[nn.Linear]
    activations: tuple[Activation, ...]
    last_step: bool = False


def plain_parts(model: SequenceModel | DynamicalSystem) -> Plain:
    """The layers of a network of ours.

    Raises:
        ConfigError: the network has parts that are no such layers, with the part.
    """
    if isinstance(model, LayeredNetwork):
        return Plain(model.directions(), model.head.layers, model.head.activations, model.spec.last_step)
    if isinstance(model, RecurrentSystem):
        return _of_system(model)
    if isinstance(model, StackedSystem):
        layers = [[layer] for block in model.parts() for layer in block.recurrent_layers()]
        return Plain(layers, model.head.layers, model.head.activations)
    if isinstance(model, SequenceClassifier):
        return _of_classifier(model)
    raise ConfigError(
        f"a model of type {type(model).__name__}",
        "a network of recurrent and dense layers: elman, gru, lstm, layered, classifier, or an imported one",
        "export its step with rs.to_onnx, or its weights: RUN/model.safetensors",
    )


def _of_system(system: RecurrentSystem) -> Plain:
    if system.skip:
        raise ConfigError(
            f"the network has {system.skip} taps from its input to its output",
            "recurrent layers and a readout alone",
            "train with skip=0, or export the step to ONNX, which holds the taps",
        )
    layers = [[layer] for layer in system.recurrent_layers()]
    weight = system.head.weight
    is_identity = system.head.bias is None and torch.equal(weight, torch.eye(*weight.shape).to(weight))
    return Plain(layers, [] if is_identity else [system.head], () if is_identity else ("linear",))


def _of_classifier(model: SequenceClassifier) -> Plain:
    what = {
        "convolutions before the recurrence": len(model.front) > 0,
        "slopes as further inputs": model.slopes is not None,
        f"the pooling {' + '.join(model.poolings)}": model.poolings != ("last",),
    }
    for part, there in what.items():
        if there:
            raise ConfigError(
                f"the classifier has {part}",
                "recurrent layers, read at each direction's last step, and a readout",
                "train with convolutions=0, differences=false and pooling=last; its weights stand in RUN/model.safetensors",
            )
    forward = [m for m in model.forward_layers if isinstance(m, nn.RNNBase)]
    backward = [m for m in model.backward_layers if isinstance(m, nn.RNNBase)]
    layers = [[one, *backward[i : i + 1]] for i, one in enumerate(forward)]
    return Plain(layers, [model.head], ("linear",), last_step=True)


def simplest(network: LayeredNetwork) -> SequenceModel:
    """The same network as one `RecurrentSystem` where it is one: layers alike, one direction, a linear readout."""
    system = next(iter(network.systems().values()))
    if isinstance(system, RecurrentSystem) and not network.is_bidirectional:
        return system.train(network.training)
    return network

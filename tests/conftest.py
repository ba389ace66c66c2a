"""Everything the tests share. First of all: the shapes and types written in signatures are checked while the tests run."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import jaxtyping
import pytest

# Not the whole package. `core.spec` says `typing.Self`, which beartype accepts only where it decorates the class itself;
# `numerics.kernels` is compiled by numba, which cannot read decorated functions; and the modules above these pass whole
# numbers where `float` is written, which Python allows and beartype does not.
CORE = (
    "driven",
    "errors",
    "forecast",
    "interfaces",
    "labelled",
    "linear_logits",
    "task_family",
    "padding",
    "loops",
    "closing",
    "random",
    "series",
    "sampling",
    "step_data",
    "system",
    "tables",
    "text",
    "vocabulary",
    "windows",
    "jacobians",
    "equilibria",
    "piecewise",
    "forcing",
    "free_runs",
    "marked_series",
    "linearised",
)
NUMERICS = (
    "backpropagation",
    "batched",
    "batched_mlp",
    "conjugate_gradients",
    "recurrent_passes",
    "logistic",
    "classification_metrics",
    "integrate",
    "markov_statistics",
    "metrics",
    "normal_equations",
    "pattern_strings",
    "regression",
    "sequence_statistics",
    "statistics",
    "anomaly_scores",
    "detection_metrics",
    "nulls",
    "pareto_tail",
    "delays",
    "plrnn_passes",
    "thresholds",
)
CHECKED = [
    *(f"rnnscope.core.{name}" for name in CORE),
    *(f"rnnscope.numerics.{name}" for name in NUMERICS),
    *(f"rnnscope.{name}" for name in ("models", "training", "tasks", "evaluation", "analysis", "markov", "dynamics")),
]
jaxtyping.install_import_hook(CHECKED, "beartype.beartype")

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch import Tensor  # noqa: E402

import rnnscope as rs  # noqa: E402
from rnnscope.models.recurrent_systems import RecurrentSystem  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """The same numbers on every machine, and room for the test processes beside this one."""
    torch.set_num_threads(1)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the shape checks of the test run: what a user sees who gives a wrong shape."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def small() -> rs.Experiment:
    """A whole experiment in a second or two: the quick sine with tiny sizes."""
    quick = rs.preset("sine-quick")
    return quick.but(
        task=quick.task.but(num_points=120, window=10),
        models={"gru": rs.GRU(hidden_size=4, num_layers=1)},
        trainer=rs.BPTT(epochs=2, learning_rate=5e-3),
        evaluation=rs.Forecasting(lead_times=5, origins=4, orders=(1, 2, 3)),
    )


FOLDER = Path(__file__).parent / "data" / "hmmrnn_early"


@cache
def read_early(name: str) -> RecurrentSystem:
    """One of the six early networks, float32."""
    weights = load_file(FOLDER / f"{name}.safetensors")
    system = RecurrentSystem("relu", 100, 150, 3, bias=False, readout_bias=False)
    own = {
        "layers.0.weight_ih_l0": "rnn.weight_ih_l0",
        "layers.0.weight_hh_l0": "rnn.weight_hh_l0",
        "head.weight": "fc.weight",
    }
    system.load_state_dict({ours: weights[theirs] for ours, theirs in own.items()})
    return system.eval().requires_grad_(False)


@pytest.fixture
def early() -> Callable[[str], RecurrentSystem]:
    return read_early


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


MEMORY, UP, DOWN, IDLE = range(4)
THRESHOLD = 1.2


@pytest.fixture
def kicked() -> rs.System:
    """A memory that only two kick units can turn over: m' = tanh(3 m + 8 u - 8 d), u' = relu(x_0 - c), d' = relu(-x_0 - c); a third unit
    relu(x_1) leads nowhere. Outputs are m and -m. The kick comes one step before the switch."""

    def step(state: Tensor, input: Tensor) -> Tensor:
        memory = torch.tanh(3 * state[:, MEMORY] + 8 * state[:, UP] - 8 * state[:, DOWN])
        drive = input[:, 0]
        units = [memory, torch.relu(drive - THRESHOLD), torch.relu(-drive - THRESHOLD), torch.relu(input[:, 1])]
        return torch.stack(units, 1)

    return rs.System(
        step,
        4,
        2,
        readout=lambda h: torch.stack([h[..., MEMORY], -h[..., MEMORY]], -1),
        output_size=2,
        initial=torch.tensor([0.9, 0.0, 0.0, 0.0]),
        dtype=torch.float64,
    )

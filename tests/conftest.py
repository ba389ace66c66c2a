"""Everything the tests share. First of all: the shapes and types written in signatures are checked while the tests run."""

from collections.abc import Iterator

import jaxtyping
import pytest

# Not the whole package. `core.spec` says `typing.Self`, which beartype accepts only where it decorates the class itself;
# `numerics.kernels` is compiled by numba, which cannot read decorated functions; and the modules above these pass whole
# numbers where `float` is written, which Python allows and beartype does not.
CORE = ("errors", "forecast", "interfaces", "loops", "random", "series", "system", "windows")
NUMERICS = ("batched", "integrate", "metrics", "regression", "statistics")
CHECKED = [
    *(f"rnnscope.core.{name}" for name in CORE),
    *(f"rnnscope.numerics.{name}" for name in NUMERICS),
    *(f"rnnscope.{name}" for name in ("models", "training", "tasks", "evaluation")),
]
jaxtyping.install_import_hook(CHECKED, "beartype.beartype")

import torch  # noqa: E402

import rnnscope as rs  # noqa: E402


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

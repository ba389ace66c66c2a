"""Echo state networks made elsewhere: reservoirpy's, and plain matrices in an NPZ file.

reservoirpy steps h_t = (1 - lr) h_{t-1} + lr tanh(W h_{t-1} + Win x_t + bias) and reads y_t = h_t Wout + bias_out, as ours does.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.models.reservoir_system import ReservoirSystem

NAMES = ("W", "Win", "bias", "leak", "Wout", "bias_out")
SAVING = (
    "np.savez('esn.npz', W=reservoir.W.toarray(), Win=reservoir.Win.toarray(), bias=reservoir.bias, leak=reservoir.lr, "
    "Wout=readout.Wout, bias_out=readout.bias)"
)
READOUTS = ("Ridge", "RLS", "LMS")


def from_reservoirpy(esn: Any) -> ReservoirSystem:
    """A copy of a reservoirpy network as our echo state network, float64; the original is left untouched.

    h_t = (1 - a) h_{t-1} + a tanh(W h_{t-1} + W_in x_t + b),  y_t = W_out^T h_t + c

    Args:
        esn: a fitted (or initialized) reservoirpy model (0.4) of a Reservoir and a readout (Ridge, RLS or LMS), or a Reservoir
            alone, whose states are then the outputs. Ours begins at h = 0: call `reset()` before comparing.

    Returns:
        A `ReservoirSystem`, which is a dynamical system itself.

    Raises:
        ConfigError: another node, feedback, an activation that is not tanh, a network that has not been initialized.

    Example:
        >>> import rnnscope as rs
        >>> net = rs.from_reservoirpy(reservoir >> ridge)                 # doctest: +SKIP
        >>> rs.lyapunov_spectrum(net)                                     # doctest: +SKIP
    """
    nodes = list(getattr(esn, "nodes", [esn]))
    kinds = [type(node).__name__ for node in nodes]
    for kind in kinds:
        if kind not in ("Input", "Output", "Reservoir", *READOUTS):
            raise ConfigError(
                f"the reservoirpy node {kind}",
                "one Reservoir and one readout (Ridge, RLS or LMS)",
                "give reservoir >> readout" if hasattr(esn, "nodes") else "give a reservoirpy Model or Reservoir",
            )
    reservoirs = [n for n, kind in zip(nodes, kinds, strict=True) if kind == "Reservoir"]
    readouts = [n for n, kind in zip(nodes, kinds, strict=True) if kind in READOUTS]
    if len(reservoirs) != 1 or len(readouts) > 1:
        raise ConfigError(
            f"{len(reservoirs)} reservoirs and {len(readouts)} readouts", "one of each", "give reservoir >> readout"
        )
    _check_edges(esn, reservoirs[0], readouts)
    reservoir = reservoirs[0]
    if not reservoir.initialized or callable(reservoir.W):
        raise ConfigError("the reservoir has no matrices yet", "a network that was fitted or run", "call fit or run first")
    activation = getattr(reservoir.activation, "__name__", str(reservoir.activation))
    if activation != "tanh":
        raise ConfigError(f"the reservoir's activation is {activation}", "tanh", "build it with activation='tanh'")
    found = {"W": reservoir.W, "Win": reservoir.Win, "bias": reservoir.bias, "leak": reservoir.lr}
    for readout in readouts:
        if readout.Wout is None or callable(readout.Wout):
            raise ConfigError("the readout has no weights yet", "a fitted network", "call fit first")
        found |= {"Wout": readout.Wout, "bias_out": readout.bias}
    return reservoir_from({name: _plain(value) for name, value in found.items()}, "the reservoirpy network")


def _check_edges(esn: Any, reservoir: Any, readouts: list[Any]) -> None:
    """Refuse connections other than input -> reservoir -> readout."""
    for parent, delay, child in getattr(esn, "edges", ()):
        if delay:
            raise ConfigError(
                f"a connection from {type(parent).__name__} to {type(child).__name__} with a delay of {delay}: feedback",
                "input -> reservoir -> readout",
                "train it without feedback: a forecaster's outputs come back as its inputs by rs.close_loop",
            )
        if readouts and child is readouts[0] and parent is not reservoir:
            raise ConfigError(
                f"the readout also reads {type(parent).__name__}",
                "a readout of the reservoir's states alone",
                "fit it without input_to_readout",
            )


def read_reservoir(path: str | Path) -> ReservoirSystem:
    """An echo state network from the matrices in an NPZ file; pickled objects in it are not opened.

    Names: W (N, N), Win (N, X), and optionally bias (N), leak (a number or N), Wout (N, Y) or (Y, N), bias_out (Y).
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"there is no file '{path}'", "an .npz file", "check the path")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        reason = "it holds a pickled object" if "pickle" in str(error) else str(error).splitlines()[0] if str(error) else "?"
        raise DataError(f"'{path}' cannot be read: {reason}", "an .npz file of plain arrays", f"save it as {SAVING}") from None
    unknown = [name for name in arrays if name not in NAMES]
    if unknown:
        raise DataError(f"'{path}' holds '{unknown[0]}'", f"the names {', '.join(NAMES)}", f"save it as {SAVING}")
    return reservoir_from(arrays, f"'{path}'")


def reservoir_from(arrays: dict[str, np.ndarray], source: str) -> ReservoirSystem:
    """Our echo state network from its matrices; without Wout its outputs are its states.

    Example:
        >>> import numpy as np
        >>> reservoir_from({"W": 0.5 * np.eye(3), "Win": np.ones((3, 2))}, "mine").state_size
        3
    """
    for name in ("W", "Win"):
        if name not in arrays:
            raise DataError(f"{source} lacks '{name}'", "W (N, N) and Win (N, X) at least", f"save it as {SAVING}")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise DataError(f"{source}: '{name}' is not made of finite numbers", "finite real numbers", "check how it was made")
    recurrent = _shaped(arrays["W"], "W", "(N, N)", source, lambda s: len(s) == 2 and s[0] == s[1] > 0)
    units = len(recurrent)
    drive = _shaped(arrays["Win"], "Win", f"({units}, X)", source, lambda s: len(s) == 2 and s[0] == units and s[1] > 0)
    bias = _each(arrays.get("bias", np.zeros(1)), units, "bias", source)
    leak = _each(arrays.get("leak", np.ones(1)), units, "leak", source)
    if leak.min() <= 0 or leak.max() > 1:
        raise DataError(f"{source}: leak goes from {leak.min():g} to {leak.max():g}", "above 0 and at most 1", "check it")
    if "Wout" in arrays:
        given = _shaped(arrays["Wout"], "Wout", f"({units}, Y)", source, lambda s: len(s) == 2 and units in s)
        readout = given.T if given.shape[0] == units else given
    else:
        readout = np.eye(units)
    shift = _each(arrays.get("bias_out", np.zeros(1)), len(readout), "bias_out", source)
    degree = max(1, int((recurrent != 0).sum(1).max()))
    sources = np.argsort(recurrent == 0, axis=1, kind="stable")[:, :degree]
    system = ReservoirSystem(
        torch.from_numpy(sources),
        torch.from_numpy(np.take_along_axis(recurrent, sources, 1)),
        torch.from_numpy(drive),
        torch.from_numpy(bias),
        torch.from_numpy(leak),
        None,
        len(readout),
    )
    system.set_readout(torch.from_numpy(readout.copy()), torch.from_numpy(shift))
    return system.eval()


def _shaped(array: np.ndarray, name: str, wanted: str, source: str, fits: Any) -> np.ndarray:
    if not fits(array.shape):
        raise DataError(f"{source}: '{name}' has shape {array.shape}", wanted, "check that the matrices belong together")
    return np.array(array, np.float64)


def _each(array: np.ndarray, count: int, name: str, source: str) -> np.ndarray:
    """One number per unit, from one number or as many."""
    flat = np.array(array, np.float64).ravel()
    if flat.size not in (1, count):
        raise DataError(
            f"{source}: '{name}' has shape {array.shape}", f"({count},) or one number", "check which network it is of"
        )
    return np.array(np.broadcast_to(flat, (count,)))


def _plain(value: Any) -> np.ndarray:
    """An array, whether it was sparse or not."""
    return np.asarray(value.toarray() if hasattr(value, "toarray") else value)

"""The Santa Fe laser: intensity pulses of a far-infrared laser in chaos (Hübner et al. 1989; set A of Weigend & Gershenfeld 1994)."""

import importlib.util
from pathlib import Path

import numpy as np

from rnnscope.core.errors import DataError
from rnnscope.tasks.forecasting import Recording
from rnnscope.tasks.table import Table, read_table

_INSIDE = "datasets/santafe_laser.npy"


class SantaFeLaser(Table):
    """Forecast the Santa Fe laser, 10,093 intensities of 8 bits.

    The series does not ship with rnnscope. Without a `path` it is read, not imported, from the package reservoirpy where that is installed.
    """

    unit: str = "8-bit counts"

    def record(self, rng: np.random.Generator) -> Recording:
        file = self.path or packaged_laser()
        return self.from_frame(read_table(str(file)), Path(file).name)


def packaged_laser() -> Path:
    """The file inside the package reservoirpy, which is not imported.

    Raises:
        DataError: the package is not installed, or lacks the file.
    """
    spec = importlib.util.find_spec("reservoirpy")
    file = Path(spec.origin).parent / _INSIDE if spec is not None and spec.origin else None
    if file is None or not file.is_file():
        raise DataError(
            "the Santa Fe laser series is not on this machine: it does not ship with rnnscope",
            "the package reservoirpy, whose file is read, or a file of your own",
            "pip install 'rnnscope[laser]', or set task.path=laser.csv",
        )
    return file

"""Moved to core.jacobians."""

from rnnscope.core.jacobians import input_jacobians as input_jacobians
from rnnscope.core.jacobians import readout_jacobians as readout_jacobians
from rnnscope.core.jacobians import state_jacobians as state_jacobians

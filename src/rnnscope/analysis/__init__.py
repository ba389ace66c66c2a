"""How a trained system moves: analyses come with the next release of the layer below this one."""

"""What networks learned: dynamics under noise, fixed points, components, units that matter. Functions over `DynamicalSystem`."""

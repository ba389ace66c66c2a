"""What a dynamical system does: fixed points, cycles, attractors, Lyapunov exponents, memory, gradients, geometry."""

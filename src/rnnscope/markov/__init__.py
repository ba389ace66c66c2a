"""Hidden Markov models as objects: parameters, families, inference, learning, and the belief filter as a dynamical system."""

"""The nouns: dynamical systems, sequence models, specs, random streams, errors."""

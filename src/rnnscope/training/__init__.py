"""Algorithms that fit a model: each starts a run, an iterator of records."""

"""Honest scores: on data that training did not see, always beside baselines."""

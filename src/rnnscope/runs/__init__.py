"""The run folder on disk and the report made from it."""

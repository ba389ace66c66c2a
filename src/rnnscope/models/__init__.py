"""Recurrent models: their step in the open, their fused paths, their initialisation."""

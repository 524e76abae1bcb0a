"""Helpers around the engine: ``utils.checkpoint``."""

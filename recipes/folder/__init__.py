"""The run folder: its files, checkpoints, metrics and lock."""

"""Decoding steps: whole layers in one call."""

"""Attention in tiles that stay in cache, and rotary positions."""

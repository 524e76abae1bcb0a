"""How good written or tagged text is."""

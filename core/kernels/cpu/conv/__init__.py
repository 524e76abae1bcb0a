"""Convolutions: which way each goes, and the ways."""

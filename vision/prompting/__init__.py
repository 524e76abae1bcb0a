"""Masks of whatever points and boxes show in a picture, or of everything in it."""

"""Normalisations, softmax, and cross entropy."""

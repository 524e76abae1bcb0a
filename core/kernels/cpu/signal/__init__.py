"""Pooling, resampling, spectra."""

"""Where in a picture a model looks: ``grids`` computes it, ``pipeline`` does it for pictures, ``drawing`` shows it."""

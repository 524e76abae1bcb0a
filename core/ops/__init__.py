"""Differentiable operations, one family a file. ``nyala.add``, ``nyala.nn.functional.conv2d`` and tensor methods are these."""

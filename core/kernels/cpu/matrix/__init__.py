"""Products of matrices, with what follows them while it is hot."""

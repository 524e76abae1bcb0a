"""Functions of each element, sums and extremes, rows by index, random numbers."""

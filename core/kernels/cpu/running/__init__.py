"""How kernels are compiled, kept on the disk, and run on all processors."""

"""How sources in CUDA C++ are compiled, kept on the disk, loaded and launched."""

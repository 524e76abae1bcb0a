"""The architectures of audio, one file each."""

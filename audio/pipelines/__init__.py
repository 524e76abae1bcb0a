"""What `nyala.load` returns for models of sound, one task a file."""

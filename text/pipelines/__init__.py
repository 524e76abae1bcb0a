"""What `nyala.load` returns for models of text, one task a file."""

"""What families of architectures have in common."""

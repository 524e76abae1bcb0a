"""Sound. Nothing is here yet; see the README of this folder."""

"""Sound: front ends so far; see the README of this folder."""

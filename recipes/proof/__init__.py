"""What makes a run evidence: hashes, the manifest, and repeating or comparing runs."""

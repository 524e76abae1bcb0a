"""Sound: files, front ends, datasets, architectures, pipelines."""

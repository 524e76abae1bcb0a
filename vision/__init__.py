"""Images: reading, preprocessing, datasets, architectures, pipelines."""

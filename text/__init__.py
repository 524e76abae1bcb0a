"""Text: tokenizers, datasets, architectures, pipelines."""

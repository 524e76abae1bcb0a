"""From text to numbers: tokenizers as they were published, and of one's own."""

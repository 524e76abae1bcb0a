"""From a letter for each frame to text: alphabets, search, language models, alignment."""

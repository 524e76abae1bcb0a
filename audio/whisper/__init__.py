"""From what Whisper's encoder heard to text: tokens, search, times of words, long sounds."""

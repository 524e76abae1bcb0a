"""Text architectures, one a file; the hub imports each when a card or a ``config.json`` names it."""

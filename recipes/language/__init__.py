"""What a recipe may say, and how it is read: schema, checks, origins of values, documentation."""

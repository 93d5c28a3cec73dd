"""The words that all rooms speak; they know the standard library and msgspec alone."""

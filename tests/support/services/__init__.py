"""The real servers that tests need: what `scripts/services` is made of."""

"""Compiled twins of the core's accounting: one path, many rules, many paths, and the price index."""

"""The benchmark: Gearing against straight per-bar loops and vectorbt, on the reference job (`python -m bench`)."""

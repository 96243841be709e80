"""The documentation's own tools: reference pages made from the code, and formulas without scripts."""

"""The paper exchange: a venue with invented money, real rules, and every fault that a real one has."""

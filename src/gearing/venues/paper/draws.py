"""Random draws whose whole state is one integer, so that it is saved with the rest and a seed repeats a run."""

from __future__ import annotations

_MASK = 2**64 - 1


class Draws:
    """A generator of random numbers.

    Args:
        state: its seed, or where it stood.

    Source: SplitMix64; G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators" (2014).
    """

    __slots__ = ("state",)

    def __init__(self, state: int) -> None:
        self.state = state & _MASK

    def bits(self) -> int:
        """Returns 64 random bits."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        z = ((self.state ^ (self.state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def uniform(self) -> float:
        """Returns a number in [0, 1)."""
        return (self.bits() >> 11) * 2.0**-53

    def chance(self, rate: float) -> bool:
        """Returns whether something that happens at this rate happens now; a rate of 0 draws nothing."""
        return rate > 0.0 and self.uniform() < rate

    def below(self, count: int) -> int:
        """Returns an integer in [0, count); 0 where count is not above 0."""
        return self.bits() % count if count > 0 else 0

"""Where a token's portfolio trades."""

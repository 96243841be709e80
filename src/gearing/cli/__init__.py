"""The command line: thin commands over the study, the market and the core."""

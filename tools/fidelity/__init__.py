"""How near the engine comes to real listed products: `python -m tools.fidelity`."""

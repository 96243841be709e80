"""The desk's proofs at length: simulation, crashes, mutations."""

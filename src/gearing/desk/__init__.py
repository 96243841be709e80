"""The live runner: it wires feeds, a store and a venue to the driver."""

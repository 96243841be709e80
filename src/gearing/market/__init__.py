"""Price and funding series: immutable records, readers, invented markets, downloads."""

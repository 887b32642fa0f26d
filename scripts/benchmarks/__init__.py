"""What the benchmarks in scripts/ consist of: the data, the systems, the loss they share, and the tables of results."""

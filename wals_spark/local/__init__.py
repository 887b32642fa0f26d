"""Training without Spark: the loop over blocks in one process, for tests and small data; synthetic interactions."""

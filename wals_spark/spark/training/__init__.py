"""Training on Spark: blocks built, weighted and cached; the loop of half-iterations; what a task does."""

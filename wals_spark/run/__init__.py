"""A training run: its schedule, convergence, events, progress and manifest."""

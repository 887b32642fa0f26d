"""Hyperparameter search: which settings to try next, and the leaderboard of finished trials."""

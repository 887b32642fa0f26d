"""Exact top-k and ranks, and explanations of a score."""

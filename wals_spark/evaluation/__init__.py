"""Ranking metrics of a batch of users, and their intervals."""

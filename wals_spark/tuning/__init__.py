"""A search over settings: what to try next, and the leaderboard."""

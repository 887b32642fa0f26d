"""Serving without Spark: fold-in of users, and item vectors and an index for search engines."""

"""What serves a model without Spark: fold-in of one user, vectors and an index for search engines."""

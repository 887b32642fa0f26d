"""A model on storage: published, opened, reported."""

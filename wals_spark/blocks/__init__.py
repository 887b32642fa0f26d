"""In-blocks and out-blocks: built, weighted, assigned to partitions, encoded for the wire and for the cache."""

"""A night on Spark: data kept and judged, a candidate trained, compared and served, old versions removed."""

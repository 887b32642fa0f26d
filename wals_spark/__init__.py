"""Weighted alternating least squares on Apache Spark; this package imports without pyspark installed."""

__version__ = "0.1.0"

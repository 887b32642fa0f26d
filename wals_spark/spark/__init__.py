"""The stages of a training run on Spark, one file each, in the order of the data: only here is pyspark known."""

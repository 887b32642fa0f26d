"""Trains in a notebook, in more than one task, and prints what is below the cell then."""

from __future__ import annotations

import nbformat
from nbconvert.preprocessors import ExecutePreprocessor

CELL = """
from pyspark.sql import SparkSession
from wals_spark.ml import WALS
spark = SparkSession.builder.master("local[2]").getOrCreate()
pairs = spark.range(2000).selectExpr("int(id % 60) user", "int(id % 50) item", "float(1 + id % 3) rating")
model = WALS(rank=2, maxIter=2, numUserBlocks=2).fit(pairs)
"""

notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
ExecutePreprocessor(timeout=300, kernel_name="python3").preprocess(notebook)
for output in notebook.cells[0].outputs:
    if output.output_type == "display_data":
        print(output.data["text/plain"])

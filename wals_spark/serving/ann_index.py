"""An HNSW index for approximate search in Faiss's file format; the extra `index` installs Faiss.

Faiss ranks by the inner product itself, so the index holds the item factors as they are. An index of the augmented
unit vectors (`vectors.py`) has a lower recall (docs/serving.md has the numbers).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wals_spark.arrays.types import Float32Array
from wals_spark.errors import ConfigError
from wals_spark.settings.export import Precision

_BATCH_ROWS = 65_536
_TRAINING_ROWS = 65_536  # rows that the quantizer learns the range of each coordinate from


def require_faiss() -> Any:
    """The faiss module.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ConfigError(
            "export.index = hnsw needs Faiss: pip install 'wals_spark[index]', or set it to none"
        ) from error
    return faiss


def build_index(
    items: Float32Array, *, precision: Precision, neighbours: int, build_effort: int, search_effort: int
) -> Any:
    """Build an HNSW graph (Malkov and Yashunin 2018) of items, shape (n, width); a search returns row numbers.

    Parameters
    ----------
    precision : str
        Of the vectors in the index; int8 is Faiss's scalar quantizer, with a range per coordinate.
    neighbours, build_effort, search_effort : int
        HNSW's M, efConstruction and efSearch; the last is stored in the file and can be changed after reading.
    """
    faiss = require_faiss()
    width = items.shape[1]
    if precision == "float32":
        index = faiss.IndexHNSWFlat(width, neighbours, faiss.METRIC_INNER_PRODUCT)
    else:
        quantizer = faiss.ScalarQuantizer.QT_fp16 if precision == "float16" else faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexHNSWSQ(width, quantizer, neighbours, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = build_effort, search_effort
    if not index.is_trained:
        index.train(np.ascontiguousarray(items[:: max(1, len(items) // _TRAINING_ROWS)]))
    for begin in range(0, len(items), _BATCH_ROWS):
        index.add(np.ascontiguousarray(items[begin : begin + _BATCH_ROWS]))
    return index

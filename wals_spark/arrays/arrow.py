"""Flat numbers and bytes between NumPy and Arrow by their buffers.

PyArrow's own ways (``pa.array``, ``pa.scalar``, ``to_numpy``, ``np.asarray`` of an array, ``pc.fill_null``) import
pandas where it is installed: 50 MiB and 0.4 s for every worker, which has no other use for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wals_spark.arrays.types import AnyArray


def as_arrow(values: AnyArray) -> pa.Array:
    """Integers or floats, shape (n,), as Arrow; not a copy where they lie one beside the other.

    Raises
    ------
    TypeError
        If they are of any other kind: Arrow keeps those in another way.
    """
    numbers = np.ascontiguousarray(values)
    arrow_type = pa.from_numpy_dtype(_numeric(numbers.dtype))
    return pa.Array.from_buffers(arrow_type, len(numbers), [None, pa.py_buffer(numbers)])


def as_numpy(array: pa.Array | pa.ChunkedArray, *, null: int | None = None) -> AnyArray:
    """Integers or floats as NumPy, shape (n,); of one chunk not a copy, and so not to be written to.

    Parameters
    ----------
    null
        What stands for nulls.

    Raises
    ------
    TypeError
        If Arrow has anything else.
    ValueError
        If there are nulls and nothing stands for them.
    """
    dtype = _numeric(np.dtype(array.type.to_pandas_dtype()))
    if array.null_count and null is None:
        raise ValueError(f"{array.null_count} of {len(array)} numbers are null")
    if array.null_count:
        array = pc.coalesce(array, as_arrow(np.array([null], dtype=dtype))[0])
    chunks = [_flat(chunk, dtype) for chunk in (array.chunks if isinstance(array, pa.ChunkedArray) else [array])]
    if len(chunks) == 1:
        return chunks[0]
    return np.concatenate(chunks) if chunks else np.empty(0, dtype=dtype)


def as_binary(values: Sequence[bytes], arrow_type: pa.DataType | None = None) -> pa.Array:
    """Bytes as Arrow's ``binary``, or as ``string``, whose layout is the same; a single one is not copied."""
    offsets = np.cumsum([0, *map(len, values)])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"{offsets[-1]} bytes do not fit into an array of Arrow's")
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(arrow_type or pa.binary(), len(values), buffers)


def _flat(chunk: pa.Array, dtype: np.dtype[Any]) -> AnyArray:
    if not len(chunk):
        return np.empty(0, dtype=dtype)  # it may have no buffer
    numbers = np.frombuffer(chunk.buffers()[1], dtype=dtype, count=len(chunk), offset=chunk.offset * dtype.itemsize)
    numbers.flags.writeable = False  # others may have the same buffer
    return numbers


def _numeric(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind not in "iuf":
        raise TypeError(f"{dtype} is not a kind of number that NumPy and Arrow keep alike")
    return dtype

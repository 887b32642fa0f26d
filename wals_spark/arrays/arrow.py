"""Numbers and bytes between NumPy and Arrow through their buffers, without importing pandas.

PyArrow's conversions (``pa.array``, ``pa.scalar``, ``to_numpy``, ``np.asarray`` of an array, ``pc.fill_null``) import
pandas where it is installed: 50 MiB and 0.4 s per worker, which does not use it otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wals_spark.arrays.types import AnyArray


def as_arrow(values: AnyArray) -> pa.Array:
    """Integers or floats, shape (n,), as an Arrow array; not copied if they are contiguous.

    Raises
    ------
    TypeError
        If they are of another type: Arrow and NumPy store it differently.
    """
    contiguous = np.ascontiguousarray(values)
    arrow_type = pa.from_numpy_dtype(_require_numeric(contiguous.dtype))
    return pa.Array.from_buffers(arrow_type, len(contiguous), [None, pa.py_buffer(contiguous)])


def as_numpy(array: pa.Array | pa.ChunkedArray, *, null: int | None = None) -> AnyArray:
    """Integers or floats as a NumPy array, shape (n,); a single chunk is not copied and therefore read-only.

    Parameters
    ----------
    null
        The value that replaces nulls.

    Raises
    ------
    TypeError
        If the array is of another type.
    ValueError
        If there are nulls and no value replaces them.
    """
    dtype = _require_numeric(np.dtype(array.type.to_pandas_dtype()))
    if array.null_count and null is None:
        raise ValueError(f"{array.null_count} of {len(array)} numbers are null")
    if array.null_count:
        array = pc.coalesce(array, as_arrow(np.array([null], dtype=dtype))[0])
    chunks = [_view(chunk, dtype) for chunk in (array.chunks if isinstance(array, pa.ChunkedArray) else [array])]
    if len(chunks) == 1:
        return chunks[0]
    return np.concatenate(chunks) if chunks else np.empty(0, dtype=dtype)


def as_binary(values: Sequence[bytes], arrow_type: pa.DataType | None = None) -> pa.Array:
    """Bytes as Arrow's ``binary``, or as ``string``, which has the same layout; a single value is not copied."""
    offsets = np.cumsum([0, *map(len, values)])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"{offsets[-1]} bytes do not fit into an Arrow binary array, which has 32-bit offsets")
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(arrow_type or pa.binary(), len(values), buffers)


def _view(chunk: pa.Array, dtype: np.dtype[Any]) -> AnyArray:
    """The values of a chunk without nulls as a read-only view of its buffer."""
    if not len(chunk):
        return np.empty(0, dtype=dtype)  # an empty chunk may have no buffer
    values = np.frombuffer(chunk.buffers()[1], dtype=dtype, count=len(chunk), offset=chunk.offset * dtype.itemsize)
    values.flags.writeable = False  # other arrays may share the buffer
    return values


def _require_numeric(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind not in "iuf":
        raise TypeError(f"{dtype} is not a numeric type that NumPy and Arrow store alike")
    return dtype

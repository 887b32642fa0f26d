from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wals_spark.arrays.arrow import as_arrow, as_binary, as_numpy

DTYPES = [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)] + ["float32", "float64"]
numbers = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, st.integers(0, 30)))


def bits(values):
    """For comparisons in which nan equals nan."""
    return values.dtype, values.tobytes()


@given(numbers, st.integers(-3, 3).filter(bool))
def test_conversion_equals_pyarrows_for_any_stride(values, step):
    array = as_arrow(values[::step])
    array.validate(full=True)
    expected = pa.array(values[::step])
    assert (array.type, array.null_count) == (expected.type, 0)
    assert bits(expected.to_numpy()) == bits(as_numpy(array)) == bits(values[::step])


@given(numbers, st.lists(st.integers(0, 30), max_size=4))
def test_chunks_are_concatenated(values, cuts):
    array = as_arrow(values)
    bounds = [0, *sorted(cuts), len(values)]
    chunks = [array.slice(begin, max(0, end - begin)) for begin, end in pairwise(bounds)]
    for chunk in chunks:
        assert bits(as_numpy(chunk)) == bits(chunk.to_numpy())
    chunked = pa.chunked_array(chunks, type=array.type)
    assert bits(as_numpy(chunked)) == bits(values)
    assert bits(as_numpy(pa.chunked_array([], type=array.type))) == bits(values[:0])


def test_a_single_chunk_is_a_read_only_view():
    values = np.arange(5)
    for array in (as_arrow(values).slice(1), pa.chunked_array([as_arrow(values).slice(1)])):
        view = as_numpy(array)
        assert np.shares_memory(view, values)
        assert not view.flags.writeable


def test_nulls_are_refused_unless_a_value_replaces_them():
    array = pa.array([7, None, 9], type=pa.int32())
    assert bits(as_numpy(array, null=-1)) == bits(np.array([7, -1, 9], dtype=np.int32))
    assert as_numpy(pa.chunked_array([array, array.slice(1)]), null=0).tolist() == [7, 0, 9, 0, 9]
    assert as_numpy(array.slice(2)).tolist() == [9]
    with pytest.raises(ValueError, match="1 of 3 numbers are null"):
        as_numpy(array)


@pytest.mark.parametrize("array", [pa.array([True]), pa.array(["a"]), pa.nulls(1), pa.array([0], pa.timestamp("us"))])
def test_arrow_types_other_than_numbers_are_refused(array):
    with pytest.raises(TypeError, match="is not a numeric type that NumPy and Arrow store alike"):
        as_numpy(array)


def test_booleans_are_refused_because_arrow_packs_them():
    with pytest.raises(TypeError, match="bool is not a numeric type"):
        as_arrow(np.array([True]))


@given(st.lists(st.text(max_size=5), max_size=5))
def test_strings_and_bytes_round_trip(texts):
    encoded = [text.encode() for text in texts]
    assert as_binary(encoded).to_pylist() == encoded
    strings = as_binary(encoded, pa.string())
    strings.validate(full=True)
    assert strings.to_pylist() == texts


def test_a_single_binary_value_is_not_copied():
    payload = bytes(1000)
    address = np.frombuffer(payload, dtype=np.uint8).ctypes.data
    assert as_binary([payload]).buffers()[2].address == address


def test_conversion_does_not_import_pandas():
    pytest.importorskip("pandas")
    program = (
        "import sys, numpy as np, pyarrow as pa; from wals_spark.arrays.arrow import as_arrow, as_binary, as_numpy;"
        "a = as_arrow(np.arange(5)); as_numpy(pa.chunked_array([a, pa.nulls(2, a.type)]), null=1); as_binary([b'x']);"
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

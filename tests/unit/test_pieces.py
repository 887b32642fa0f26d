from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.blocks.records import RECORD_BYTES, cut, cut_ids, join, join_ids


@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 100), st.randoms(use_true_random=False))
def test_pieces_in_any_order_join_to_what_was_cut(n, width, record_bytes, random):
    array = np.arange(n * width, dtype=np.float32).reshape(n, width)
    records = list(cut("factors", array, record_bytes=record_bytes))
    random.shuffle(records)
    np.testing.assert_array_equal(join(records, np.float32).reshape(-1, width), array)
    assert all(len(record.payload) <= max(record_bytes, 4 * width) for record in records)


@given(
    st.one_of(st.lists(st.text()), st.lists(st.integers(-(2**63), 2**63 - 1))),
    st.integers(1, 64),
    st.randoms(use_true_random=False),
)
def test_ids_join_to_what_was_cut_with_their_type(values, record_bytes, random):
    ids = pa.array(values, type=pa.string() if values and isinstance(values[0], str) else pa.int64())
    records = list(cut_ids("ids", ids, record_bytes=record_bytes))
    random.shuffle(records)
    joined = join_ids(records)
    assert joined.to_pylist() == values
    assert not values or joined.type == ids.type


def test_a_hundred_pieces_stay_below_the_size_a_record_may_have():
    assert 100 * RECORD_BYTES <= 256 * 2**20
    whole = np.zeros(3 * RECORD_BYTES // 4 + 1, dtype=np.float32)
    assert [len(record.payload) for record in cut("x", whole)] == [RECORD_BYTES] * 3 + [4]

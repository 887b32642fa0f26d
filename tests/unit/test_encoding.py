from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.blocks.encoding import (
    RECORD_BYTES,
    MappedArrays,
    RecordArrays,
    cut,
    cut_ids,
    group_records,
    join,
    join_ids,
    to_records,
)
from wals_spark.blocks.in_out import InBlock, OutBlock
from wals_spark.blocks.weighted import WeightedBlock


@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 100), st.randoms(use_true_random=False))
def test_records_in_any_order_join_to_what_was_cut(n, width, record_bytes, random):
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


def test_100_records_stay_below_the_256_mib_of_a_spark_record():
    assert 100 * RECORD_BYTES <= 256 * 2**20
    whole = np.zeros(3 * RECORD_BYTES // 4 + 1, dtype=np.float32)
    assert [len(record.payload) for record in cut("x", whole)] == [RECORD_BYTES] * 3 + [4]


BLOCKS = [
    InBlock.of(np.array([0, 2, 3]), np.array([0, 1, 1]), np.array([3.0, 1.0, 3.0]), np.array([0, 1, 2]), np.ones(3)),
    OutBlock.of({3: np.array([0, 2]), 1: np.array([1])}),
    WeightedBlock(
        np.array([0, 1]), np.array([0], dtype=np.uint16), np.array([0, 1]), np.array([0], dtype=np.int32),
        np.array([0.5], dtype=np.float32), np.array([1.0], dtype=np.float32), np.array([0.1]),
    ),
]  # fmt: skip


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.kind)
@pytest.mark.parametrize("peer", [0, 7])
def test_a_block_reads_alike_from_records_and_from_files(block, peer, tmp_path):
    arrays = list(block.arrays(peer=peer))
    from_records = RecordArrays(group_records(to_records(arrays)))
    from_files = MappedArrays(tmp_path)
    from_files.save(arrays)
    for source in (from_records, from_files):
        assert source.peers(block.kind) == [peer]
        read = type(block).read(source, peer=peer)
        for name, array_peer, values in arrays:
            field = getattr(read, name.partition(".")[2])
            assert (array_peer, field.dtype) == (peer, values.dtype)
            np.testing.assert_array_equal(field, values)


def test_an_out_block_maps_destinations_to_rows():
    out_block = BLOCKS[1]
    assert {destination: rows.tolist() for destination, rows in out_block.items()} == {1: [1], 3: [0, 2]}
    assert 2 not in out_block
    assert len(OutBlock.read(RecordArrays({}))) == len(OutBlock.of({})) == 0

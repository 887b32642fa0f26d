from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.blocks.assignment import N_BUCKETS, Assignment, bucket_of
from wals_spark.blocks.build import build_column_block, build_row_block
from wals_spark.blocks.encoding import to_records
from wals_spark.local.blocks import Interactions, build_blocks

ids = st.one_of(
    st.lists(st.tuples(st.text(min_size=1, max_size=4), st.text(min_size=1, max_size=3)), min_size=1, max_size=40),
    st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 6)), min_size=1, max_size=40),
)


def reconstruct(solved, fixed, of=lambda in_block: in_block.ratings):
    """The matrix that a side's in-blocks and the other side's out-blocks hold together: ratings, or others ``of``."""
    entries = {}
    for block, in_block in enumerate(solved.in_blocks):
        received, values = [], of(in_block)
        for source, out_block in enumerate(fixed.out_blocks):
            rows = fixed.ids[source].take(pa.array(out_block[block])).to_pylist() if block in out_block else []
            if in_block.n_rows:
                assert len(rows) == in_block.offsets[source + 1] - in_block.offsets[source]
            received += rows
        row_ids = solved.ids[block].to_pylist()
        assert len(row_ids) == in_block.n_rows
        for row, row_id in enumerate(row_ids):
            for at in range(in_block.indptr[row], in_block.indptr[row + 1]):
                entries[row_id, received[in_block.positions[at]]] = values[at]
    return entries


@given(ids, st.integers(1, 5), st.integers(1, 5))
def test_both_sides_hold_one_matrix_and_send_what_is_needed(pairs, user_blocks, item_blocks):
    users, items = zip(*pairs, strict=True)
    ratings = np.arange(1, len(pairs) + 1, dtype=np.float64)
    expected: dict = {}
    for pair, rating in zip(pairs, ratings, strict=True):
        expected[pair] = expected.get(pair, 0.0) + rating
    user_side, item_side, duplicates = build_blocks(
        Interactions(users, items, ratings), user_blocks=user_blocks, item_blocks=item_blocks
    )
    assert reconstruct(user_side, item_side) == expected
    assert {(u, i): r for (i, u), r in reconstruct(item_side, user_side).items()} == expected
    assert duplicates.rows == len(pairs) - len(expected)
    needed = sum(len({i for v, i in expected if v in set(ids.to_pylist())}) for ids in user_side.ids)
    assert sum(len(rows) for out in item_side.out_blocks for rows in out.values()) == needed


def test_the_example_of_in_out_is_built_as_it_says():
    column_blocks = np.zeros(N_BUCKETS, dtype=np.int32)
    column_blocks[bucket_of(pa.array(["i7"]))] = 1
    user_block = build_row_block(
        pa.chunked_array([["bob", "ann", "bob", "ann"]]),
        pa.chunked_array([["i4", "i7", "i1", "i1"]]),
        np.ones(4),
        Assignment(2, column_blocks),
    )
    assert user_block.ids.to_pylist() == ["ann", "bob"]
    assert user_block.in_block.indptr.tolist() == [0, 2, 4]
    assert user_block.in_block.positions.tolist() == [0, 2, 0, 1]
    assert user_block.in_block.offsets.tolist() == [0, 2, 3]
    item_block_0 = build_column_block({0: user_block.columns[0]}, n_row_blocks=1)
    assert item_block_0.ids.to_pylist() == ["i1", "i4"]
    assert item_block_0.out_block[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("policy", "expected"), [("sum", 10.0), ("max", 5.0), ("last", 3.0), ("refuse", 10.0), ("mean", 10.0 / 3.0)]
)
def test_several_ratings_of_one_pair_become_one(policy, expected):
    interactions = Interactions(list("uuuv"), list("iiii"), [5.0, 3.0, 2.0, 7.0], timestamps=[1.0, 9.0, 9.0, 0.0])
    user_side, _, duplicates = build_blocks(interactions, duplicates=policy)
    assert user_side.in_blocks[0].ratings.tolist() == pytest.approx([expected, 7.0])
    assert duplicates == (2, (("u", "i"),))


@pytest.mark.parametrize(("policy", "expected"), [("sum", 2.0), ("max", 4.0), ("last", 0.5), ("mean", 6.0)])
def test_weights_of_one_pair_are_merged_as_the_policy_says(policy, expected):
    times, weights = [1.0, 9.0, 2.0, 0.0], [4.0, 0.5, 1.5, 3.0]
    interactions = Interactions(list("uuuv"), list("iiii"), [5.0, 3.0, 2.0, 7.0], timestamps=times, weights=weights)
    user_side, item_side, _ = build_blocks(interactions, duplicates=policy)
    assert user_side.in_blocks[0].weights.tolist() == [expected, 3.0]
    assert item_side.in_blocks[0].weights.tolist() == [expected, 3.0]


def test_merged_means_have_the_objective_of_their_rows():
    """But for a constant; in several blocks, some with repeated pairs and some without."""
    rng = np.random.default_rng(3)
    users, items, ratings = rng.integers(0, 6, 60), rng.integers(0, 40, 60), rng.normal(3.0, 1.0, 60)
    sides = build_blocks(Interactions(users, items, ratings), user_blocks=5, item_blocks=3, duplicates="mean")[:2]
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(40, 3))
    of_rows = ((ratings - np.einsum("nf,nf->n", x[users], y[items])) ** 2).sum()
    pairs: dict = {}
    for pair, rating in zip(zip(users.tolist(), items.tolist(), strict=True), ratings, strict=True):
        pairs.setdefault(pair, []).append(rating)
    constant = sum(np.var(of_pair) * len(of_pair) for of_pair in pairs.values())
    for (solved, fixed), (rows, columns) in ((sides, (x, y)), (sides[::-1], (y, x))):
        means, weights = reconstruct(solved, fixed), reconstruct(solved, fixed, weights_of)
        merged = sum(weights[r, c] * (mean - rows[r] @ columns[c]) ** 2 for (r, c), mean in means.items())
        assert merged + constant == pytest.approx(of_rows)


def weights_of(in_block):
    return in_block.weights if len(in_block.weights) else np.ones(len(in_block.positions))


@given(ids, st.integers(1, 20))
def test_ids_encoded_by_chunk_build_the_same_blocks(pairs, rows_per_chunk):
    users, items = (pa.array(side) for side in zip(*pairs, strict=True))
    cuts = range(0, len(pairs), rows_per_chunk)
    plain = [pa.chunked_array([side]) for side in (users, items)]
    encoded = [
        pa.chunked_array([side.slice(cut, rows_per_chunk).dictionary_encode() for cut in cuts])
        for side in (users, items)
    ]
    column_blocks = np.arange(N_BUCKETS, dtype=np.int32) % 3
    one, other = (
        build_row_block(*sides, np.ones(len(pairs)), Assignment(3, column_blocks)) for sides in (plain, encoded)
    )
    assert one.ids.equals(other.ids)
    assert [*to_records(one.in_block.arrays())] == [*to_records(other.in_block.arrays())]
    assert {block: [*part.records(block)] for block, part in one.columns.items()} == {
        block: [*part.records(block)] for block, part in other.columns.items()
    }


@given(st.permutations(range(12)))
def test_merged_duplicates_do_not_depend_on_arrival(order):
    ratings = np.array([0.1, 0.7, 1e-9, 3.3, 1e7, 2.2, 0.1, 0.3, 1e-3, 5.0, 0.9, 1.1])
    order = np.array(order)
    merged = [
        build_blocks(Interactions(["u"] * 12, ["i"] * 12, ratings[o]))[0].in_blocks[0].ratings.tobytes()
        for o in (np.arange(12), order)
    ]
    assert merged[0] == merged[1]


def test_ids_of_zero_and_of_64_bits_keep_their_value():
    extreme = [0, -1, 2**63 - 1, -(2**63)]
    user_side, item_side, _ = build_blocks(
        Interactions(extreme, extreme[::-1], np.ones(4)), user_blocks=2, item_blocks=2
    )
    assert sorted(i for ids in user_side.ids for i in ids.to_pylist()) == sorted(extreme)
    assert sorted(i for ids in item_side.ids for i in ids.to_pylist()) == sorted(extreme)


def test_few_distinct_ratings_take_a_byte_each():
    users, items = (np.arange(2000) // 40, np.arange(2000) % 40)
    for ratings, index_bytes in ((1.0 + np.arange(2000) % 5, 1), (np.random.default_rng(0).random(2000), 2)):
        for side in build_blocks(Interactions(users, items, ratings), user_blocks=2, item_blocks=2)[:2]:
            for block in side.in_blocks:
                assert (block.positions.itemsize, block.indices.itemsize) == (1, index_bytes)
                assert len(block.dictionary) == len(np.unique(block.ratings))

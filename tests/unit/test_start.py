from __future__ import annotations

import hashlib
import math
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.solvers.start import Start, start_factors


def draw(ids, rank=8, seed=1, side="users", scale=1.0):
    return start_factors(pa.array(ids), Start(rank, seed, scale, positive=False), side=side)


@given(st.lists(st.text(), min_size=1, unique=True), st.randoms(use_true_random=False))
def test_a_row_depends_on_its_own_id_alone(ids, random):
    whole = dict(zip(ids, draw(ids), strict=True))
    random.shuffle(ids)
    for i in ids[:3]:
        np.testing.assert_array_equal(draw([i])[0], whole[i])


def test_seed_side_id_and_type_of_id_each_change_the_row():
    rows = [draw(["7"]), draw(["7"], seed=2), draw(["7"], side="items"), draw(["8"]), draw([7])]
    assert len({row.tobytes() for row in rows}) == len(rows)


def test_an_integer_gives_the_same_row_whatever_its_width():
    narrow = start_factors(pa.array([7], pa.int32()), Start(4, seed=0, scale=1.0, positive=False), side="users")
    np.testing.assert_array_equal(narrow, draw([7], rank=4, seed=0))


@pytest.mark.parametrize("rank", [1, 7, 64])
def test_the_entries_are_normal_with_the_stated_deviation(rank):
    factors = draw(list(range(40_000)), rank=rank, scale=0.5)
    assert factors.dtype == np.float32
    entries = factors * np.sqrt(rank) / 0.5
    assert abs(entries.mean()) < 5 / np.sqrt(entries.size)
    assert entries.std() == pytest.approx(1.0, rel=5 / np.sqrt(entries.size))
    quartiles = np.quantile(entries, [0.25, 0.75])
    np.testing.assert_allclose(quartiles, [-0.6745, 0.6745], atol=0.02)


def test_start_values_are_box_mullers_of_shake_128():
    bits = struct.unpack("<4I", hashlib.shake_128(b"5/items/\xc3\xa4").digest(16))
    u = [(b + 0.5) / 2**32 for b in bits]
    radius = [math.sqrt(-2 * math.log(v)) for v in u[:2]]
    angle = [2 * math.pi * v for v in u[2:]]
    expected = [r * math.cos(a) for r, a in zip(radius, angle, strict=True)] + [radius[0] * math.sin(angle[0])]
    drawn = draw(["ä"], rank=3, seed=5, side="items", scale=2.0)[0]
    np.testing.assert_allclose(drawn, np.array(expected) * 2.0 / math.sqrt(3), rtol=1e-6)


def test_a_positive_start_is_the_absolute_value():
    ids = pa.array(["a", "b"])
    normal, positive = (
        start_factors(ids, Start(5, seed=0, scale=1.0, positive=sign), side="users") for sign in (False, True)
    )
    np.testing.assert_array_equal(positive, np.abs(normal))


def test_with_biases_a_start_row_ends_in_zero_and_one():
    plain, biased = (
        start_factors(pa.array(["a"]), Start(2, seed=0, scale=1.0, positive=False), side="users", held=held)
        for held in (None, 3)
    )
    np.testing.assert_array_equal(biased, [[*plain[0], 0.0, 1.0]])

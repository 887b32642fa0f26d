from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.arrays.dictionary import (
    as_float32_if_exact,
    compact_dictionary,
    concatenate_dictionaries,
    count_indices,
    dictionary_encode,
    narrow_integers,
)

values = st.lists(st.floats(width=32, allow_nan=False) | st.sampled_from([1.0, 2.0, 5.0]), max_size=30)


@given(values)
def test_levels_are_distinct_and_give_the_values_back(numbers):
    array = np.array(numbers, dtype=np.float32)
    indices, dictionary = dictionary_encode(array)
    np.testing.assert_array_equal(dictionary[indices], array)
    assert dictionary.dtype == np.float32
    assert len(np.unique(dictionary.view(np.uint32))) == len(dictionary) <= len(array)


@pytest.mark.parametrize(
    ("n_distinct", "size"), [(0, 1), (1, 1), (2**8, 1), (2**8 + 1, 2), (2**16, 2), (2**16 + 1, 4), (2**31, 4)]
)
def test_numbers_take_the_fewest_bytes_that_hold_the_largest(n_distinct, size):
    numbers = np.array([0, max(0, n_distinct - 1)])
    narrow = narrow_integers(numbers, n_distinct)
    assert narrow.dtype.itemsize == size
    np.testing.assert_array_equal(narrow, numbers)


@pytest.mark.parametrize(
    ("numbers", "size"),
    [([], 4), ([1.0, -2.5, 2.0**24], 4), ([0.1, 1.0], 8), ([2.0**24 + 1], 8), ([1e300], 8), ([1e-300], 8)],
)
def test_numbers_take_four_bytes_where_these_hold_them_exactly(numbers, size):
    values = np.array(numbers)
    short = as_float32_if_exact(values)
    assert short.dtype.itemsize == size
    assert short.tolist() == numbers
    assert not np.shares_memory(short, values)


@pytest.mark.parametrize(("n", "n_distinct", "n_levels"), [
    (300_000, 300_000, 300_000), (300_000, 290_000, 300_000), (300_000, 70_000, 70_000), (300_000, 3, 3),
    (2**17, 2**17, 2**17), (0, 0, 0),
])  # fmt: skip
def test_values_that_nearly_all_differ_are_levels_of_their_own(n, n_distinct, n_levels):
    values = np.random.default_rng(0).permutation(np.arange(n) % max(1, n_distinct)).astype(np.float32)
    indices, dictionary = dictionary_encode(values)
    np.testing.assert_array_equal(dictionary[indices], values)
    assert len(dictionary) == n_levels


@given(values, st.data())
def test_a_part_of_the_values_does_not_carry_more_levels_than_values(numbers, data):
    indices, dictionary = dictionary_encode(np.array(numbers, dtype=np.float32))
    begin = data.draw(st.integers(0, len(indices)))
    part, used = compact_dictionary(indices[begin:], dictionary)
    np.testing.assert_array_equal(used[part], dictionary[indices[begin:]])
    assert len(used) <= len(part)


@given(st.lists(values, min_size=1, max_size=4))
def test_parts_put_together_have_each_level_once(parts):
    arrays = [np.array(part, dtype=np.float32) for part in parts]
    indices, dictionary = concatenate_dictionaries([dictionary_encode(array) for array in arrays])
    np.testing.assert_array_equal(dictionary[indices], np.concatenate(arrays))
    assert len(np.unique(dictionary.view(np.uint32))) == len(dictionary)


@pytest.mark.parametrize(("n", "n_codes"), [(3, 0), (3, 2**17 + 5), (2**18, 2**18 + 1)])
def test_numbers_are_counted_a_part_at_a_time_as_all_at_once(n, n_codes):
    indices = np.random.default_rng(0).integers(n, size=n_codes).astype(np.int32)
    np.testing.assert_array_equal(count_indices(indices, n), np.bincount(indices, minlength=n))

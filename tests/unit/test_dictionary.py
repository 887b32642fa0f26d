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
def test_a_dictionary_is_distinct_and_decodes_to_the_values(numbers):
    array = np.array(numbers, dtype=np.float32)
    indices, dictionary = dictionary_encode(array)
    np.testing.assert_array_equal(dictionary[indices], array)
    assert dictionary.dtype == np.float32
    assert len(np.unique(dictionary.view(np.uint32))) == len(dictionary) <= len(array)


@pytest.mark.parametrize(
    ("bound", "size"), [(0, 1), (1, 1), (2**8, 1), (2**8 + 1, 2), (2**16, 2), (2**16 + 1, 4), (2**31, 4)]
)
def test_integers_take_the_fewest_bytes_that_hold_them(bound, size):
    numbers = np.array([0, max(0, bound - 1)])
    narrow = narrow_integers(numbers, bound)
    assert narrow.dtype.itemsize == size
    np.testing.assert_array_equal(narrow, numbers)


@pytest.mark.parametrize(
    ("numbers", "size"),
    [([], 4), ([1.0, -2.5, 2.0**24], 4), ([0.1, 1.0], 8), ([2.0**24 + 1], 8), ([1e300], 8), ([1e-300], 8)],
)
def test_floats_take_four_bytes_only_if_these_are_exact(numbers, size):
    values = np.array(numbers)
    copy = as_float32_if_exact(values)
    assert copy.dtype.itemsize == size
    assert copy.tolist() == numbers
    assert not np.shares_memory(copy, values)


@pytest.mark.parametrize(("n", "n_distinct", "n_dictionary"), [
    (300_000, 300_000, 300_000), (300_000, 290_000, 300_000), (300_000, 70_000, 70_000), (300_000, 3, 3),
    (2**17, 2**17, 2**17), (0, 0, 0),
])  # fmt: skip
def test_nearly_distinct_values_are_their_own_dictionary(n, n_distinct, n_dictionary):
    values = np.random.default_rng(0).permutation(np.arange(n) % max(1, n_distinct)).astype(np.float32)
    indices, dictionary = dictionary_encode(values)
    np.testing.assert_array_equal(dictionary[indices], values)
    assert len(dictionary) == n_dictionary


@given(values, st.data())
def test_a_compact_dictionary_is_not_longer_than_its_indices(numbers, data):
    indices, dictionary = dictionary_encode(np.array(numbers, dtype=np.float32))
    begin = data.draw(st.integers(0, len(indices)))
    compact_indices, compact = compact_dictionary(indices[begin:], dictionary)
    np.testing.assert_array_equal(compact[compact_indices], dictionary[indices[begin:]])
    assert len(compact) <= len(compact_indices)


@given(st.lists(values, min_size=1, max_size=4))
def test_concatenated_dictionaries_have_each_value_once(lists):
    arrays = [np.array(numbers, dtype=np.float32) for numbers in lists]
    indices, dictionary = concatenate_dictionaries([dictionary_encode(array) for array in arrays])
    np.testing.assert_array_equal(dictionary[indices], np.concatenate(arrays))
    assert len(np.unique(dictionary.view(np.uint32))) == len(dictionary)


@pytest.mark.parametrize(("n", "n_indices"), [(3, 0), (3, 2**17 + 5), (2**18, 2**18 + 1)])
def test_indices_counted_in_batches_equal_bincount(n, n_indices):
    indices = np.random.default_rng(0).integers(n, size=n_indices).astype(np.int32)
    np.testing.assert_array_equal(count_indices(indices, n), np.bincount(indices, minlength=n))

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.arrays.sorting import stable_argsort, stable_sort


@pytest.mark.parametrize("largest", [0, 3, 2**16 - 1, 2**16, 2**40, 2**58, 2**63 - 1])
@given(data=st.data())
def test_sorts_equal_pythons_stable_sort(largest, data):
    integers = st.integers(0, largest) | st.sampled_from([0, largest // 2, largest])
    keys = np.array(data.draw(st.lists(integers, max_size=40)), dtype=np.int64)
    order = sorted(range(len(keys)), key=keys.__getitem__)
    assert stable_argsort(keys).tolist() == order
    assert [array.tolist() for array in stable_sort(keys.copy())] == [keys[order].tolist(), order]

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.arrays.histogram import Histogram

LEVELS = [0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0]


@given(st.integers(1, 500), st.integers(1, 6), st.integers(0, 2**32 - 1), st.sampled_from([0.1, 1.0, 5.0]))
def test_quantiles_of_merged_histograms_are_within_one_percent(n, n_parts, seed, scale):
    values = np.exp(np.random.default_rng(seed).normal(scale=scale, size=n)).astype(np.float32)
    parts = np.array_split(values, n_parts)
    merged = Histogram.merged(Histogram.of(part, np.ones(len(part), int)) for part in parts)
    exact = np.quantile(values, LEVELS, method="lower")
    np.testing.assert_allclose(merged.quantiles(LEVELS), exact, rtol=0.011)
    assert merged.quantiles([0.0, 1.0]) == [values.min(), values.max()]
    assert merged.size == n
    np.testing.assert_allclose(merged.mean, values.mean(dtype=np.float64), rtol=1e-9)


def test_zero_is_counted_and_an_empty_histogram_is_no_error():
    assert Histogram.of(np.array([0.0, 4.0]), np.array([2, 1])).quantiles([0.0, 0.5, 1.0])[::2] == [0.0, 4.0]
    assert Histogram.merged([Histogram.of(np.empty(0), np.empty(0, int))]).size == 0


def test_octaves_survive_json_records_and_merging():
    counts = np.array([1, 1, 2, 3, 4, 7, 8, 1023, 1024])
    records = [json.dumps(Histogram.of_counts(of_rows).as_record()) for of_rows in (counts, np.array([1]))]
    octaves = Histogram.merged(Histogram.from_record(json.loads(record)) for record in records).octaves()
    assert octaves == {1: 3, 2: 2, 4: 2, 8: 1, 16: 0, 32: 0, 64: 0, 128: 0, 256: 0, 512: 1, 1024: 1}
    assert Histogram().octaves() == {}

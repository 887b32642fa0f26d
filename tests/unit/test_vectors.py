from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.errors import ConfigError, InputError
from wals_spark.serving.vector_files import write_export
from wals_spark.serving.vectors import StoredVectors, augmented_items, augmented_queries, max_length, recall
from wals_spark.settings.export import ExportOptions, ExportSettings
from wals_spark.settings.loader import load_settings


@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_cosines_of_augmented_items_rank_as_dot_products(n, width, seed):
    rng = np.random.default_rng(seed)
    items = (rng.normal(size=(n, width)) * rng.exponential(3.0, size=(n, 1))).astype(np.float32)
    users = rng.normal(size=(5, width)).astype(np.float32)
    units, queries = augmented_items(items, max_length(items)), augmented_queries(users)
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1.0, rtol=1e-6)
    cosines = queries @ units.T / np.linalg.norm(queries, axis=1)[:, None]
    dots = users.astype(np.float64) @ items.T
    expected = dots / max_length(items) / np.linalg.norm(users, axis=1)[:, None]
    np.testing.assert_allclose(cosines, expected, rtol=1e-4, atol=1e-6)
    clear = np.abs(expected[:, :, None] - expected[:, None, :]) > 1e-5
    above = expected[:, :, None] > expected[:, None, :]
    np.testing.assert_array_equal((cosines[:, :, None] > cosines[:, None, :])[clear], above[clear])


@given(st.sampled_from(["float32", "float16", "int8"]), st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_rounding_error_is_at_most_half_a_unit(precision, size, seed):
    rows = np.random.default_rng(seed).normal(0, size, size=(20, 8)).astype(np.float32)
    rows[3] = 0.0
    stored = StoredVectors.of(rows, precision)
    assert stored.values.dtype == precision
    unit = {"float32": 0.0, "float16": 2.0**-11, "int8": 0.501 / 127}[precision]
    largest = np.abs(rows).max(axis=1, keepdims=True)
    assert (np.abs(stored[0:20] - rows) <= unit * largest).all()
    np.testing.assert_array_equal(stored[5:7], stored[0:20][5:7])


def test_numbers_outside_float16_are_refused():
    with pytest.raises(OverflowError, match=r"70000 is outside the range of float16"):
        StoredVectors.of(np.array([[7e4]], dtype=np.float32), "float16")


def test_recall_counts_exact_results_in_any_order():
    assert recall(np.array([[3, 1], [5, -1]]), np.array([[1, 3], [4, 5]])) == 0.75


@pytest.fixture
def model():
    """Items of very different lengths, as in trained models, and users."""
    rng = np.random.default_rng(0)
    items = rng.normal(size=(3000, 16)) * rng.pareto(2.0, size=(3000, 1))
    return pa.array([f"i{n}" for n in range(3000)]), items.astype(np.float32), rng.normal(size=(100, 16)).astype("f4")


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_the_reported_recall_is_that_of_the_written_files(model, tmp_path, similarity, precision):
    pytest.importorskip("faiss", reason="the extra index is not installed")
    ids, items, users = model
    options = ExportOptions(similarity=similarity, precision=precision, index="hnsw")
    document = write_export(tmp_path, ids, items, users, options)
    assert document["width"] == 16 + (similarity == "cosine")
    least = {"float32": 1.0, "float16": 0.97, "int8": 0.8}[precision]
    assert document["recall"]["found_by"]["vectors"] >= least, document["recall"]
    assert document["recall"]["found_by"]["index"] >= least - 0.05, document["recall"]

    # Brute-force search over the files with NumPy alone has the reported recall.
    assert pq.read_table(tmp_path / "ids.parquet")["id"].to_pylist() == ids.to_pylist()
    vectors = np.load(tmp_path / "items.npy").astype(np.float64)
    if precision == "int8":
        vectors *= np.load(tmp_path / "scales.npy")[:, None]
    queries = np.pad(users, ((0, 0), (0, document["width"] - 16)))
    best = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    exact = np.argsort(-(users.astype(np.float64) @ items.T), axis=1)[:, :10]
    hits = np.mean([len({*b} & {*e}) / 10 for b, e in zip(best, exact, strict=True)])
    assert document["recall"]["found_by"]["vectors"] == pytest.approx(hits, abs=2e-3)


def test_models_that_cannot_be_exported_are_refused(model, tmp_path):
    ids, items, users = model
    with pytest.raises(InputError, match=r"export\.k = 10: the model has only 3 items"):
        write_export(tmp_path, ids[:3], items[:3], users, ExportOptions())
    with pytest.raises(InputError, match="all items' vectors are zero"):
        write_export(tmp_path, ids, np.zeros_like(items), users, ExportOptions())
    with pytest.raises(InputError, match=r"precision = float16: .* is outside the range of float16; choose float32"):
        write_export(tmp_path, ids, 1e6 * items, users, ExportOptions(similarity="dot", precision="float16"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["output.path=o"], r"model\.path is not set"),
        (["model.path=m"], r"output\.path is not set"),
        (["model.path=m", "output.path=o", "export.neighbours=8"], r"export\.neighbours needs export\.index = hnsw"),
        (["model.path=m", "output.path=o", "export.precision=int4"], r"export\.precision: invalid enum value 'int4'"),
    ],
)
def test_contradictory_export_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(ExportSettings, None, settings)

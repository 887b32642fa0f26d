from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.errors import ConfigError, InputError
from wals_spark.serving.vector_files import write_export
from wals_spark.serving.vectors import Stored, augmented_items, augmented_queries, longest, recall
from wals_spark.settings.export import ExportOptions, ExportSettings
from wals_spark.settings.loader import load_settings


@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_cosines_with_augmented_items_are_in_the_order_of_dot_products(n, width, seed):
    rng = np.random.default_rng(seed)
    items = (rng.normal(size=(n, width)) * rng.exponential(3.0, size=(n, 1))).astype(np.float32)
    users = rng.normal(size=(5, width)).astype(np.float32)
    units, queries = augmented_items(items, longest(items)), augmented_queries(users)
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1.0, rtol=1e-6)
    cosines = queries @ units.T / np.linalg.norm(queries, axis=1)[:, None]
    dots = users.astype(np.float64) @ items.T
    expected = dots / longest(items) / np.linalg.norm(users, axis=1)[:, None]
    np.testing.assert_allclose(cosines, expected, rtol=1e-4, atol=1e-6)
    clear = np.abs(expected[:, :, None] - expected[:, None, :]) > 1e-5
    above = expected[:, :, None] > expected[:, None, :]
    np.testing.assert_array_equal((cosines[:, :, None] > cosines[:, None, :])[clear], above[clear])


@given(st.sampled_from(["float32", "float16", "int8"]), st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_stored_rows_are_off_by_half_a_step_of_their_precision(precision, size, seed):
    rows = np.random.default_rng(seed).normal(0, size, size=(20, 8)).astype(np.float32)
    rows[3] = 0.0
    stored = Stored.of(rows, precision)
    assert stored.values.dtype == precision
    step = {"float32": 0.0, "float16": 2.0**-11, "int8": 0.501 / 127}[precision]
    of_largest = np.abs(rows).max(axis=1, keepdims=True)
    assert (np.abs(stored[0:20] - rows) <= step * of_largest).all()
    np.testing.assert_array_equal(stored[5:7], stored[0:20][5:7])


def test_a_number_beyond_float16_is_refused():
    with pytest.raises(OverflowError, match=r"70000 is beyond float16"):
        Stored.of(np.array([[7e4]], dtype=np.float32), "float16")


def test_recall_is_the_share_of_the_exact_items_in_any_order():
    assert recall(np.array([[3, 1], [5, -1]]), np.array([[1, 3], [4, 5]])) == 0.75


@pytest.fixture
def model():
    """Items of very different lengths, as popularity makes them, and users."""
    rng = np.random.default_rng(0)
    items = rng.normal(size=(3000, 16)) * rng.pareto(2.0, size=(3000, 1))
    return pa.array([f"i{n}" for n in range(3000)]), items.astype(np.float32), rng.normal(size=(100, 16)).astype("f4")


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_an_export_says_what_its_files_find(model, tmp_path, similarity, precision):
    pytest.importorskip("faiss", reason="the extra index is not installed")
    ids, items, users = model
    options = ExportOptions(similarity=similarity, precision=precision, index="hnsw")
    found = write_export(tmp_path, ids, items, users, options)
    assert found["width"] == 16 + (similarity == "cosine")
    least = {"float32": 1.0, "float16": 0.97, "int8": 0.8}[precision]
    assert found["recall"]["found_by"]["vectors"] >= least, found["recall"]
    assert found["recall"]["found_by"]["index"] >= least - 0.05, found["recall"]

    # What a reader makes of the files, with nothing of ours: a brute-force search finds what is claimed.
    assert pq.read_table(tmp_path / "ids.parquet")["id"].to_pylist() == ids.to_pylist()
    vectors = np.load(tmp_path / "items.npy").astype(np.float64)
    if precision == "int8":
        vectors *= np.load(tmp_path / "scales.npy")[:, None]
    queries = np.pad(users, ((0, 0), (0, found["width"] - 16)))
    best = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    exact = np.argsort(-(users.astype(np.float64) @ items.T), axis=1)[:, :10]
    hits = np.mean([len({*b} & {*e}) / 10 for b, e in zip(best, exact, strict=True)])
    assert found["recall"]["found_by"]["vectors"] == pytest.approx(hits, abs=2e-3)


def test_what_cannot_be_exported_is_refused(model, tmp_path):
    ids, items, users = model
    with pytest.raises(InputError, match=r"export\.k = 10: the model has only 3 items"):
        write_export(tmp_path, ids[:3], items[:3], users, ExportOptions())
    with pytest.raises(InputError, match="all items' vectors are zero"):
        write_export(tmp_path, ids, np.zeros_like(items), users, ExportOptions())
    with pytest.raises(InputError, match=r"precision = float16: .* is beyond float16; take float32"):
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
def test_settings_of_an_export_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(ExportSettings, None, settings)

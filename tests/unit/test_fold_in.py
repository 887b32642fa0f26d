from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_models import write_model
from objectives import make_objective
from problems import assert_same_rows, matrix, problems

from wals_spark.arrays.features import feature_column, feature_rows
from wals_spark.blocks.weighted import item_weights
from wals_spark.errors import InputError
from wals_spark.local.half_iteration import half_iteration
from wals_spark.serving.fold_in import FoldIn
from wals_spark.solvers.gramian import gramian


def trained_problem(problem):
    """The user side after an iteration that solves users last, and the model of this training."""
    of_users, of_items = problem.sides
    user_side, item_side = problem.started()
    half_iteration(item_side, user_side, of_items)
    half_iteration(user_side, item_side, of_users)
    weights = [item_weights(block, of_items) for block in item_side.in_blocks]
    model = FoldIn(
        ids=pa.array([i for ids in item_side.ids for i in ids.to_pylist()]),
        factors=np.concatenate(item_side.factors),
        gramian=item_side.gramian(item_side.factors[0].shape[1]),
        objective=of_users,
        multipliers=np.concatenate(weights),
        nonpositive="dislike",
    )
    return user_side, model


def histories_of(problem):
    """The interactions grouped by user: the arguments of `fold_in_many`."""
    order = np.argsort(problem.users, kind="stable")
    indptr = np.searchsorted(problem.users[order], np.arange(problem.shape[0] + 1))
    columns = (problem.items, problem.ratings, problem.weights)
    return indptr, *(None if column is None else column[order] for column in columns)


@given(problems(nonnegative=True))
def test_the_fold_in_of_a_training_user_is_its_trained_row(problem):
    user_side, model = trained_problem(problem)
    indptr, items, ratings, weights = histories_of(problem)
    vectors, unknown = model.fold_in_many(indptr, items, ratings, weights)
    assert_same_rows(vectors, matrix(user_side))
    assert not unknown.any()
    first = slice(indptr[0], indptr[1])
    vector = model.fold_in(items[first], ratings[first], None if weights is None else weights[first])
    assert_same_rows(vector, vectors[0])


@given(problems(), st.sampled_from(["sum", "last", "max"]))
def test_unknown_items_are_counted_and_repeated_ones_merged(problem, duplicates):
    _, model = trained_problem(problem._replace(weights=None))
    model = replace(model, duplicates=duplicates)
    indptr, items, ratings, _ = histories_of(problem)
    expected = model.fold_in_many(indptr, items, ratings).vectors
    half = ratings / 2
    repeated = {"sum": (half, half), "last": (ratings + 1, ratings), "max": (ratings, ratings - 0.5)}[duplicates]
    twice = np.stack([items, items, np.full_like(items, 999)], axis=1).ravel()
    folded = model.fold_in_many(3 * indptr, twice, np.stack([*repeated, ratings], axis=1).ravel())
    assert_same_rows(folded.vectors, expected)
    np.testing.assert_array_equal(folded.unknown, np.diff(indptr))


def test_ids_are_found_alike_with_arrow_and_with_a_dict():
    rng = np.random.default_rng(0)
    for ids in (np.arange(500, dtype=np.int32) * 3, [f"é{i}" for i in range(500)]):
        factors = rng.normal(size=(500, 4)).astype(np.float32)
        model = FoldIn(pa.array(ids), factors, gramian(factors), make_objective())
        items = [ids[k] for k in rng.integers(500, size=20_000)]
        indptr = np.arange(0, 20_001, 4)
        many = model.fold_in_many(indptr, items).vectors
        few = np.stack([model.fold_in(items[begin : begin + 4]) for begin in range(0, 400, 4)])
        assert_same_rows(many[:100], few)


def test_recommend_returns_the_best_items_outside_the_history():
    rng = np.random.default_rng(3)
    ids, factors = [f"i{n}" for n in range(50)], rng.normal(size=(50, 4)).astype(np.float32)
    model = FoldIn(pa.array(ids), factors, gramian(factors), make_objective(offset=2.0))
    history = ["i3", "i8", "gone"]
    scores = dict(zip(ids, factors @ model.fold_in(history) + 2.0, strict=True))
    best = sorted(ids[:3] + ids[4:8] + ids[9:], key=scores.get, reverse=True)[:5]
    recommended = model.recommend(history, k=5)
    assert [item for item, _ in recommended] == best
    np.testing.assert_allclose([score for _, score in recommended], [scores[item] for item in best], rtol=1e-5)
    assert len(model.recommend(history, k=100)) == 48


def test_an_empty_history_has_the_solution_of_no_observations():
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(5, 4)).astype(np.float32)
    plain = FoldIn(pa.array(range(5)), factors, gramian(factors), make_objective())
    np.testing.assert_array_equal(plain.fold_in([]), np.zeros(4, dtype=np.float32))
    np.testing.assert_array_equal(plain.fold_in([77]), np.zeros(4, dtype=np.float32))
    factors[:, 2] = 1.0  # an item's row ends in (1, bias)
    biased = FoldIn(pa.array(range(5)), factors, gramian(factors), make_objective(unobserved_weight=0.0, held=3))
    np.testing.assert_array_equal(biased.fold_in([]), np.array([0, 0, 0, 1], dtype=np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 2], ["1"]), "items such as 1: the model's ids are of type int64"),
        (([0, 2], [1]), "indptr must rise from 0 to the number of entries, 1"),
        (([0, 1], [1], [1.0, 2.0]), "2 ratings for 1 items"),
        (([0, 2], [1, 2], [1.0, np.nan]), "1 of 2 ratings cannot be used, such as nan"),
        (([0, 1], [1], [0.0]), "1 of 1 ratings cannot be used, such as 0.0"),
        (([0, 1], [1], None, [-1.0]), "1 of 1 weights cannot be used, such as -1.0"),
        (([0, 1, 3], [1, 2, 2]), "history 1 repeats item 2"),
    ],
)
def test_histories_that_training_would_refuse_are_refused(arguments, message):
    factors = np.ones((3, 2), dtype=np.float32)
    model = FoldIn(pa.array([0, 1, 2]), factors, gramian(factors), make_objective(), duplicates="refuse")
    with pytest.raises(InputError, match=message):
        model.fold_in_many(*arguments)


def test_a_model_is_opened_from_its_folder_without_spark(tmp_path):
    ids, factors = ["a", "b", "ü"], np.random.default_rng(2).normal(size=(3, 2)).astype(np.float32)
    settings = ["train.preset=google-wals", "train.reg_scaling=frequency"]
    (tmp_path / "v/item_weights").mkdir(parents=True)
    weights = pa.table({"id": ids[::-1], "weight": [0.5, 1.0, 0.25]})
    pq.write_table(weights, tmp_path / "v/item_weights/0.parquet")
    objectives = write_model(tmp_path / "v", users=([1, 2], factors[:2]), items=(ids, factors), settings=settings)
    model = FoldIn.open(tmp_path / "v")
    assert model.objective == objectives["users"]
    np.testing.assert_array_equal(model.factors, factors)
    np.testing.assert_array_equal(model.gramian, gramian(factors))
    np.testing.assert_array_equal(model.multipliers, [0.25, 1.0, 0.5])
    assert model.fold_in(["ü", "a"], [3.0, 1.0]).shape == (2,)

    document = tmp_path / "v/manifest.json"
    document.write_text(document.read_text().replace('"objectives"', '"of_another_time"'))
    with pytest.raises(InputError, match=r"missing required field `objectives`"):
        FoldIn.open(tmp_path / "v")
    document.unlink()
    with pytest.raises(InputError, match=r"holds no manifest\.json, so it is no complete model"):
        FoldIn.open(tmp_path / "v")


def test_feature_columns_and_rows_are_inverses():
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    column = feature_column(rows)
    assert column.to_pylist() == rows.tolist()
    np.testing.assert_array_equal(feature_rows(column), rows)
    np.testing.assert_array_equal(feature_rows(column.slice(1, 2)), rows[1:3])
    assert len(feature_rows(column.slice(4))) == 0

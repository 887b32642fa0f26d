from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_jobs import run_job

K = 4
RECOMMEND = ["model.path=model", "input.path=plays", "input.rating="]


@pytest.fixture(scope="module")
def pairs():
    """What users of the model have seen, by text users and integer items."""
    rng = np.random.default_rng(0)
    return sorted({(f"ü{u}", int(i) * 10**12) for u, i in rng.integers((20, 15), size=(150, 2))})


@pytest.fixture(scope="module")
def seen(pairs):
    """The same, and one pair of a user who is not in the model."""
    return [*pairs, ("stranger", pairs[0][1])]


@pytest.fixture(scope="module")
def folder(pairs, seen, tmp_path_factory):
    """A folder with a trained model; each test writes to a place of its own in it."""
    folder = tmp_path_factory.mktemp("recommend")
    for name, rows in (("train", pairs), ("plays", seen)):
        pq.write_table(pa.table({"user": [u for u, _ in rows], "item": [i for _, i in rows]}), folder / name)
    model = ["train.rank=3", "confidence.item_weight=propensity", "output.path=model"]
    done = run_job(folder, "train", "input.path=train", "input.rating=", *model)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def factors(folder):
    """Rows of users and of items by id."""
    version = folder / "model/versions" / (folder / "model/CURRENT").read_text().strip()
    return read(version / "user_factors"), read(version / "item_factors")


@pytest.fixture(scope="module")
def blocked(factors):
    """An item that must not be recommended, and an id that the model does not have."""
    return [min(factors[1]), 77]


@pytest.fixture(scope="module")
def recommended(folder, blocked):
    """The job's log and the table it wrote for four users, two of whom the model does not have."""
    pq.write_table(pa.table({"id": ["ü3", "ü7", "stranger", "ü3", "nobody"]}), folder / "asked")
    pq.write_table(pa.table({"item": blocked}), folder / "blocked")
    done = run_job(
        folder, "recommend", *RECOMMEND, f"recommend.k={K}", "queries.path=asked", "recommend.cold_start=popular",
        "blocked.path=blocked", "blocked.column=item", "recommend.because=99", "output.path=best",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr, pq.read_table(folder / "best")


def read(path):
    table = pq.read_table(path)
    rows = dict(zip(table["id"].to_pylist(), table["features"].to_pylist(), strict=True))
    return {i: np.array(row) for i, row in rows.items()}


def ranked(table):
    return sorted(tuple(row.values()) for row in table.to_pylist())


def best(scores, k):
    return sorted(scores, key=lambda i: (-scores[i], i))[:k]


def expected_row(rank, user, item, seen, factors):
    """A row of the table: the model's score, or the number of users where it does not have the user."""
    users, items = factors
    if user in users:
        return (user, rank, item, float(np.float32(users[user] @ items[item])), "model")
    return (user, rank, item, float(sum(other == item for _, other in seen)), "popular")


def test_the_best_items_not_seen_and_popular_ones_for_strangers(recommended, seen, factors, blocked):
    log, table = recommended
    assert "2 users are not in the model" in log
    expected = []
    for user in ("nobody", "stranger", "ü3", "ü7"):
        allowed = [i for i in factors[1] if i not in blocked and (user, i) not in seen]
        scores = {i: expected_row(0, user, i, seen, factors)[3] for i in allowed}
        expected += [expected_row(n + 1, user, i, seen, factors) for n, i in enumerate(best(scores, K))]
    rows = [row[:4] + row[5:] for row in ranked(table)]
    assert [row[:3] + row[4:] for row in rows] == [row[:3] + row[4:] for row in expected]
    np.testing.assert_allclose([row[3] for row in rows], [row[3] for row in expected], rtol=1e-6)
    types = [str(field.type).replace(" not null", "") for field in table.schema]
    assert types == [
        "string", "int32", "int64", "float", "list<element: struct<item: int64, score: float>>", "string",
    ]  # fmt: skip


def test_explanations_are_the_history_and_add_up_to_the_score(recommended, pairs):
    _, table = recommended
    sources = {row["source"] for row in table.to_pylist()}
    assert sources == {"model", "popular"}
    for row in table.to_pylist():
        if row["source"] == "popular":
            assert row["because"] is None
            continue
        history = [pair for pair in pairs if pair[0] == row["user"]]
        assert sorted((row["user"], reason["item"]) for reason in row["because"]) == history
        assert sum(reason["score"] for reason in row["because"]) == pytest.approx(row["score"], rel=1e-3, abs=1e-3)


def test_similar_items_are_those_of_the_largest_cosines(folder, factors):
    settings = [f"recommend.k={K}", "recommend.mode=similar-items", "output.path=similar"]
    done = run_job(folder, "recommend", *RECOMMEND, *settings)
    assert done.returncode == 0, done.stderr
    similar, items = ranked(pq.read_table(folder / "similar")), factors[1]
    unit = {i: row[:3] / np.linalg.norm(row[:3]) for i, row in items.items()}
    for item in items:
        cosines = {other: unit[item] @ unit[other] for other in items if other != item}
        assert [row[2] for row in similar if row[0] == item] == best(cosines, K)


def test_a_second_table_and_too_long_lists_are_refused(folder):
    (folder / "there").mkdir()
    done = run_job(folder, "recommend", *RECOMMEND, f"recommend.k={K}", "output.path=there")
    assert done.returncode == 2
    assert "output.path = 'there' exists and stays" in done.stderr
    done = run_job(folder, "recommend", *RECOMMEND, "recommend.k=16", "output.path=more")
    assert done.returncode == 3
    assert "error: recommend.k = 16, but there are 15 items to recommend" in done.stderr
    assert not (folder / "more").exists()

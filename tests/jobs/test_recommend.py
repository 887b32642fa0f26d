from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture
def plays(tmp_path):
    """Plays of text users and integer items; the last user is a stranger to the model."""
    rng = np.random.default_rng(0)
    pairs = sorted({(f"ü{u}", int(i) * 10**12) for u, i in rng.integers((20, 15), size=(150, 2))})
    for name, some in (("train", pairs), ("plays", [*pairs, ("stranger", pairs[0][1])])):
        pq.write_table(pa.table({"user": [u for u, _ in some], "item": [i for _, i in some]}), tmp_path / name)
    return pairs


def read(path):
    table = pq.read_table(path)
    rows = dict(zip(table["id"].to_pylist(), table["features"].to_pylist(), strict=True))
    return {i: np.array(row) for i, row in rows.items()}


def ranked(path):
    return sorted(tuple(row.values()) for row in pq.read_table(path).to_pylist())


def best(scores, k):
    return sorted(scores, key=lambda i: (-scores[i], i))[:k]


def test_recommendations_are_the_best_of_what_is_allowed_and_not_seen_and_strangers_get_popular_items(
    run_job, plays, tmp_path
):
    model = ["train.rank=3", "confidence.item_weight=propensity", "output.path=model"]
    done = run_job("train", "input.path=train", "input.rating=", *model)
    assert done.returncode == 0, done.stderr
    version = tmp_path / "model/versions" / (tmp_path / "model/CURRENT").read_text().strip()
    users, items = read(version / "user_factors"), read(version / "item_factors")
    asked, blocked = ["ü3", "ü7", "stranger", "ü3", "nobody"], [min(items), 77]
    pq.write_table(pa.table({"id": asked}), tmp_path / "asked")
    pq.write_table(pa.table({"item": blocked}), tmp_path / "blocked")
    common = ["model.path=model", "input.path=plays", "input.rating=", "recommend.k=4"]
    some = [
        "queries.path=asked",
        "recommend.cold_start=popular",
        "blocked.path=blocked",
        "blocked.column=item",
        "recommend.because=99",
    ]

    done = run_job("recommend", *common, *some, "output.path=best")
    assert done.returncode == 0, done.stderr
    assert "2 users are not in the model" in done.stderr
    seen = {*plays, ("stranger", plays[0][1])}
    expected = []
    for user in ("nobody", "stranger", "ü3", "ü7"):
        free = [i for i in items if i not in blocked and (user, i) not in seen]
        source = "model" if user in users else "popular"
        counts = {i: float(sum(item == i for _, item in seen)) for i in free}
        scores = {i: float(np.float32(users[user] @ items[i])) for i in free} if user in users else counts
        expected += [(user, n + 1, i, scores[i], source) for n, i in enumerate(best(scores, 4))]
    found = [row[:4] + row[5:] for row in ranked(tmp_path / "best")]
    assert [row[:3] + row[4:] for row in found] == [row[:3] + row[4:] for row in expected]
    np.testing.assert_allclose([row[3] for row in found], [row[3] for row in expected], rtol=1e-6)
    types = [str(field.type).replace(" not null", "") for field in pq.read_table(tmp_path / "best").schema]
    assert types == [
        "string", "int32", "int64", "float", "list<element: struct<item: int64, score: float>>", "string",
    ]  # fmt: skip
    for row in pq.read_table(tmp_path / "best").to_pylist():
        if row["source"] == "model":  # the reasons are the user's history, and together the score
            assert sorted((row["user"], reason["item"]) for reason in row["because"]) == [
                pair for pair in plays if pair[0] == row["user"]
            ]
            assert sum(reason["score"] for reason in row["because"]) == pytest.approx(row["score"], rel=1e-3, abs=1e-3)
        else:
            assert row["because"] is None

    done = run_job("recommend", *common, "recommend.mode=similar-items", "output.path=similar")
    assert done.returncode == 0, done.stderr
    unit = {i: row[:3] / np.linalg.norm(row[:3]) for i, row in items.items()}
    for item in items:
        cosines = {other: unit[item] @ unit[other] for other in items if other != item}
        assert [row[2] for row in ranked(tmp_path / "similar") if row[0] == item] == best(cosines, 4)

    done = run_job("recommend", *common, "output.path=best")
    assert done.returncode == 2
    assert "output.path = best exists and stays" in done.stderr
    done = run_job("recommend", *common[:-1], "recommend.k=16", "output.path=more")
    assert done.returncode == 3
    assert "error: recommend.k = 16, but there are 15 items to recommend" in done.stderr
    assert not (tmp_path / "more").exists()

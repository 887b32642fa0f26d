"""Implicit feedback as listening counts: the written tables have the losses that a float64 reference reaches."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import oracle
import pyarrow as pa
import pytest
from objectives import train_settings

from wals_spark.solvers.start import start_factors

INPUT = ("input.format=csv", r"input.options.sep=\t", "input.user=_c0", "input.item=_c1", "input.rating=_c2")
COMMON = (
    *INPUT, "train.rank=64", "train.max_iter=15", "train.reg_scaling=plain", "train.unobserved_weight=1",
    "train.unobserved_on=missing", "confidence.epsilon=1",
    "train.relaxation=1",  # as the reference iterates; with 1.5 the loss after 15 iterations is lower
)  # fmt: skip


@pytest.fixture(scope="module")
def plays(data):
    """User ids, item ids and counts of the training file, as text and numbers."""
    lines = (data / "lastfm-split/data1.txt").read_text().splitlines()
    users, items, counts = zip(*(line.split() for line in lines), strict=True)
    return users, items, np.array(counts, dtype=np.float64)


def dense(plays, users, items, function, alpha):
    user_rows, item_rows = ({i: n for n, i in enumerate(ids)} for ids in (users, items))
    rows = [user_rows[u] for u in plays[0]]
    columns = [item_rows[i] for i in plays[1]]
    return oracle.dense((len(users), len(items)), rows, columns, plays[2], function, alpha, 1.0)


class Published(NamedTuple):
    """A confidence, and what the float64 reference reaches with it."""

    function: str
    alpha: float
    loss: float
    tolerance: float
    recall: float


@pytest.mark.parametrize(
    "published",
    [
        Published("log", 10.0, 585_000, 1e-3, 0.264),
        pytest.param(Published("constant", 20.0, 458_840, 5e-4, 0.271), marks=pytest.mark.slow),
    ],
    ids=lambda published: published.function,
)
def test_written_tables_have_the_published_loss_and_recall(data, plays, train, evaluate, published):
    function, alpha = published.function, published.alpha
    model, users, items = train(
        *COMMON, f"input.path={data}/lastfm-split/data1.txt", "train.reg_param=50", f"confidence.function={function}",
        f"confidence.alpha={alpha}",
    )  # fmt: skip
    c, p, seen = dense(plays, list(users), list(items), function, alpha)
    x, y = np.stack(list(users.values())), np.stack(list(items.values()))
    loss = (c * (p - x @ y.T) ** 2).sum() + 50 * ((x**2).sum() + (y**2).sum())
    assert seen.sum() == len(plays[2])
    assert loss == pytest.approx(published.loss, rel=published.tolerance)
    reported = [json.loads(line)["loss"] for line in (model / "events.jsonl").read_text().splitlines()]
    assert reported[-1] == pytest.approx(loss, rel=1e-6)
    folder = data / "lastfm-split"
    recalls = evaluate(*INPUT, f"input.path={folder}/data1.txt", f"test.path={folder}/test1.txt")["recall@20"]
    print(f"{function}: loss {loss:,.1f} of {published.loss:,}, Recall@20 {recalls}")
    assert recalls["model"] == pytest.approx(published.recall, abs=0.005)
    assert recalls["popularity"] == pytest.approx(0.0375, abs=0.001)


@pytest.mark.exhaustive
def test_linear_confidence_equals_the_oracle_from_the_same_start(data, plays, train):
    """The loss here depends on the start more than on anything, so the oracle starts where the job does."""
    iterations = 1  # of the reference's 15: the oracle is slow
    _, users, items = train(
        *COMMON, f"input.path={data}/lastfm-split/data1.txt", "train.reg_param=10", "confidence.function=linear",
        "confidence.alpha=1", "train.first_side=users", "train.solver=cholesky", f"train.max_iter={iterations}",
    )  # fmt: skip
    c, p, _ = dense(plays, list(users), list(items), "linear", 1.0)
    y = start_factors(pa.array(list(items)), train_settings(rank=64).start_options, side="items").astype(np.float64)
    for _ in range(iterations):
        x = oracle.solve(c, p, np.full(len(users), 10.0), y)
        y = oracle.solve(c.T, p.T, np.full(len(items), 10.0), x)

    def loss(x, y):
        return (c * (p - x @ y.T) ** 2).sum() + 10 * ((x**2).sum() + (y**2).sum())

    ours = np.stack(list(users.values())), np.stack(list(items.values()))
    print(f"linear: loss {loss(*ours):,.2f}, dense oracle {loss(x, y):,.2f}")
    assert loss(*ours) == pytest.approx(loss(x, y), rel=1e-4)
    np.testing.assert_allclose(ours[0], x, rtol=1e-3, atol=1e-3 * np.abs(x).max())
    np.testing.assert_allclose(ours[1], y, rtol=1e-3, atol=1e-3 * np.abs(y).max())

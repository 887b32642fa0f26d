"""Leave-one-out on MovieLens 1M as published for neural collaborative filtering, with iALS in Rendle et al. 2022."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pytest

from wals_spark.local.blocks import Interactions
from wals_spark.local.training import fit
from wals_spark.settings.train import Config

INPUT = ("input.format=csv", r"input.options.sep=\t", "input.user=_c0", "input.item=_c1", "input.rating=")
SETTINGS = (
    *INPUT, "train.preset=rendle", "train.unobserved_weight=0.3", "train.reg_param=0.007",
)  # fmt: skip


def held_out(data):
    """Each user's held-out item, and 99 negatives without the 156 that are the item itself: it counts once."""
    for line in (data / "ncf-ml-1m/ml-1m.test.negative").read_text().splitlines():
        pair, *negatives = line.split("\t")
        user, item = re.findall(r"\d+", pair)
        yield user, item, [negative for negative in negatives if negative != item]


def plain_metrics(data, users, items):
    """Hit rate and NDCG at 10 of each item among its negatives; ties count against it, two unknown items are missed."""
    gains = []
    for user, item, negatives in held_out(data):
        rank = 10
        if item in items:
            rank = sum(users[user] @ items[n] >= users[user] @ items[item] for n in negatives if n in items)
        gains.append((1.0, np.log(2) / np.log(rank + 2)) if rank < 10 else (0.0, 0.0))
    return np.mean(gains, axis=0)


class Published(NamedTuple):
    """A training, the loss it reaches, and the least of its metrics at 10."""

    rank: int
    max_iter: int
    loss: float
    hit_rate: float
    ndcg: float


@pytest.mark.parametrize(
    "published",
    [
        Published(64, 12, 545_745, 0.719, 0.441),
        # 14 iterations. After 12 the loss is 541,387 and the hit rate 0.7276, 0.7275, 0.7288
        # or 0.7288 with seeds 0 to 3: one user of the 6,040 is 0.00017.
        pytest.param(Published(192, 14, 541_400, 0.728, 0.447), marks=pytest.mark.exhaustive),
    ],
    ids=lambda published: f"rank-{published.rank}",
)
def test_the_published_loss_and_ranking_are_reached(data, train, evaluate, published):
    path = data / "ncf-ml-1m/ml-1m.train.rating"
    size = (f"train.rank={published.rank}", f"train.max_iter={published.max_iter}")
    _, users, items = train(*SETTINGS, f"input.path={path}", *size)
    pairs = np.array([line.split("\t")[:2] for line in path.read_text().splitlines()])
    user_rows, item_rows = ({i: n for n, i in enumerate(side)} for side in (users, items))
    rows, columns = [user_rows[u] for u in pairs[:, 0]], [item_rows[i] for i in pairs[:, 1]]
    x, y = np.stack(list(users.values())), np.stack(list(items.values()))
    n_u, n_i = np.bincount(rows), np.bincount(columns)
    loss = (
        ((np.einsum("pf,pf->p", x[rows], y[columns]) - 1) ** 2).sum()
        + 0.3 * np.vdot(x.T @ x, y.T @ y)
        + 0.007 * ((n_u + 0.3 * len(y)) @ (x**2).sum(axis=1) + (n_i + 0.3 * len(x)) @ (y**2).sum(axis=1))
    )
    assert loss == pytest.approx(published.loss, rel=1e-3)

    metrics = evaluate(
        *INPUT, f"input.path={path}", f"test.path={data}/ncf-ml-1m/ml-1m.test.rating",
        f"candidates.path={data}/ncf-ml-1m/ml-1m.test.negative", "candidates.format=ncf", "evaluate.k=10",
    )  # fmt: skip
    of_model, of_popularity = (
        [metrics[name][system] for name in ("hit_rate@10", "ndcg@10")] for system in ("model", "popularity")
    )
    print(f"rank {published.rank}: loss {loss:,.1f} of {published.loss:,}, {of_model}")
    assert of_model == pytest.approx(plain_metrics(data, users, items), abs=2e-4)
    assert of_popularity == pytest.approx([0.4535, 0.2543], abs=2e-3)
    assert of_model[0] >= published.hit_rate
    assert of_model[1] >= published.ndcg


def test_defaults_have_nearly_the_published_metrics(data):
    pairs = [line.split("\t")[:2] for line in (data / "ncf-ml-1m/ml-1m.train.rating").read_text().splitlines()]
    users, items = zip(*pairs, strict=True)
    model = fit(Interactions(users, items, np.ones(len(users))), Config.of())
    hit_rate, ndcg = plain_metrics(data, model.users, model.items)
    print(f"HR@10 {hit_rate:.4f}, NDCG@10 {ndcg:.4f}")
    assert hit_rate >= 0.715
    assert ndcg >= 0.435

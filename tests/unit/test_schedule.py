from __future__ import annotations

import numpy as np
import oracle
import pytest
from objectives import train_settings

from wals_spark.local.blocks import Interactions
from wals_spark.local.synthetic import synthetic_ratings
from wals_spark.local.training import fit
from wals_spark.run.schedule import last_solver, solver_of
from wals_spark.settings.train import load_config
from wals_spark.solvers.half_iteration import Solver


def test_all_but_the_first_iteration_and_last_solve_are_relaxed():
    settings = train_settings(max_iter=3, relaxation=1.7)
    assert [solver_of(settings, number).relaxation for number in range(1, 7)] == [1.0, 1.0, 1.7, 1.7, 1.7, 1.0]
    unbounded = train_settings(max_iter=3, nonnegative=True)
    assert {solver_of(unbounded, number).relaxation for number in range(1, 7)} == {1.0}


@pytest.mark.parametrize(("solver", "last"), [("cg", "exact"), ("exact", "exact"), ("cholesky", "cholesky")])
def test_the_last_solve_is_exact(solver, last):
    settings = train_settings(max_iter=2, solver=solver, relaxation=1.0)
    assert solver_of(settings, 3) == Solver(solver, settings.cg_steps)
    assert solver_of(settings, 4) == last_solver(settings) == Solver(last, settings.cg_steps)


def test_relaxed_training_takes_half_of_the_iterations():
    users, items, ratings = synthetic_ratings(20_000, users=400, items=150, tastes=12, seed=3)
    hkv = ["train.unobserved_weight=1", "train.unobserved_on=missing", "train.reg_scaling=count"]
    common = ["input.path=a", "output.path=b", "train.rank=8", "train.reg_param=0.1", *hkv]

    def loss(max_iter, *settings):
        config = load_config(None, [*common, *settings, f"train.max_iter={max_iter}"])
        model = fit(Interactions(users, items, ratings), config, user_blocks=2, item_blocks=2)
        n_users, n_items = len(model.users), len(model.items)
        c, p, _ = oracle.dense((n_users, n_items), users, items, ratings, "log", 10.0, 1.0)
        x, y = (np.stack([rows[i] for i in sorted(rows)]) for rows in (model.users, model.items))
        counts = (np.bincount(ids, minlength=n) for ids, n in ((users, n_users), (items, n_items)))
        return oracle.loss(c, p, x, y, [0.1 * n for n in counts])

    assert loss(6) < loss(12, "train.relaxation=1")

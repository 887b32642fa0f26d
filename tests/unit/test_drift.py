"""Rotations of factors, and the drift between two models."""

from __future__ import annotations

import numpy as np
import pytest

from wals_spark.nights.drift import Common, drift_of
from wals_spark.solvers.alignment import cross_product, rotated, rotation_of

RNG = np.random.default_rng(3)
RANK = 8
ITEMS, USERS = (RNG.normal(size=(n, RANK)).astype(np.float32) for n in (300, 40))
IDS = {side: {"kept": 1, "new": 2, "gone": 3} for side in ("users", "items")}


def orthogonal(rank=RANK):
    return np.linalg.qr(RNG.normal(size=(rank, rank)))[0]


def test_a_rotated_model_is_rotated_back():
    turned = rotated(ITEMS, orthogonal())
    back = rotated(turned, rotation_of(cross_product(turned, ITEMS, RANK)))
    np.testing.assert_allclose(back, ITEMS, atol=1e-5)


def test_no_orthogonal_matrix_brings_rows_closer():
    others = ITEMS + 0.3 * RNG.normal(size=ITEMS.shape).astype(np.float32)
    best = np.linalg.norm(rotated(others, rotation_of(cross_product(others, ITEMS, RANK))) - ITEMS)
    for _ in range(50):
        assert best <= np.linalg.norm(rotated(others, orthogonal()) - ITEMS) + 1e-4


def test_a_rotation_changes_no_score_and_leaves_biases_alone():
    rotation = orthogonal(RANK - 2)
    users, items = rotated(USERS, rotation), rotated(ITEMS, rotation)
    np.testing.assert_allclose(users @ items.T, USERS @ ITEMS.T, atol=1e-4)
    np.testing.assert_array_equal(items[:, -2:], ITEMS[:, -2:])


def test_the_same_model_has_not_drifted():
    drift = drift_of(Common(ITEMS, ITEMS), Common(USERS, USERS), RANK, IDS, "v")
    assert {drift[name] for name in drift if "kept" in name or "under" in name or "cosine" in name} == {1.0}
    assert "may be used" in drift["rebuild"]
    assert "lacks 2 items" in drift["rebuild"]


def test_a_rotated_model_keeps_its_lists_and_no_index():
    rotation = orthogonal()
    items, users = (Common(rotated(rows, rotation), rows) for rows in (ITEMS, USERS))
    drift = drift_of(items, users, RANK, IDS, "v")
    assert drift["neighbours_kept"] > 0.99
    assert drift["lists_kept"] > 0.99
    assert drift["cosine_after_rotation"] == pytest.approx(1.0, abs=1e-4)
    assert max(drift["neighbours_under_served_index"], drift["lists_under_served_index"]) < 0.3
    assert "must not be mixed" in drift["rebuild"]

"""The slow, obvious judge: dense matrices, float64, one row at a time, straight from the formula."""

from __future__ import annotations

import numpy as np


def excess(ratings, function, alpha, epsilon=1.0):
    """c(r) − 1, elementwise, written out once more."""
    return {
        "constant": lambda r: alpha * np.ones_like(r),
        "linear": lambda r: alpha * r,
        "log": lambda r: alpha * np.log(1 + r / epsilon),
        "sqrt": lambda r: alpha * np.sqrt(r),
    }[function](np.asarray(ratings, dtype=np.float64))


def dense(n_users, n_items, users, items, ratings, function="linear", alpha=1.0, epsilon=1.0):
    """C and P of Hu, Koren and Volinsky: confidence 1 and preference 0 where nothing was observed."""
    confidence, preference = np.ones((n_users, n_items)), np.zeros((n_users, n_items))
    observed = np.zeros((n_users, n_items), dtype=bool)
    for u, i, r in zip(users, items, ratings, strict=True):
        confidence[u, i] = 1 + excess(abs(r), function, alpha, epsilon)
        preference[u, i] = float(r > 0)
        observed[u, i] = True
    return confidence, preference, observed


def diagonal(observed, reg_param, scaling):
    """Λ of each row."""
    counts = observed.sum(axis=1)
    return np.where(scaling == "count", reg_param * counts, reg_param * np.ones(len(counts)))


def solve(confidence, preference, observed, fixed, reg_param, scaling="plain"):
    """Every row's exact solution; ``fixed`` has shape (n_columns, rank)."""
    fixed = np.asarray(fixed, dtype=np.float64)
    penalties = diagonal(observed, reg_param, scaling)
    return np.stack(
        [
            np.linalg.solve((fixed * c[:, None]).T @ fixed + penalty * np.eye(fixed.shape[1]), fixed.T @ (c * p))
            for c, p, penalty in zip(confidence, preference, penalties, strict=True)
        ]
    )


def loss(confidence, preference, observed, x, y, reg_param, scaling="plain"):
    """Σ_all c (p − x·y)² + Σ_u Λ_u|x_u|² + Σ_i Λ_i|y_i|², as a double loop."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    total = 0.0
    for u in range(len(x)):
        for i in range(len(y)):
            total += confidence[u, i] * (preference[u, i] - x[u] @ y[i]) ** 2
    total += diagonal(observed, reg_param, scaling) @ (x**2).sum(axis=1)
    total += diagonal(observed.T, reg_param, scaling) @ (y**2).sum(axis=1)
    return float(total)

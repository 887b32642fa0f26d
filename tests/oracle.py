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
    counted = np.zeros((n_users, n_items), dtype=bool)
    for u, i, r in zip(users, items, ratings, strict=True):
        confidence[u, i] = 1 + excess(abs(r), function, alpha, epsilon)
        preference[u, i] = float(r > 0)
        counted[u, i] = r > 0
    return confidence, preference, counted


def general(n_users, n_items, users, items, ratings, objective):
    """Any objective as Σ_all C (T − x·y)² + constant: dense C and T, the constant, and which pairs count for λ."""
    chosen = objective.confidence
    c_all = np.full((n_users, n_items), objective.unobserved_weight)
    t_all = np.zeros((n_users, n_items))
    counted = np.zeros((n_users, n_items), dtype=bool)
    constant = 0.0
    for u, i, r in zip(users, items, np.asarray(ratings, dtype=np.float64), strict=True):
        c = chosen.base + excess(abs(r), chosen.function, chosen.alpha, chosen.epsilon)
        t = r if objective.target == "rating" else float(r > 0)
        counted[u, i] = objective.target == "rating" or r > 0
        if objective.unobserved_on == "all":  # c (t − ŷ)² + α₀ ŷ², completed to one square
            c_all[u, i], t_all[u, i] = c + objective.unobserved_weight, c * t / (c + objective.unobserved_weight)
            constant += c * t**2 - c_all[u, i] * t_all[u, i] ** 2
        else:
            c_all[u, i], t_all[u, i] = c, t
    return c_all, t_all, constant, counted


def diagonal(counted, reg_param, scaling, alpha_0=1.0, exponent=1.0):
    """Λ of each row, from the pairs that count; a row that has none counts one."""
    n = np.maximum(counted.sum(axis=1), 1)
    return {
        "plain": reg_param * np.ones(len(n)),
        "count": reg_param * n,
        "frequency": reg_param * (n + alpha_0 * counted.shape[1]) ** exponent,
    }[scaling]


def solve(confidence, target, penalties, fixed):
    """Every row's exact solution of Σ_i c (t − x·y)² + Λ|x|²; ``fixed`` has shape (n_columns, rank)."""
    fixed = np.asarray(fixed, dtype=np.float64)
    return np.stack(
        [
            np.linalg.solve((fixed * c[:, None]).T @ fixed + penalty * np.eye(fixed.shape[1]), fixed.T @ (c * t))
            for c, t, penalty in zip(confidence, target, penalties, strict=True)
        ]
    )


def loss(confidence, target, x, y, x_penalties, y_penalties):
    """Σ_all c (t − x·y)² + Σ_u Λ_u|x_u|² + Σ_i Λ_i|y_i|², as a double loop."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    total = 0.0
    for u in range(len(x)):
        for i in range(len(y)):
            total += confidence[u, i] * (target[u, i] - x[u] @ y[i]) ** 2
    return float(total + x_penalties @ (x**2).sum(axis=1) + y_penalties @ (y**2).sum(axis=1))

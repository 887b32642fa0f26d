"""The slow, obvious reference: dense matrices, float64, one row at a time, straight from the formula."""

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


def dense(shape, users, items, ratings, function="linear", alpha=1.0, epsilon=1.0):
    """C and P of Hu, Koren and Volinsky, of shape (n_users, n_items): 1 and 0 where nothing was observed."""
    confidence, preference = np.ones(shape), np.zeros(shape)
    counted = np.zeros(shape, dtype=bool)
    for u, i, r in zip(users, items, ratings, strict=True):
        confidence[u, i] = 1 + excess(abs(r), function, alpha, epsilon)
        preference[u, i] = float(r > 0)
        counted[u, i] = r > 0
    return confidence, preference, counted


def item_multipliers(n_items, items, ratings, item_weight):
    """What each item's popularity multiplies; an item without positive ratings counts one."""
    counts = [max(1, int(np.sum((items == item) & (ratings > 0)))) for item in range(n_items)]
    of_count = {
        "none": lambda c: 1.0,
        "count": lambda c: c,
        "inverse": lambda c: 1 / c,
        "power": lambda c: (1 / c) ** item_weight.exponent,
        "propensity": lambda c: 1 / max(item_weight.floor, (c / max(counts)) ** item_weight.exponent),
    }[item_weight.function]
    return [of_count(c) for c in counts]


def general(n_users, n_items, users, items, ratings, objective, weights=None):
    """Any objective as Σ_all C (T − x·y)² + constant: dense C and T, the constant, and which pairs count for λ."""
    confidence = objective.confidence
    multiplier = item_multipliers(n_items, items, ratings, objective.item_weight)
    c_all = np.full((n_users, n_items), objective.unobserved_weight)
    t_all = np.zeros((n_users, n_items))
    counted = np.zeros((n_users, n_items), dtype=bool)
    constant = 0.0
    weights = np.ones(len(users)) if weights is None else weights
    for u, i, r, v in zip(users, items, np.asarray(ratings, dtype=np.float64), weights, strict=True):
        above = excess(abs(r), confidence.function, confidence.alpha, confidence.epsilon)
        if confidence.impression is not None and r <= 0:
            above = confidence.impression
        c = confidence.base + above * v * multiplier[i]
        t = r - objective.offset if objective.target == "rating" else float(r > 0)
        counted[u, i] = objective.target == "rating" or r > 0
        if objective.unobserved_on == "all":  # c (t − ŷ)² + α₀ ŷ², completed to one square
            c_all[u, i] = c + objective.unobserved_weight
            t_all[u, i] = c * t / c_all[u, i] if c else 0.0
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


def solve(confidence, target, penalties, fixed, held=None):
    """Every row's exact solution of Σ_i c (t − x·y)² + Λ|x|²; ``fixed`` has shape (n_columns, width).

    With ``held``, that coordinate of x is 1 and free of penalty: what it adds to the score is taken off the target.
    """
    fixed = np.asarray(fixed, dtype=np.float64)
    if held is not None:
        rows = solve(confidence, target - fixed[:, held], penalties, np.delete(fixed, held, axis=1))
        return np.insert(rows, held, 1.0, axis=1)
    return np.stack(
        [
            np.linalg.solve((fixed * c[:, None]).T @ fixed + penalty * np.eye(fixed.shape[1]), fixed.T @ (c * t))
            for c, t, penalty in zip(confidence, target, penalties, strict=True)
        ]
    )


def penalty(rows, diagonal, held=None):
    """Σ Λ|x|² over what is not held."""
    rows = np.asarray(rows, dtype=np.float64)
    free = rows if held is None else np.delete(rows, held, axis=1)
    return float(diagonal @ (free**2).sum(axis=1))


def loss(confidence, target, x, y, penalties, held=(None, None)):
    """Σ_all c (t − x·y)² + Σ_u Λ_u|x_u|² + Σ_i Λ_i|y_i|², as a double loop; penalties and held of x and of y."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    total = 0.0
    for u in range(len(x)):
        for i in range(len(y)):
            total += confidence[u, i] * (target[u, i] - x[u] @ y[i]) ** 2
    of_rows = sum(penalty(rows, *side) for rows, *side in zip((x, y), penalties, held, strict=True))
    return float(total) + of_rows

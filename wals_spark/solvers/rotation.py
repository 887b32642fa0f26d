"""The least squares problems of a block in the eigenbasis of the Gramian, and the way back.

Every row of a half-iteration has the same α₀G in its lhs. With G = V diag(g) Vᵀ and all rows of the fixed side rotated
to ỹ = Vᵀy once, a row is

    lhs = diag(α₀g + Λ_u) + Σ w ỹ ỹᵀ        rhs = Σ s ỹ

so that a product with lhs costs 4 f per observation and no f².

With biases, coordinate h of the solved row is held at 1. The others are rotated; what h adds to a score is a known
number of each fixed row, the ``shift``, and α₀G[:, h] goes to the right-hand side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wals_spark.arrays.batching import row_slices
from wals_spark.arrays.dictionary import count_indices
from wals_spark.arrays.types import Float32Array, Float64Array
from wals_spark.blocks.weighted import WeightedBlock
from wals_spark.objective.objective import Objective
from wals_spark.solvers.systems import LeastSquares, Observations, RotatedSystem


@dataclass(frozen=True)
class RotatedRows:
    """Rows of a block in rotated coordinates.

    Attributes
    ----------
    solution : float32, shape (n_rows, f)
        The rotated current factors, or 0: solvers improve them in place.
    rotation : float32, shape (f, f)
        ``V``.
    unobserved_lhs : float64, shape (width, width)
        ``α₀G``, not rotated.
    """

    system: RotatedSystem
    solution: Float32Array
    rotation: Float32Array
    unobserved_lhs: Float64Array
    objective: Objective

    @classmethod
    def of(cls, problem: LeastSquares, current: Float32Array | None, *, overwrite_received: bool) -> RotatedRows:
        """Rotate a problem and the current factors (n_rows, width); the received rows in place if allowed."""
        block, objective = problem.block, problem.objective
        held, free = objective.held, objective.free(problem.fixed_gramian.shape[0])
        unobserved_lhs = objective.unobserved_weight * problem.fixed_gramian
        eigenvalues, eigenvectors = np.linalg.eigh(problem.fixed_gramian[np.ix_(free, free)])
        rotation = eigenvectors.astype(np.float32)
        shift, rhs_constant = np.empty(0, dtype=np.float32), np.zeros(len(free))
        if held is not None:
            shift = np.ascontiguousarray(problem.received[:, held])
            rhs_constant = -unobserved_lhs[free, held] @ eigenvectors
        received = _without_held(problem.received, held)
        if received is problem.received and not overwrite_received:
            received = received @ rotation
        else:
            rotate(received, rotation)
        solution = np.zeros((block.n_rows, len(free)), dtype=np.float32)
        if current is not None:
            solution = _without_held(current, held) @ rotation
        system = RotatedSystem(
            observations=Observations.of(block, received, objective.unobserved_weight_in_confidence),
            shift=shift,
            rhs_constant=rhs_constant.astype(np.float32),
            diagonal=(objective.unobserved_weight * np.maximum(eigenvalues, 0.0)).astype(np.float32),
            regularization=block.regularization,
        )
        return cls(system, solution, rotation, unobserved_lhs, objective)

    def rotate_back(self) -> Float32Array:
        """The factors of ``solution``, shape (n_rows, width), rotated back in its memory; what is held is 1."""
        rotate(self.solution, self.rotation.T)
        if self.objective.held is None:
            return self.solution
        width = len(self.unobserved_lhs)
        factors = np.ones((len(self.solution), width), dtype=np.float32)
        factors[:, self.objective.free(width)] = self.solution
        return factors

    def constant(self, block: WeightedBlock) -> float:
        """What does not depend on the free coordinates: ``Σ_Ω (w h² − 2 s h + k)``, and ``α₀G[h, h]`` per row."""
        w, t = block.excess_weight.astype(np.float64), block.target.astype(np.float64)  # of each distinct pair
        s = (w + self.objective.unobserved_weight_in_confidence) * t
        constant = float((s * t) @ count_indices(block.indices, len(w)))
        held = self.objective.held
        if held is None:
            return constant
        h = self.system.shift[block.positions].astype(np.float64)
        of_observed = float(w[block.indices] @ h**2 - 2.0 * s[block.indices] @ h) + constant
        return of_observed + block.n_rows * float(self.unobserved_lhs[held, held])


def rotate(rows: Float32Array, rotation: Float32Array) -> None:
    """``rows @ rotation``, in the memory of the rows."""
    for batch in row_slices(len(rows)):
        rows[batch] = rows[batch] @ rotation


def _without_held(factors: Float32Array, held: int | None) -> Float32Array:
    return factors if held is None else np.delete(factors, held, axis=1)

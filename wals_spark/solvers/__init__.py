"""One block's part of a half-iteration: normal equations, and the solvers of its rows."""

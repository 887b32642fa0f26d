"""One block's half-iteration: normal equations and the solvers of its rows."""

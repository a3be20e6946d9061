"""One zero-sum matrix game as a linear program for HiGHS: what the simplex loops are held to and fall back on.

min v   s.t.  A y <= v 1,   1^T y = 1,   y >= 0;        x are the prices of the first constraints
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def solve(payoffs: Array) -> tuple[Array, Array]:
    """Strategies x[m] and y[n] of payoffs[m, n] in [0, 1]; uniform where HiGHS finds none."""
    from scipy.optimize import linprog

    m, n = payoffs.shape
    found = linprog(
        np.append(np.zeros(n), 1.0),
        A_ub=np.column_stack([payoffs, -np.ones(m)]),
        b_ub=np.zeros(m),
        A_eq=np.append(np.ones(n), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(None, None)],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.x is None or found.ineqlin.marginals is None:
        return np.full(m, 1 / m), np.full(n, 1 / n)
    x, y = np.maximum(-found.ineqlin.marginals, 0), np.maximum(found.x[:n], 0)
    x, y = x / x.sum(), y / y.sum()
    return min([(x, y), polished(payoffs, x, y)], key=lambda pair: gap(payoffs, *pair))


def gap(payoffs: Array, x: Array, y: Array) -> float:
    """max A y - min A^T x; infinite for what is no number."""
    found = float((payoffs @ y).max() - (x @ payoffs).min())
    return found if np.isfinite(found) else np.inf


def polished(payoffs: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """The strategies on the same supports that make each other indifferent, where there are such: the last digits."""
    rows, columns = np.flatnonzero(x), np.flatnonzero(y)
    if len(rows) != len(columns):
        return x, y
    square = payoffs[np.ix_(rows, columns)]
    x, y = np.zeros_like(x), np.zeros_like(y)
    x[rows], y[columns] = indifferent(square.T), indifferent(square)
    return x, y


def indifferent(square: Array) -> Array:
    """y with sum 1 under which all rows of square[k, k] pay the same, negative parts cut off; NaN if there is none."""
    k = len(square)
    system = np.zeros((k + 1, k + 1))
    system[:k, :k], system[:k, k], system[k, :k] = square, -1, 1
    try:
        y = np.maximum(np.linalg.solve(system, np.append(np.zeros(k), 1.0))[:k], 0)
    except np.linalg.LinAlgError:
        return np.full(k, np.nan)
    return np.asarray(y / y.sum()) if y.sum() > 0 else np.full(k, np.nan)

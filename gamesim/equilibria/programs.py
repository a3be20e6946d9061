"""Linear and concave programs over the equilibria that `gamesim.equilibria.incentives` describes.

The linear ones go to HiGHS. Its dual simplex method is quick where few incentives bind, as at high welfare, and slow
where hundreds do; then the interior-point method, with its crossover to a vertex, takes over. The concave ones go to
cvxpy, with Clarabel and then SCS.
"""

import warnings
from importlib import import_module
from typing import Any

import numpy as np

from gamesim.equilibria.exact import Floats
from gamesim.equilibria.incentives import Conditions

SOLVERS: list[tuple[str, dict[str, Any]]] = [
    ("CLARABEL", {"direct_solve_method": "faer", "max_threads": 1}),  # several times quicker on rows as full as these
    ("CLARABEL", {}),
    ("SCS", {"eps": 1e-9, "max_iters": 20_000}),
]
"""Of concave objectives: interior points may stall a digit before their tolerance, and the next has a try."""


class Unsolved(RuntimeError):
    """The solver gave no answer, or one that the incentives refute: the message says what to try."""


def fairest(conditions: Conditions, parts: Floats) -> Floats:
    """argmax_p min_i <parts_i, p> over the equilibria; parts[player, profile] in [0, 1]."""
    from scipy.sparse import block_array, csr_array

    n, profiles = parts.shape
    rows, columns = conditions.at_most.shape
    shortfall = np.zeros((n, columns))  # t - <parts_i, p> <= 0, t the last variable
    shortfall[:, :profiles] = -parts
    at_most = block_array([[conditions.at_most, csr_array((rows, 1))], [csr_array(shortfall), np.ones((n, 1))]])
    equal = block_array([[conditions.equal, csr_array((conditions.equal.shape[0], 1))]])
    larger = Conditions(at_most.tocsr(), equal.tocsr(), np.append(conditions.lower, 0.0))
    return program(larger, np.append(np.zeros(columns), -1.0), profiles)


def program(conditions: Conditions, cost: Floats, profiles: int) -> Floats:
    """The p of argmin <cost, z> under the conditions on z = (p[profile], ...), p summing to one."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, vstack

    columns, rows = len(conditions.lower), conditions.at_most.shape[0]
    equal = vstack([csr_array([1.0 * (np.arange(columns) < profiles)]), conditions.equal]).tocsr()
    precise = {"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9}
    few = 500 + profiles // 10  # pivots; from about here on the interior-point method is the quicker one
    presolve = conditions.equal.shape[0] > 0  # finds nothing in the rows of correlated equilibria, and takes its time
    said = ""
    for method, more in (("highs-ds", {"maxiter": few, "presolve": presolve}), ("highs-ipm", {}), ("highs-ds", {})):
        found = linprog(
            cost,
            A_ub=conditions.at_most if rows else None,
            b_ub=np.zeros(rows) if rows else None,
            A_eq=equal,
            b_eq=np.append(1.0, np.zeros(equal.shape[0] - 1)),
            bounds=np.column_stack([conditions.lower, np.full(columns, np.inf)]),
            method=method,
            options={**precise, **more},
        )
        if found.status == 0:
            return np.asarray(found.x[:profiles])
        said = str(found.message)
    raise Unsolved(f"HiGHS: {said} Rescale or round the payoffs, or take kind='coarse', a smaller program")


def concave(conditions: Conditions, objective: str, profiles: int, parts: Floats | None = None) -> Floats:
    """argmax of entropy, gini or the product of <parts_i, p> over the equilibria, by cvxpy."""
    cvxpy: Any = import_module("cvxpy")  # its types leave out half of its functions

    z = cvxpy.Variable(len(conditions.lower))
    p = z[:profiles]
    constraints = [z[np.isfinite(conditions.lower)] >= 0, cvxpy.sum(p) == 1]
    if conditions.at_most.shape[0]:
        constraints.append(conditions.at_most @ z <= 0)
    if conditions.equal.shape[0]:
        constraints.append(conditions.equal @ z == 0)
    if objective == "entropy":
        goal = cvxpy.sum(cvxpy.entr(p))
    elif objective == "gini":
        goal = -cvxpy.sum_squares(p)
    else:
        goal = cvxpy.geo_mean(parts @ p)  # second-order cones, steadier than a sum of logarithms
    problem = cvxpy.Problem(cvxpy.Maximize(goal), constraints)
    said = ""
    for solver, options in SOLVERS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is not accurate goes to the next solver, or is an error
                problem.solve(solver=solver, warm_start=False, **options)  # warm, it would keep the first options
        except cvxpy.SolverError as error:
            said = str(error)
            continue
        if problem.status == cvxpy.OPTIMAL:
            return np.asarray(p.value)
        said = problem.status
    raise Unsolved(f"Clarabel, SCS: {said}. Rescale or round the payoffs, or take a linear objective")

"""Eigenvalues of the quadratic form that a linear interaction makes of two populations.

With d(k) = rho(k) - rho'(k), which sums to 0 over states and actions, q the weights of the grid and m the masses,

    sum_k q_k <d_k, r(z(mu)) - r(z(mu'))> = sum_{k,j} x_k' (n_k C_kj P_k) x_j,    x_k = sqrt(q_k) d_k,  n_k = 1 / m_k
    C = q^(1/2) W q^(1/2),    P_k = Pi K_k L Pi,    L: sum over actions,  Pi: projection off the constants

Where P_k = c_k P, as in every game whose reward does not ask who it is paid to, and P is symmetric or g = n c constant,
the symmetric part is sym(g C) (x) sym(P): its eigenvalues are the products of those of the two.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, einsum
from torch.nn.functional import one_hot

from gamesim.certificates.interaction import which_graphon
from gamesim.games import GraphonGame
from gamesim.graphons import LowRank, Operator, PrefixSum, Step
from gamesim.randomness import Stream

LIMIT = 2000
"""Rows of a dense eigenvalue problem, at most."""
STEPS = 100
"""Dimension of the space in which eigenvalues beyond that are looked for."""
ALIKE = 1e-9
"""Relative difference up to which two slopes count as proportional."""
TOLERANCE = 1e-10
"""Relative size up to which a positive eigenvalue counts as rounding."""


class Extremes(NamedTuple):
    """The ends of a symmetric spectrum, their vectors, and whether nothing can lie beyond."""

    low: float
    high: float
    low_vector: Tensor
    high_vector: Tensor
    exact: bool


class Form(NamedTuple):
    """The largest eigenvalue of the form, its eigenvector d[k, s, a], and what it was made of."""

    worst: float
    size: float
    """The largest absolute eigenvalue: what rounding is relative to."""
    direction: Tensor
    eigenvalues: dict[str, tuple[float, float]]
    exact: bool


def arnoldi(apply: Callable[[Tensor], Tensor], start: Tensor, steps: int, tiny: float) -> tuple[Tensor, Tensor]:
    """An orthonormal basis[m, n] of the Krylov space of start[n], and the map in it, [m, m]; m <= steps."""
    steps = min(steps, len(start))
    basis, inside = start.new_zeros(steps + 1, len(start)), start.new_zeros(steps + 1, steps)
    basis[0] = start / start.norm()
    for j in range(steps):
        moved = apply(basis[j])
        for _ in range(2):  # once leaves rounding errors along the basis
            along = basis[: j + 1] @ moved
            moved = moved - along @ basis[: j + 1]
            inside[: j + 1, j] += along
        inside[j + 1, j] = moved.norm()
        if inside[j + 1, j] <= tiny * inside.abs().max():  # the space is closed under the map
            return basis[: j + 1], inside[: j + 1, : j + 1]
        basis[j + 1] = moved / inside[j + 1, j]
    return basis[:steps], inside[:steps, :steps]


def span(columns: Tensor) -> Tensor:
    """An orthonormal basis[n, r] of what columns[n, c] span."""
    basis, size, _ = torch.linalg.svd(columns, full_matrices=False)
    kept: Tensor = basis[:, size > 1e-13 * size.max()]
    return kept


def graphon_extremes(game: GraphonGame, operator: Operator, g: Tensor) -> Extremes:
    """Of sym(g C) for the graphon on the grid and g[k]: all of it up to LIMIT positions or at low rank."""
    root = game.grid.weights.sqrt()[:, None]

    def apply(x: Tensor) -> Tensor:
        felt, scaled = root * operator(x / root), g[:, None] * x
        return (g[:, None] * felt + root * operator(scaled / root)) / 2

    few, positive = _columns(operator), bool((g == 1).all()) and _is_positive(operator)
    exact = True
    if few is not None and 2 * few.shape[1] < min(len(root), LIMIT):
        basis = span(torch.cat([root * few, g[:, None] * root * few], 1))
    elif len(root) <= LIMIT:
        basis = torch.eye(len(root), **game.like)
    else:
        basis = arnoldi(lambda x: apply(x[:, None])[:, 0], _generic(game, len(root)), STEPS, 1e-12)[0].mT
        exact = False
    found = _extremes(basis.mT @ apply(basis), basis, exact)
    if positive and not exact:  # then what lies beyond is larger than found, and positive
        return found._replace(low=0.0, exact=True)
    return _with_zero(found) if basis.shape[1] < len(root) else found


def linear_form(game: GraphonGame, h: int, K: Tensor, size: float) -> Form | None:
    """The form of slopes K[k, s, a, t] at step h, or None where it is zero up to rounding of rewards of that size."""
    k, s, a, _ = K.shape
    operator = game.operators[which_graphon(game, h)]
    degree = operator(torch.ones(k, 1, **game.like))[:, 0]
    n = torch.where(degree > 0, 1 / degree, torch.zeros_like(degree))
    flat = K.flatten(1, 2)
    flat = flat - flat.mean(-1, keepdim=True)  # what all laws share cancels in a difference of laws
    flat = flat - flat.mean(-2, keepdim=True)  # and so does what all states and actions are paid
    strength = flat.flatten(1).norm(dim=1)
    if float(strength.max()) <= 1e-11 * size * (s * a) ** 0.5 or float(degree.max()) == 0:
        return None
    strongest = flat[int(strength.argmax())]
    c = (flat * strongest).sum((-2, -1)) / (strongest**2).sum()
    over_actions = (torch.eye(s, **game.like) - 1 / s).repeat_interleave(a, 1)  # L Pi, [t, (s, a)]

    together = (flat - c[:, None, None] * strongest).flatten(1).norm(dim=1).max() <= ALIKE * strength.max()
    if together:
        basis = span(torch.cat([strongest / strongest.norm(), over_actions.mT], 1))
        P, g = basis.mT @ strongest @ over_actions @ basis, n * c
        size = float(g.abs().max())
        if (g - size).abs()[degree > 0].max() <= ALIKE * size:  # K is the same per unit of z: W itself is the graphon
            return _products(game, graphon_extremes(game, operator, torch.ones_like(g)), size * P, basis)
        if (P - P.mT).norm() <= ALIKE * P.norm():
            size = 1.0 if game.normalize else size
            return _products(game, graphon_extremes(game, operator, g / size), size * P, basis)
    basis = span(torch.cat([(flat / strength.max()).movedim(0, 1).flatten(1), over_actions.mT], 1))
    return _joint(game, operator, n, basis.mT @ flat @ over_actions @ basis, basis)


def _products(game: GraphonGame, W: Extremes, P: Tensor, basis: Tensor) -> Form:
    """sym(g C) (x) sym(P): the worst product of an eigenvalue of each."""
    inside = _extremes((P + P.mT) / 2, basis, True)
    if basis.shape[1] < len(basis) - 1:
        inside = _with_zero(inside)
    ends = [(W.low, W.low_vector), (W.high, W.high_vector)]
    pairs = [
        (w * p, u, v) for w, u in ends for p, v in ((inside.low, inside.low_vector), (inside.high, inside.high_vector))
    ]
    worst, u, v = max(pairs, key=lambda pair: pair[0])
    direction = (u[:, None] * v).unflatten(1, game.shape[-2:])
    eigenvalues = {"graphon": (W.low, W.high), "interaction": (inside.low, inside.high)}
    return Form(worst, max(abs(p) for p, _, _ in pairs), _unweighted(game, direction), eigenvalues, W.exact)


def _joint(game: GraphonGame, operator: Operator, n: Tensor, P: Tensor, basis: Tensor) -> Form:
    """The whole form at once, for slopes P[k, r, r] that vary with the position."""
    k, r, _ = P.shape
    root, n = game.grid.weights.sqrt()[:, None], n[:, None]

    def apply(x: Tensor) -> Tensor:
        felt = einsum("kij,...kj->...ki", P, n * root * operator(x / root))
        sent = root * operator(n * einsum("kji,...kj->...ki", P, x) / root)
        return (felt + sent) / 2

    if k * r <= LIMIT:
        space = torch.eye(k * r, **game.like)
    else:
        start = _generic(game, k * r)
        space = arnoldi(lambda x: apply(x.view(k, r)).flatten(), start, STEPS, 1e-12)[0].mT
    moved = apply(space.mT.reshape(-1, k, r)).flatten(1)
    found = _extremes(space.mT @ moved.mT, space, k * r <= LIMIT)
    direction = (found.high_vector.view(k, r) @ basis.mT).unflatten(1, game.shape[-2:])
    size = max(abs(found.low), abs(found.high))
    W = graphon_extremes(game, operator, torch.ones_like(n[:, 0]))
    eigenvalues = {"graphon": (W.low, W.high), "joint": (found.low, found.high)}
    return Form(found.high, size, _unweighted(game, direction), eigenvalues, found.exact)


def _columns(operator: Operator) -> Tensor | None:
    """Columns[k, r] that span all that the operator can answer, where it is of low rank."""
    match operator:
        case LowRank(left) if left.dim() == 2:
            return left
        case Step(values, block, weights) if values.dim() == 2:
            return one_hot(block, values.shape[-1]).to(weights)
    return None


def _is_positive(operator: Operator) -> bool:
    """rising(min) falling(max) is positive semidefinite exactly if rising / falling increases: Brownian motion."""
    match operator:
        case PrefixSum(rising, falling) if rising.dim() == falling.dim() == 1 and bool((falling > 0).all()):
            return bool(rising[0] >= 0) and bool(((rising / falling).diff() >= 0).all())
    return False


def _extremes(matrix: Tensor, basis: Tensor, exact: bool) -> Extremes:
    value, vector = torch.linalg.eigh((matrix + matrix.mT) / 2)
    return Extremes(float(value[0]), float(value[-1]), basis @ vector[:, 0], basis @ vector[:, -1], exact)


def _with_zero(found: Extremes) -> Extremes:
    """The ends of a spectrum that holds 0 besides those found."""
    return found._replace(low=min(found.low, 0.0), high=max(found.high, 0.0))


def _generic(game: GraphonGame, n: int) -> Tensor:
    return Stream(0, iteration=n).normal((n,), **game.like)


def _unweighted(game: GraphonGame, x: Tensor) -> Tensor:
    """d = x / sqrt(q), [k, s, a]."""
    return x / game.grid.weights.sqrt()[:, None, None]

"""How strongly Lambda contracts: best response to a flow, then the flow it induces.

    Lambda = Gamma o Gamma_1^lam,    Gamma_1^lam(mu) = softmax(Q*(mu) / lam),    Gamma(pi) = flow of pi
    d(mu, mu') = max_h int sum_s |mu_h(k, s) - mu'_h(k, s)| dk

The theory of GMFG-PPO (Zhang, Tan, Wang and Yang, arXiv 2310.17531) asks that Lambda contracts. Two numbers say how far
it does not: the largest ratio d(Lambda mu, Lambda mu') / d(mu, mu') met on pairs of flows, below the constant in d; and
the spectral radius of its derivative at the equilibrium, below the constant in every metric of a norm. The eigenvalues
are found with scores, on T = Q* / lam o Gamma o softmax: turning the parts of a product round changes none but zeros.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from gamesim.certificates.equilibrium import Equilibrium, centred, find_equilibrium, respond
from gamesim.certificates.spectrum import arnoldi
from gamesim.games import GraphonGame
from gamesim.randomness import Stream
from gamesim.simplex import softmax

DISTANCE = "max over steps of the mean over positions of the L1 distance between state laws"
KRYLOV = 40
"""Dimension of the space in which eigenvalues are looked for."""
HELD = 100_000_000
"""Numbers that this space may hold."""
NUDGE = 1e-5
"""Change of scores in a central difference."""
AT_ONCE = 2_000_000
"""Probabilities of policies held at once."""
SPREADS = (0.3, 1.0, 3.0, 10.0)
"""Standard deviations of the scores of random policies."""


@dataclass(frozen=True)
class Contraction:
    """An estimate, never a proof that Lambda contracts: both numbers are lower bounds of its constant."""

    verdict: Literal["fails", "undecided"]
    """fails: one of the bounds is 1 or more; undecided: the condition was not refuted."""
    reason: str
    temperature: float
    local: float | None
    """Spectral radius of the derivative at the equilibrium; None where none was found, and at temperature 0."""
    pairs: float
    """The largest ratio of distances on pairs of flows."""
    flows: int
    """Pairs tried."""
    distance: str
    eigenvalues: tuple[tuple[float, float], ...]
    """Real and imaginary parts of the leading eigenvalues at the equilibrium, or where the search for it ended."""
    exploitability: float | None
    """Regularised, of the equilibrium that was found; None where none was."""
    scores: Tensor | None = field(default=None, repr=False)
    """y[h, k, s, a] there."""


def contraction(game: GraphonGame, temperature: float, flows: int, generator: Stream) -> Contraction:
    """Both lower bounds for the constant of Lambda at a temperature."""
    if temperature == 0:
        ratio = _largest_ratio(game, temperature, flows, generator, None)
        verdict, words = _judge(None, ratio)
        reason = f"{words}; at temperature 0 the best response jumps, and has no derivative"
        return Contraction(verdict, reason, temperature, None, ratio, flows, DISTANCE, (), None)
    there = find_equilibrium(game, temperature)
    eigenvalues = local_eigenvalues(game, there.scores, temperature, generator)
    local = float(eigenvalues.abs().max()) if there.found else None
    ratio = _largest_ratio(game, temperature, flows, generator, there)
    verdict, reason = _judge(local, ratio)
    if not there.found:
        reason += f"; no equilibrium was found (regularised exploitability {there.exploitability:.2g} at best)"
    leading = tuple((float(x.real), float(x.imag)) for x in eigenvalues)
    gap = there.exploitability if there.found else None
    return Contraction(verdict, reason, temperature, local, ratio, flows, DISTANCE, leading, gap, there.scores)


def local_eigenvalues(game: GraphonGame, scores: Tensor, temperature: float, generator: Stream) -> Tensor:
    """The leading eigenvalues of the derivative of Lambda at the flow of scores[h, k, s, a], largest first."""

    def derivative(direction: Tensor) -> Tensor:
        largest = direction.abs().max()
        small = NUDGE * direction.view(scores.shape) / largest.clamp(min=1e-300)
        ahead, behind = respond(game, torch.stack([scores + small, scores - small]), temperature)
        moved: Tensor = (ahead - behind).flatten() * (largest / (2 * NUDGE))
        return moved

    start = centred(generator.normal(scores.shape, **game.like)).flatten()
    if scores.shape[-1] == 1:  # one action: nothing responds
        return start.new_zeros(1, dtype=torch.complex128)
    _, inside = arnoldi(derivative, start, min(KRYLOV, HELD // len(start)), 1e-8)
    found = torch.linalg.eigvals(inside)
    found = found[found.abs().argsort(descending=True)]
    kept: Tensor = found[found.abs() >= 1e-6 * found.abs().max()]
    return kept


def respond_flow(game: GraphonGame, flow: Tensor, temperature: float) -> Tensor:
    """Lambda: flow[..., h, k, s] -> the flow of the best response to it."""
    return game.flow(game.best_response(flow, temperature))


def distance(game: GraphonGame, one: Tensor, other: Tensor) -> Tensor:
    """d of flows[..., h, k, s]: [...]."""
    return game.mean((one - other).abs().sum(-1)).amax(-1)


def _largest_ratio(
    game: GraphonGame, temperature: float, pairs: int, generator: Stream, there: Equilibrium | None
) -> float:
    """Over pairs of flows of random policies, far and near, half of them near the equilibrium if there is one."""
    h, (k, s, a) = game.horizon, game.shape
    at_once, largest = max(1, AT_ONCE // (h * k * s * a)), 0.0
    for start in range(0, pairs, at_once):
        n = min(at_once, pairs - start)
        place = torch.arange(start, start + n, device=game.device)
        spread = torch.tensor(SPREADS, **game.like)[place % len(SPREADS)].view(n, 1, 1, 1, 1)
        # what all positions do alike moves aggregates most: independent noise would average out
        common, each = (
            generator.normal((2, n, h, 1, s, a), **game.like),
            generator.normal((2, n, 1, k, s, a), **game.like),
        )
        one, other = spread * (common + 0.3 * each)
        near = (place // len(SPREADS) % 2 == 1).view(n, 1, 1, 1, 1)
        if there is not None:
            one = torch.where(near, there.scores, one)
        other = torch.where(near, one + 0.1 * other, other)
        ends = [game.flow((softmax(y),)) for y in (one, other)]
        before = distance(game, *ends)
        after = distance(game, *(respond_flow(game, flow, temperature) for flow in ends))
        apart = before > 1e-6  # nearer, rounding of Q / lam would be measured
        if bool(apart.any()):
            largest = max(largest, float((after[apart] / before[apart]).max()))
    return largest


def _judge(local: float | None, ratio: float) -> tuple[Literal["fails", "undecided"], str]:
    known = [f"{ratio:.3g} on pairs of flows"] + ([] if local is None else [f"{local:.3g} at the equilibrium"])
    if max(ratio, local or 0.0) >= 1:
        return "fails", f"Lambda does not contract: its constant is at least {' and '.join(known)}"
    return "undecided", f"that Lambda contracts was not refuted: its constant is at least {' and '.join(known)}"

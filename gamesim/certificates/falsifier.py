"""A search for two populations that break weak monotonicity, for rewards that no certificate covers.

For given state laws mu and mu' the worst laws of actions are known: with D = r(z(mu)) - r(z(mu')),

    max over rho, rho' of the violation = int sum_s [mu(s) max_a D(s, a) - mu'(s) min_a D(s, a)] dk

so the search runs over state laws alone: thousands of random pairs at once, then gradient ascent from the best. Finding
nothing proves nothing.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gamesim.certificates.interaction import ROUNDING, rewards_at, violation
from gamesim.games import GraphonGame
from gamesim.randomness import Stream

PIECES = (1, 2, 2, 3, 4, 6, 8, 16)
"""Pieces of the unit interval on which a random population is constant: what varies faster, a graphon averages out."""
SHARPNESS = (50.0, 10.0, 3.0, 1.0)
"""Powers to which the weights of a random law are raised: from nearly one state to spread over all."""
AT_ONCE = 4_000_000
"""Rewards written out at once."""
BUDGET = 200_000_000
"""Rewards written out in all: on a large grid fewer pairs are tried."""
BEST = 16
ASCENT = 200
"""Steps of gradient ascent, from so many of the best pairs."""


class Violation(NamedTuple):
    """Two laws of states and actions [k, s, a] at step h that break the inequality by value."""

    h: int
    value: float
    one: Tensor
    other: Tensor


def affordable(game: GraphonGame, pairs: int) -> int:
    """So many of the pairs are tried."""
    return min(pairs, max(BEST, BUDGET // math.prod(game.shape)))


def falsify(game: GraphonGame, h: int, pairs: int, generator: Stream) -> Violation | None:
    """The worst pair found at step h, or None where none breaks the inequality by more than rounding."""
    kept = list[tuple[Tensor, Tensor, Tensor]]()
    at_once = max(BEST, AT_ONCE // math.prod(game.shape))
    for start in range(0, pairs, at_once):
        mu, nu = random_pairs(game, min(at_once, pairs - start), generator)
        score = _score(game, h, mu, nu)
        best = score.topk(min(BEST, len(score))).indices
        kept.append((score[best], mu[best], nu[best]))
    score, mu, nu = (torch.cat(parts) for parts in zip(*kept, strict=True))
    best = score.topk(min(BEST, len(score), max(1, AT_ONCE // math.prod(game.shape)))).indices
    mu, nu = mu[best], nu[best]
    risen = _ascend(game, h, mu, nu)
    if risen is not None:
        mu, nu = torch.cat([mu, risen[0]]), torch.cat([nu, risen[1]])
    one, other = _with_actions(game, h, mu, nu)
    value = violation(game, h, one, other).nan_to_num(-torch.inf, posinf=-torch.inf)
    i = int(value.argmax())
    rewards = rewards_at(game, h, game.aggregate_at(h, mu[i]))
    if float(value[i]) <= ROUNDING * float(rewards.abs().max()):
        return None
    return Violation(h, float(value[i]), one[i], other[i])


def random_pairs(game: GraphonGame, n: int, generator: Stream) -> tuple[Tensor, Tensor]:
    """State laws mu, mu'[n, k, s]: unrelated, exchanged on every second piece, or different on one piece alone."""
    k, s, _ = game.shape
    most, place = max(PIECES), torch.arange(n, device=game.device)
    pieces = torch.tensor(PIECES, device=game.device)[place % len(PIECES)].clamp(max=k)
    bend = torch.exp(2.3 * generator.uniform((n, 1), **game.like) - 1.15)  # pieces of unequal width
    piece = (game.grid.positions**bend * pieces[:, None]).long().clamp(max=most - 1)
    power = torch.tensor(SHARPNESS, **game.like)[place // len(PIECES) % len(SHARPNESS)]
    weight = (-generator.uniform((2, n, most, s), **game.like).log()).log() * power[:, None, None]
    one, other = torch.softmax(weight, -1)
    everywhere = piece[..., None].expand(-1, -1, s)
    mu, nu = one.gather(1, everywhere), other.gather(1, everywhere)
    even, first = (piece % 2 == 0)[..., None], (piece == 0)[..., None]
    kind = (place // (len(PIECES) * len(SHARPNESS)) % 3)[:, None, None]
    exchanged = torch.where(even, one[:, :1], other[:, :1]), torch.where(even, other[:, :1], one[:, :1])
    mu = torch.where(kind == 1, exchanged[0], mu)
    nu = torch.where(kind == 1, exchanged[1], torch.where((kind == 2) & ~first, mu, nu))
    return mu, nu


def _difference(game: GraphonGame, h: int, mu: Tensor, nu: Tensor) -> Tensor:
    return rewards_at(game, h, game.aggregate_at(h, mu)) - rewards_at(game, h, game.aggregate_at(h, nu))


def _score(game: GraphonGame, h: int, mu: Tensor, nu: Tensor) -> Tensor:
    """The violation relative to the squared distance of the pair, so that near pairs count too: [n]."""
    D = _difference(game, h, mu, nu)
    broken = game.mean((mu * D.amax(-1) - nu * D.amin(-1)).sum(-1))
    return (broken / (game.mean(((mu - nu) ** 2).sum(-1)) + 1e-3)).nan_to_num(-torch.inf, posinf=-torch.inf)


def _ascend(game: GraphonGame, h: int, mu: Tensor, nu: Tensor) -> tuple[Tensor, Tensor] | None:
    """The pairs after gradient ascent on the score in log laws; None for a reward without gradients."""
    scores = torch.stack([mu, nu]).clamp(min=1e-6).log().requires_grad_()
    optimizer = torch.optim.Adam([scores], lr=0.2)
    try:
        with torch.enable_grad():
            for _ in range(ASCENT):
                optimizer.zero_grad()
                (-_score(game, h, *torch.softmax(scores, -1)).sum()).backward()
                optimizer.step()
    except RuntimeError:  # a user's reward may leave torch, or cut the gradient
        return None
    risen = torch.softmax(scores.detach(), -1)
    return risen[0], risen[1]


def _with_actions(game: GraphonGame, h: int, mu: Tensor, nu: Tensor) -> tuple[Tensor, Tensor]:
    D = _difference(game, h, mu, nu)
    most, least = (one_hot(index, D.shape[-1]).to(D) for index in (D.argmax(-1), D.argmin(-1)))
    return mu[..., None] * most, nu[..., None] * least

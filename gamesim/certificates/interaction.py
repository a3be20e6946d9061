"""How the population enters a game: its rewards and transitions, evaluated at the aggregates that can occur.

A population's aggregate at position k is z(k) = m_k p with a law p over the states and the mass m_k = int W(k, j) dj (1
where the game normalises), cut at 1 where it clips. So a reward is affine in z where it matters exactly if

    r_h(s, a, m_k p) = sum_t p(t) r_h(s, a, m_k e_t)        e_t: everyone one feels is in state t

for all laws p: its values at the corners e_t are its slopes, with no derivative taken.
"""

from typing import NamedTuple

import torch
from torch import Tensor, einsum

from gamesim.games import GraphonGame
from gamesim.randomness import Stream

SAMPLES = 8
"""Random laws at each position, besides the corners, on which a game is tried."""
ROUNDING = 1e4 * torch.finfo(torch.float64).eps


class Step(NamedTuple):
    """A step of the game and its rewards at corners and random laws; steps that agree in all of it count once."""

    h: int
    laws: Tensor
    """p[n, k, t]: the corners, then random laws."""
    rewards: Tensor
    """[n, k, s, a]."""
    size: float
    """The largest reward among them, in absolute value: what rounding is relative to."""


def aggregates(game: GraphonGame, h: int, laws: Tensor) -> Tensor:
    """z[..., k, s] of those who feel laws[..., k, s] of the states of others."""
    degree = game.degrees[which_graphon(game, h)]
    z = laws * ((degree > 0).to(laws) if game.normalize else degree)
    return z.clamp(max=1) if game.clip else z


def rewards_at(game: GraphonGame, h: int, z: Tensor) -> Tensor:
    """r_h in aggregates z[..., k, s], written out: [..., k, s, a]."""
    return game.reward(h, z).expand(*z.shape[:-1], *game.shape[-2:])


def tried_laws(game: GraphonGame, generator: Stream) -> Tensor:
    """Corners and random laws, [n, k, t]."""
    k, s, _ = game.shape
    corners = torch.eye(s, **game.like)[:, None].expand(s, k, s)
    weight = -generator.uniform((SAMPLES, k, s), **game.like).log()
    return torch.cat([corners, weight / weight.sum(-1, keepdim=True)])


def distinct_steps(game: GraphonGame, generator: Stream) -> list[Step]:
    """The steps whose rewards or graphon differ from those of all earlier ones."""
    laws, found = tried_laws(game, generator), list[Step]()
    for h in range(game.horizon):
        rewards = rewards_at(game, h, aggregates(game, h, laws))
        if not any(_same_graphon(game, h, e.h) and torch.equal(rewards, e.rewards) for e in found):
            found.append(Step(h, laws, rewards.contiguous(), float(rewards.abs().max())))
    return found


def slopes(step: Step) -> Tensor | None:
    """K[k, s, a, t], the reward per unit of the law that one feels, or None where it is not affine in that law."""
    states = step.laws.shape[-1]
    corners, sampled = step.rewards[:states], step.rewards[states:]
    gap = (einsum("nkt,tksa->nksa", step.laws[states:], corners) - sampled).abs().max()
    return corners.movedim(0, -1) if float(gap) <= ROUNDING * step.size else None  # also where gap is not a number


def transitions_depend(game: GraphonGame, generator: Stream) -> bool:
    """Whether P differs between any of the tried aggregates: E[v(next state)] of a random v tells.

    A `transition` that returns [s, a, t] says so itself.
    """
    laws = tried_laws(game, generator)
    for h in range(game.horizon):
        z = aggregates(game, h, laws)
        if type(game).transition is not GraphonGame.transition and game.transition(h, z).dim() == 3:
            continue
        value = generator.normal(z.shape[-2:], **game.like)
        found = game.expect(h, value.expand_as(z), z)
        if found.dim() > 3 and bool(((found - found[:1]).abs() > ROUNDING * value.abs().max()).any()):
            return True
    return False


def violation(game: GraphonGame, h: int, one: Tensor, other: Tensor) -> Tensor:
    """The left side of weak monotonicity at step h for laws of states and actions [..., k, s, a]: [...].

    int sum_{s,a} (rho - rho')(s, a) (r_h(s, a, z(mu)) - r_h(s, a, z(mu'))) dk; weakly monotone: never above 0.
    """
    felt = [rewards_at(game, h, game.aggregate_at(h, rho.sum(-1))) for rho in (one, other)]
    return game.mean(((one - other) * (felt[0] - felt[1])).sum((-2, -1)))


def which_graphon(game: GraphonGame, h: int) -> int:
    """The index of the graphon of step h among those of the game."""
    return h if len(game.operators) > 1 else 0


def _same_graphon(game: GraphonGame, h: int, other: int) -> bool:
    one, two = (game.graphons[which_graphon(game, x)] for x in (h, other))
    return one is two or bool(one == two)

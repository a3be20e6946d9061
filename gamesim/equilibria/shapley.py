"""Zero-sum stochastic games, solved: Shapley iteration and Newton's method, all stage games of a sweep in one batch.

If values V follow, state s is the matrix game A_s(V) = R_1(s, .) + sum_t P(t | s, .) V(t), P with the discount, and

    (T V)(s) = val A_s(V),        T V* = V*

T is a contraction, with modulus delta = max_{s,a} sum_t P(t | s, a) = 1 - min zeta (Shapley, PNAS 39, 1953):

    |V_k - V*| <= delta / (1 - delta) |V_k - V_{k-1}|            V_k = T V_{k-1}, largest entries

T is monotone, too, which encloses V* more narrowly, between numbers above and below (MacQueen, J. Math. Anal. Appl. 14,
1966; Porteus, Management Science 18, 1971):

    c_lo <= T V - V <= c_up   =>   T V + f(c_lo) <= V* <= T V + f(c_up),     f(c) = c delta / (1 - delta)

with the smallest row sum for delta where c_lo > 0 or c_up < 0. The middle is the estimate, half the width its error.

value iteration     V' = T V
policy iteration    V' = (I - P^xy)^-1 R^xy, the values of the stage equilibria (x, y): Newton's method for T V = V
                    (Pollatschek and Avi-Itzhak, Management Science 15, 1969)

Newton's method alone may cycle, and does in many games whose moves are sure. Here a step is halved until the sum of
squares |T V - V|^2 falls (Filar and Tolwinski, in: Stochastic Games and Related Topics, Kluwer 1991). If no step helps,
or the largest entry of T V - V has not fallen by a factor of max(delta, 1/2) for long, the search begins anew from

    W' = max_x V^xy       what player 1 can get against the stage equilibrium y at W (Hoffman and Karp, 1966)

with W the point from which it began anew the last time. Since V* <= W' <= T W <= W from the second on, these converge
from above, at least as fast as value iteration. So it always converges, and quadratically in the end if stage
equilibria are unique.

Hoffman and Karp, "On nonterminating stochastic games", Management Science 12 (1966).
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from gamesim.equilibria.stages import no_basis, solve_stages
from gamesim.errors import refuse, unknown
from gamesim.games import Policy, TabularGame
from gamesim.parameters import Count, Positive, convert

Method = Literal["auto", "value-iteration", "policy-iteration"]
Sweep = Literal["value-iteration", "policy-iteration"]

SMALL = 500
"""States below which Newton's steps cost little; a step takes about as long as S / 20 sweeps."""
DUTY, SHORTEST, PATIENCE = 1e-4, 2.0**-12, 256
"""What a Newton step must take off the squares, relative to its length; its least length; sweeps without progress."""


@dataclass(frozen=True)
class Shapley:
    """Values and stationary equilibria of zero-sum stochastic games; leading dimensions are a batch of games."""

    values: Tensor
    """V*(s), what player 1 gets from each state on, [..., s]."""
    policy: Policy
    """x[..., s, a1] and y[..., s, a2]."""
    value: Tensor
    """What player 1 gets from the initial law, [...]."""
    error: Tensor
    """A bound on |values - V*| in every state, with what stage games lack of exact solutions, [...]."""
    sweeps: int
    """How often all stage games were solved."""
    converged: Tensor
    """Whether the error is within the tolerance, [...]."""
    game: TabularGame = field(repr=False)

    @cached_property
    def gap(self) -> Tensor:
        """What best responses to the policies gain, both players together, in the worst state, [...].

        By policy iteration of either player, when it is first asked for: a proof that knows nothing of the iteration.
        """
        return self.game.gains(self.policy).sum(-2).amax(-1)


class _ZeroSum(type(TabularGame)):  # type: ignore[misc]
    def __instancecheck__(cls, game: object) -> bool:
        return isinstance(game, TabularGame) and game.zero_sum


class ZeroSumTabularGame(TabularGame, metaclass=_ZeroSum):
    """Any `TabularGame` of two players where one wins what the other loses: for isinstance, nothing derives it."""


@dataclass(frozen=True)
class Iterate:
    """Where an iteration is; [...] is the batch of games."""

    values: Tensor
    """V[..., s], what the next stage games are made of."""
    policy: Policy
    """The stage equilibria at the values that left the smallest error."""
    estimate: Tensor
    """The middle of the narrowest enclosure of V* so far, [..., s]."""
    error: Tensor
    """Half its width, [...]."""
    basis: Tensor
    """The last bases of the stage games, bool[..., s, a1 then a2]."""
    residual: Tensor
    """|T V - V|, the smallest since the search began up to a factor of max(delta, 1/2), [...]."""
    sure: Tensor
    """T V[..., s]."""
    waited: Tensor
    """Sweeps since then, [...]."""
    base: Tensor
    """Where the last Newton step began, [..., s]."""
    newton: Tensor
    """The whole step, [..., s]."""
    length: Tensor
    """The share of it that `values` are at, 0 where they are no part of a step, [...]."""
    squares: Tensor
    """|T V - V|^2 at the base, summed over states, [...]."""
    next: Tensor
    """W' of the last W, [..., s]."""
    begun: Tensor
    """Whether there was a W, bool [...]."""
    anew: Tensor
    """Whether `values` are the next W, bool [...]."""


def solve_shapley(
    game: TabularGame, tolerance: float = 1e-6, method: Method = "auto", max_sweeps: int = 100_000
) -> Shapley:
    """Values and equilibrium policies of a zero-sum stochastic game of two players, or of each of a batch of them.

    It ends when the bound on the error of every value is within the tolerance, in units of reward, when nothing but
    rounding is left, or after so many sweeps; `converged` says which. "auto" is policy iteration for less than 500
    states. For more it begins with value iteration, and leaves it where S / 2 sweeps would not do at the present rate.

    >>> import torch
    >>> from gamesim.games import StochasticGame
    >>> pennies = torch.tensor([[[2.0, -1.0], [-1.0, 1.0]]], dtype=torch.float64)
    >>> game = StochasticGame(torch.stack([pennies, -pennies]), torch.ones(1, 2, 2, 1), discount=0.5)
    >>> round(float(solve_shapley(game).value), 6)  # 1/5 for ever, at a discount of 1/2
    0.4
    """
    require_zero_sum(game)
    if method not in get_args(Method):
        raise unknown("method", str(method), get_args(Method))
    tolerance, max_sweeps = convert(tolerance, Positive, "tolerance"), convert(max_sweeps, Count, "max_sweeps")
    game.validate()
    at, sweeps, states = begin(game), 0, game.state_count
    how: Sweep = "value-iteration" if method == "auto" and states >= SMALL else "policy-iteration"
    how = how if method == "auto" else method
    while sweeps < max_sweeps:
        last, at, sweeps = at, sweep(game, at, how), sweeps + 1
        rounding = 16 * torch.finfo(at.values.dtype).eps * at.sure.abs().amax(-1)
        if bool(((at.error <= tolerance) | (at.residual <= rounding)).all()):
            break
        if method == "auto" and bool((at.error * (at.error / last.error) ** (states / 2) > tolerance).any()):
            how = "policy-iteration"
    value = (game.initial * at.estimate).sum(-1)
    return Shapley(at.estimate, at.policy, value, at.error, sweeps, at.error <= tolerance, game)


def require_zero_sum(game: Any, field: str = "game") -> None:
    """Refuse what is not a zero-sum TabularGame of two players."""
    if not isinstance(game, TabularGame):
        raise refuse(field, type(game).__name__, "a TabularGame")
    if len(game.action_counts) != 2:
        raise refuse(field, f"{len(game.action_counts)} players", "a game of two players")
    if not game.zero_sum:
        worst = float(game.reward.sum(-4).abs().amax())
        raise refuse(
            field, f"rewards of both players that sum to as much as {worst:g}", "a zero-sum game: rewards R, -R"
        )


def begin(game: TabularGame) -> Iterate:
    """No values yet: the first sweep solves the games that are paid out at once."""
    reward = game.reward.select(-4, 0)
    nothing = reward.new_zeros(*game.batch, game.state_count)
    zero, no = nothing.new_zeros(game.batch), torch.zeros(game.batch, dtype=torch.bool, device=reward.device)
    far = zero + torch.inf
    basis = no_basis(reward).expand(*game.batch, -1, -1)
    return Iterate(
        nothing, game.start(), nothing, far, basis, far, nothing, zero, nothing, nothing, zero, far, nothing, no, no
    )  # fmt: skip


def sweep(game: TabularGame, at: Iterate, method: Sweep) -> Iterate:
    """All stage games at once, what they say about V*, and where to look next."""
    V = at.values
    stages = solve_stages(stage_payoffs(game, V).double(), at.basis)
    TV, policy = stages.value.to(V), (stages.row.to(V), stages.column.to(V))
    below, above = enclosure(game, TV - V, stages.gap.to(V).amax(-1) / 2)
    better = (above - below) / 2 < at.error
    after = replace(
        at,
        values=TV,
        policy=tuple(chosen(better, x, old) for x, old in zip(policy, at.policy, strict=True)),
        estimate=chosen(better, TV + ((below + above) / 2)[..., None], at.estimate),
        error=torch.where(better, (above - below) / 2, at.error),
        basis=stages.basis,
        residual=(TV - V).abs().amax(-1),
        sure=TV,
    )
    return after if method == "value-iteration" else searched(game, at, after, policy)


def searched(game: TabularGame, last: Iterate, at: Iterate, policy: Policy) -> Iterate:
    """Newton's step from the last values where the step to them did its duty, else a shorter one."""
    V, TV = last.values, at.values
    squares = (TV - V).square().sum(-1)
    taken = (last.length == 0) | (squares <= (1 - DUTY * last.length) * last.squares)
    whole = policy_values(game, policy) - V if bool(taken.any()) else last.newton
    base, newton = chosen(taken, V, last.base), chosen(taken, whole, last.newton)
    length = torch.where(taken, torch.where(last.length == 0, 1.0, (4 * last.length).clamp(max=1)), last.length / 2)
    fell = at.residual <= moduli(game)[1].clamp(min=0.5) * last.residual  # below a half rounding would decide
    waited = torch.where(fell, 0, last.waited + 1)
    lost = (~taken & (length < SHORTEST)) | (waited >= PATIENCE)
    ahead, asked = last.next, last.anew | (lost & ~last.begun)
    if bool(asked.any()):
        ahead = chosen(asked, game.best_responses(policy)[1][..., 0, :], ahead)
    return replace(
        at,
        values=chosen(lost, ahead, base + length[..., None] * newton),
        residual=torch.where(lost, torch.inf, torch.where(fell, at.residual, last.residual)),
        waited=torch.where(lost, 0, waited),
        base=base,
        newton=newton,
        length=torch.where(lost, 0.0, length),
        squares=torch.where(taken, squares, last.squares),
        next=ahead,
        begun=last.begun | lost,
        anew=lost,
    )


def chosen(which: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """one[..., s] or one[..., s, a] of the games where `which`[...] says so, other of the rest."""
    return torch.where(which[(..., *[None] * (one.dim() - which.dim()))], one, other)


def stage_payoffs(game: TabularGame, values: Tensor) -> Tensor:
    """A_s(V) for player 1, [..., s, a1, a2], of values[..., s]."""
    after: Tensor = game.law.expect(values).unflatten(-1, game.action_counts)
    return game.reward.select(-4, 0) + after


def policy_values(game: TabularGame, policy: Policy) -> Tensor:
    """(I - P^xy)^-1 R^xy, what player 1 gets under both policies, [..., s]."""
    joint = game.joint(policy)
    paid = (joint * game.reward.select(-4, 0).flatten(-2)).sum(-1)
    chain = game.law.chain(joint)
    system = torch.eye(chain.shape[-1], dtype=chain.dtype, device=chain.device) - chain
    found: Tensor = torch.linalg.solve(system, paid)
    return found


def moduli(game: TabularGame) -> tuple[Tensor, Tensor]:
    """The smallest and the largest row sum of P, [...]."""
    totals: Tensor = game.law.totals
    return totals.amin((-1, -2)), totals.amax((-1, -2))


def enclosure(game: TabularGame, change: Tensor, slack: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers between which V* - T V lies, [...], of change = T V - V [..., s] that is known up to slack[...]."""
    smallest, largest = (delta / (1 - delta) for delta in moduli(game))
    low, high = change.amin(-1) - slack, change.amax(-1) + slack
    below: Tensor = low * torch.where(low > 0, smallest, largest) - slack
    above: Tensor = high * torch.where(high < 0, smallest, largest) + slack
    return below, above

"""Correlated and coarse correlated equilibria: the one that a chosen objective likes best, proved by its incentives.

A joint distribution p over profiles is drawn by a device that tells every player only their own action; it is an
equilibrium where nobody gains by not obeying. These p form a polytope (`gamesim.equilibria.incentives`), so

    max_p <c, p>                  welfare c = sum_i u_i, one player's payoff, weights, any c: linear
    max_p min_i u_i(p)            fair (egalitarian): linear, too
    max_p H(p)                    entropy, in nats: Ortiz, Schapire and Kakade, AISTATS 2007
    max_p 1 - |p|^2               gini: Marris et al., ICML 2021
    max_p prod_i (u_i(p) - d_i)   bargaining: Nash, Econometrica 18 (1950), d_i what player i is sure of

The linear ones go to HiGHS, the others to cvxpy (`gamesim.equilibria.programs`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from gamesim.equilibria.dominance import undominated
from gamesim.equilibria.exact import Floats, payoff_array
from gamesim.equilibria.incentives import Conditions, coarse_conditions, correlated_conditions, own_first, stakes
from gamesim.equilibria.programs import Unsolved, concave, fairest, program
from gamesim.equilibria.regret import Kind, is_correlated, violations
from gamesim.equilibria.zero_sum import solve_zero_sum
from gamesim.errors import refuse, unknown

__all__ = ["Correlated", "Unsolved", "correlated_equilibrium", "is_correlated", "violations", "welfare_range"]

Sense = Literal["max", "min"]
CONCAVE = ("fair", "bargaining", "entropy", "gini")
"""Objectives that are concave and not linear, so that they can only be maximised."""
TOLERANCE = 1e-6
"""What a deviation may gain, relative to the player's stakes, before an answer is refused."""
LARGEST = 1e100
"""Payoffs up to this size, so that sums of them are numbers."""
ROUNDING = 1e-12  # an objective that varies by less, relative to its terms, is constant


@dataclass(frozen=True)
class Correlated:
    """A correlated or coarse correlated equilibrium."""

    distribution: Tensor
    """p[a1, ..., an], float64: at least 0, sum 1."""
    value: float
    """Of the objective, in the units of the payoffs; the entropy in nats; of "bargaining" the product of the gains."""
    payoffs: Tensor
    """u_i(p)[player]."""
    max_violation: float
    """What the best deviation gains, in units of its player's stakes: the most that a change of action changes."""
    rounding: float
    """The largest change of a probability when the solver's answer was cut off at 0 and divided by its sum."""
    kind: Kind

    @property
    def welfare(self) -> float:
        """The sum of payoffs."""
        return float(self.payoffs.sum())


def correlated_equilibrium(
    payoffs: Any,
    objective: str | Sequence[float] | Tensor | Floats = "welfare",
    kind: Kind = "correlated",
    sense: Sense = "max",
) -> Correlated:
    """The equilibrium of u[player, a1, ..., an], or of a game that has payoffs, at which the objective is largest.

    objective: "welfare", "player:i" (from 0), a weight per player, a tensor c[a1, ..., an], "fair", "bargaining",
    "entropy" or "gini"; only linear ones have sense "min". Refuses what is not one game of finite payoffs; raises
    `Unsolved` where the solver fails or the incentives refute its answer.

    >>> chicken = torch.tensor([[[6.0, 2.0], [7.0, 0.0]], [[6.0, 7.0], [2.0, 0.0]]])
    >>> print(f"{correlated_equilibrium(chicken).value:.4f}")
    10.5000
    """
    equilibria = Polytope(payoffs, kind)
    if sense not in get_args(Sense):
        raise unknown("sense", str(sense), get_args(Sense))
    if isinstance(objective, str) and objective in CONCAVE:
        if sense == "min":
            raise refuse("sense", sense, f"max: {objective} is concave, its least value is not a convex problem")
        return equilibria.most(objective)
    goal, weights = equilibria.linear(objective)
    return equilibria.best(goal if sense == "max" else -goal, weights is not None, goal)


def welfare_range(payoffs: Any, kind: Kind = "correlated") -> tuple[float, float]:
    """The smallest and the largest sum of payoffs of an equilibrium of u[player, a1, ..., an].

    >>> welfare_range([[[1.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 2.0]]])[1]
    4.0
    """
    equilibria = Polytope(payoffs, kind)
    goal, _ = equilibria.linear("welfare")
    low, high = (equilibria.best(sign * goal, True, goal).value for sign in (-1, 1))
    return min(low, high), high


class Polytope:
    """One game's equilibria, built once for any number of objectives."""

    def __init__(self, payoffs: Any, kind: Kind) -> None:
        if kind not in get_args(Kind):
            raise unknown("kind", str(kind), get_args(Kind))
        self.kind: Kind = kind
        given = getattr(payoffs, "payoffs", payoffs)
        self.device = given.device if isinstance(given, Tensor) else "cpu"
        self.full = payoff_array(given)
        if np.abs(self.full).max() > LARGEST:
            raise refuse("payoffs", f"{np.abs(self.full).max():.3g}", f"payoffs of at most {LARGEST:g} in size")
        # No correlated equilibrium plays an action that another strictly dominates; a coarse one may.
        counts = self.full.shape[1:]
        self.kept = np.ix_(*(undominated(self.full) if kind == "correlated" else map(range, counts)))
        self.u = np.stack([u[self.kept] for u in self.full])
        self._conditions: Conditions | None = None

    @property
    def conditions(self) -> Conditions:
        if self._conditions is None:
            self._conditions = {"correlated": correlated_conditions, "coarse": coarse_conditions}[self.kind](self.u)
        return self._conditions

    def linear(self, objective: str | Sequence[float] | Tensor | Floats) -> tuple[Floats, Floats | None]:
        """c[a1, ..., an] on all profiles, and the players' weights if it is a sum of payoffs."""
        n, counts = len(self.full), self.full.shape[1:]
        wanted = "welfare, player:i, a weight per player, c[a1, ..., an], fair, bargaining, entropy or gini"
        if isinstance(objective, str):
            word, _, player = objective.partition(":")
            if word == "welfare" and not player:
                weights = np.ones(n)
            elif word == "player" and player.isdecimal() and int(player) < n:
                weights = np.eye(n)[int(player)]
            else:
                raise refuse("objective", objective, f"{wanted}; players are 0 to {n - 1}")
        else:
            raw = objective.detach().cpu().numpy() if isinstance(objective, Tensor) else objective
            try:
                weights = np.asarray(raw, dtype=np.float64)
            except (TypeError, ValueError):
                raise refuse("objective", type(objective).__name__, wanted) from None
            if not np.abs(weights).max(initial=0) <= LARGEST:
                raise refuse("objective", "a number that is not finite", f"finite numbers up to {LARGEST:g}")
            if weights.shape == counts:
                return weights, None
            if weights.shape != (n,):
                raise refuse("objective", f"shape {list(weights.shape)}", f"[{n}] weights or c of shape {list(counts)}")
        goal = np.tensordot(weights, self.full, 1)
        terms = np.abs(weights) @ np.abs(self.full).reshape(n, -1).max(1)
        return (np.full_like(goal, goal.mean()) if np.ptp(goal) <= ROUNDING * terms else goal), weights

    def best(self, goal: Floats, weighted: bool, shown: Floats) -> Correlated:
        """max_p <goal, p>, goal a weighted sum of payoffs or not; the value is that of `shown`."""
        goal = goal[self.kept]
        pure = (goal == goal.max()) & self.pure()
        if pure.any():  # as good as any profile, and nobody gains alone
            p = np.zeros(goal.shape)
            p[tuple(np.argwhere(pure)[0])] = 1.0
        elif weighted and self.constant_sum():
            p = self.minimax()
        else:
            spread = np.ptp(goal)
            cost = np.zeros(len(self.conditions.lower))
            cost[: goal.size] = ((goal.max() - goal) / (spread if spread > 0 else 1.0)).ravel()
            p = program(self.conditions, cost, goal.size)
        return self.judged(p, lambda p: float((p * shown).sum()))

    def most(self, objective: str) -> Correlated:
        """The equilibrium at which one of the concave objectives is largest."""
        if objective == "entropy":
            return self.judged(concave(self.conditions, objective, self.u[0].size), entropy)
        if objective == "gini":
            return self.judged(concave(self.conditions, objective, self.u[0].size), lambda p: float(1 - (p * p).sum()))
        if objective == "bargaining":
            return self.bargain()
        if self.constant_sum():
            p = self.minimax()
        else:
            low, spread = self.u.min(), np.ptp(self.u)
            parts = ((self.u - low) / (spread if spread > 0 else 1.0)).reshape(len(self.u), -1)
            p = fairest(self.conditions, parts)
        return self.judged(p, lambda p: float(self.paid(p).min()))

    def bargain(self) -> Correlated:
        """max_p prod_i (u_i(p) - d_i) over the players who can get more than d_i, their maximin payoff."""
        sure, gains = [], []
        for i, u in enumerate(self.full):
            sure.append(float(solve_zero_sum(own_first(self.full, i)).value))
            most = self.best(u, True, u).value - sure[-1]
            if most > TOLERANCE * np.ptp(u):
                gains.append((i, (self.u[i].ravel() - sure[-1]) / most))

        def product(p: Floats) -> float:
            paid = self.paid(p)
            return float(np.prod([paid[i] - sure[i] for i, _ in gains]))

        if not gains:  # nobody can get more than they are sure of: all equilibria bargain equally well
            welfare = self.full.sum(0)
            return replace(self.best(welfare, True, welfare), value=1.0)
        parts = np.stack([part for _, part in gains])
        return self.judged(concave(self.conditions, "bargaining", self.u[0].size, parts), product)

    def pure(self) -> Any:
        """Which profiles are pure Nash equilibria."""
        return np.all([u == u.max(i, keepdims=True) for i, u in enumerate(self.u)], axis=0)

    def constant_sum(self) -> bool:
        """Two players whose payoffs always have the same sum."""
        return len(self.u) == 2 and bool(np.ptp(self.u.sum(0)) <= ROUNDING * np.abs(self.u).max())

    def minimax(self) -> Floats:
        """The product of both players' minimax strategies; every equilibrium of a constant-sum game pays the same."""
        solved = solve_zero_sum(self.u[0] - self.u[1])
        return np.outer(solved.row.numpy(), solved.column.numpy())

    def paid(self, p: Floats) -> Floats:
        """u_i(p)[player], p on all profiles."""
        return self.full.reshape(len(self.full), -1) @ p.ravel()

    def judged(self, found: Floats, value: Callable[[Floats], float]) -> Correlated:
        """The answer on all profiles, cut off at 0 and divided by its sum; refused unless nobody gains by deviating."""
        p = np.maximum(found.ravel(), 0)
        if not p.sum() > 0:
            raise Unsolved("the solver's answer has no probability in it: rescale or round the payoffs")
        p = p / p.sum()
        full = np.zeros(self.full.shape[1:])
        full[self.kept] = p.reshape(self.u.shape[1:])
        units = stakes(self.full)
        gained = violations(self.full, full, self.kind).numpy() / np.where(units > 0, units, 1.0)
        worst = max(float(gained.max()), 0.0)
        if not worst <= TOLERANCE:
            raise Unsolved(
                f"the {self.kind} equilibrium found leaves a deviation that gains {worst:.1e} of the player's stakes; "
                "payoffs of very different sizes for one player may be the reason: rescale or round them"
            )
        return Correlated(
            distribution=torch.from_numpy(full).to(self.device),
            value=value(full) + 0.0,
            payoffs=torch.from_numpy(self.paid(full) + 0.0).to(self.device),  # + 0.0: no negative zeros
            max_violation=worst,
            rounding=float(np.abs(p - found.ravel()).max()),
            kind=self.kind,
        )


def entropy(p: Floats) -> float:
    """-sum p log p, in nats."""
    inside = p[p > 0]
    return float(-(inside * np.log(inside)).sum())

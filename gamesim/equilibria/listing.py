"""Everything that is known of a game's equilibria in one call, and as JSON: what `gamesim equilibria` prints.

    pure           all of them, with strictness and margin decided exactly
    equilibria     of two players all extreme ones, exactly; of more what a search finds, which may not be all
    value          what player 1 is sure of in a two-player game whose payoffs always have the same sum
    correlated     the largest and smallest sum of payoffs that a correlated equilibrium gives

A list is never empty without a reason: `complete` says whether it is proved to have everything, `message` why.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from gamesim.equilibria.bimatrix import all_equilibria
from gamesim.equilibria.correlated import LARGEST, Unsolved, welfare_range
from gamesim.equilibria.dominance import undominated
from gamesim.equilibria.exact import Floats, Rational
from gamesim.equilibria.profiles import Equilibria, Equilibrium, judge_floats
from gamesim.equilibria.pure import PureEquilibrium, pure_equilibria
from gamesim.errors import refuse
from gamesim.games import DenseGame, EpisodicGame, NormalFormGame, TabularGame

DENSE = 2 * 10**7
"""Payoffs that are written out for a structured game, at most."""
CORRELATED = 250_000
"""Numbers in the constraints of correlated equilibria, at most."""
LAST_DIGITS = 16 * float(np.finfo(np.float64).eps)
"""Up to here, relative to the largest payoff, sums of payoffs in floating point count as the same."""


@dataclass(frozen=True)
class Listing:
    """The equilibria of one game."""

    players: tuple[str, ...]
    actions: tuple[tuple[str, ...], ...]
    pure: tuple[PureEquilibrium, ...]
    equilibria: tuple[Equilibrium, ...]
    """Pure ones among them."""
    complete: bool
    degenerate: bool
    message: str
    value: float | None
    welfare: tuple[float, float] | None
    """The smallest and the largest sum of payoffs of a correlated equilibrium."""

    def plain(self) -> dict[str, Any]:
        """Plain data for JSON: indices from 0, in the order of the game."""
        low, high = self.welfare or (None, None)
        return {
            "pure": [{"profile": list(e.profile), "strict": e.strict, "margin": _finite(e.margin)} for e in self.pure],
            "equilibria": [
                {
                    "profile": [x.tolist() for x in e.probabilities],
                    "payoffs": [float(u) + 0.0 for u in e.payoffs],
                    "max_regret": float(e.max_regret),
                    "exact": [[str(p) for p in x] for x in e.profile] if e.exact else None,
                }
                for e in self.equilibria
            ],
            "complete": self.complete,
            "degenerate": self.degenerate,
            "message": self.message,
            "value": self.value,
            "correlated": {"max_welfare": high, "min_welfare": low},
            "players": list(self.players),
            "actions": [list(names) for names in self.actions],
        }


def find_equilibria(game: NormalFormGame) -> Listing:
    """The equilibria of a normal-form game.

    >>> from gamesim.games import MatrixGame
    >>> found = find_equilibria(MatrixGame.bimatrix([[3, 0], [0, 2]], [[2, 0], [0, 3]]))
    >>> len(found.pure), len(found.equilibria), found.complete
    (2, 3, True)
    """
    if not isinstance(game, NormalFormGame) or game.batch:
        wanted = "one normal-form game: matrix/..., or a .nfg, .gam or .efg file"
        if isinstance(game, TabularGame):
            wanted += "; of a stochastic game find_stationary or find_markov_equilibria"
        elif isinstance(game, EpisodicGame):
            wanted += "; a simulator that is small enough becomes a stochastic game by tabulate_environment"
        raise refuse("game", type(game).__name__, wanted)
    u, rational = payoffs_of(game)
    pure = tuple(pure_equilibria(u, rational))
    found = _mixed(u, rational, pure)
    # every equilibrium of a constant-sum game pays the value
    value = float(found[0].payoffs[0]) if len(u) == 2 and _same_sum(u) else None
    welfare, words = _welfare(u)
    message = "; ".join(part for part in (found.message, _pure_words(pure), words) if part)
    return Listing(
        game.players, game.actions, pure, found.equilibria, found.complete, found.degenerate, message, value, welfare
    )


def payoffs_of(game: NormalFormGame) -> tuple[Floats, Rational | None]:
    """u[player, a1, ..., an] in float64, and the payoffs as they were written where the game knows them."""
    counts = game.action_counts
    size = len(counts) * math.prod(counts)
    if size > DENSE:
        raise refuse(
            "game", f"{size:.1e} payoffs", f"at most {DENSE:.0e}: equilibria are looked for among all profiles"
        )
    if isinstance(game, DenseGame):
        u: Floats = game.payoffs.detach().cpu().double().numpy()
        return u, game.rational if _written(game) else None
    profiles = torch.cartesian_prod(*(torch.arange(count) for count in counts)).reshape(-1, len(counts))
    paid = game.play(profiles).detach().cpu().double()
    return paid.T.reshape(len(counts), *counts).numpy(), None


def _written(game: DenseGame) -> bool:
    """Whether payoffs are known more exactly than as floats."""
    return type(game).rational is not DenseGame.rational and getattr(game, "exact", True) is not None


def _mixed(u: Floats, rational: Rational | None, pure: tuple[PureEquilibrium, ...]) -> Equilibria:
    if len(u) == 1:
        alone = tuple(judge_floats(u, (np.eye(u.shape[1])[e.profile[0]],)) for e in pure)
        return Equilibria(alone, True, len(alone) > 1, "a game of one player: its best actions, and mixtures of them")
    if len(u) == 2:
        return all_equilibria(u[0], u[1], rational)
    from gamesim.equilibria.several import mixed_equilibria

    return mixed_equilibria(u, rational)


def _same_sum(u: Floats) -> bool:
    """Whether the payoffs of a profile always have the same sum; rounded once, they may differ in their last digits."""
    largest = float(np.abs(u).max())
    sums = (u / max(largest, 1e-300)).sum(0)
    return float(np.ptp(sums)) <= LAST_DIGITS


def _welfare(u: Floats) -> tuple[tuple[float, float] | None, str]:
    largest = float(np.abs(u).max())
    scale = largest if largest > LARGEST else 1.0  # what the sums and the solver can take
    u = u / scale
    if _same_sum(u):  # whatever is played
        low = high = float(u.sum(0).flat[0])
    else:
        counts = [len(actions) for actions in undominated(u)]
        size = sum(n - 1 for n in counts) * math.prod(counts)
        if size > CORRELATED:
            return None, f"the game is too large for its correlated equilibria: {size:,} numbers in their conditions"
        try:
            low, high = welfare_range(u)
        except Unsolved as error:
            return None, f"correlated equilibria: {error}"
    if not math.isfinite(high * scale - low * scale):
        return None, "correlated equilibria: sums of payoffs are above 1.8e308"
    return (float(low) * scale + 0.0, float(high) * scale + 0.0), ""


def _pure_words(pure: tuple[PureEquilibrium, ...]) -> str:
    if not pure:
        return "no pure equilibrium: all profiles were looked at"
    strict = sum(e.strict for e in pure)
    return f"pure equilibria: {len(pure)}, of them strict: {strict}"


def _finite(number: Fraction | float) -> float | None:
    """For JSON, which has neither infinity nor numbers above 1.8e308."""
    try:
        return float(number) + 0.0 if math.isfinite(number) else None  # + 0.0: no negative zeros
    except OverflowError:
        return None

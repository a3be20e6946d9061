"""What is known of the stationary equilibria of a stochastic game: the pure ones, one that is found, the value.

All pure stationary equilibria of a small game by branch and bound; one stationary equilibrium, pure or mixed, by the
curve that leads there from uniform play; of two players where one wins what the other loses, Shapley's value instead.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gamesim.equilibria.markov_pure import PureStationary, pure_stationary
from gamesim.equilibria.shapley import solve_shapley
from gamesim.equilibria.stationary import find_stationary
from gamesim.errors import refuse
from gamesim.games import Policy, TabularGame

SEARCHED = 2_000
"""States times joint actions up to which all pure equilibria are searched for."""


@dataclass(frozen=True)
class MarkovEquilibrium:
    """A stationary equilibrium, judged by exact best responses."""

    policy: Policy
    """pi_i[s, a]."""
    values: Tensor
    """V_i(s), [player, s]."""
    payoffs: Tensor
    """From the initial law, [player]."""
    gain: float
    """What the best deviation gains, over players and states."""
    how: str
    """The method that found it."""


@dataclass(frozen=True)
class MarkovListing:
    """What is known of a stochastic game's stationary equilibria."""

    players: tuple[str, ...]
    states: tuple[str, ...]
    actions: tuple[tuple[str, ...], ...]
    pure: PureStationary | None
    """None where the game is too large to search for them."""
    found: MarkovEquilibrium
    value: float | None
    """Of a zero-sum game, to player 1 from the initial law."""
    message: str

    @property
    def complete(self) -> bool:
        """Whether the pure ones are all there are."""
        return self.pure is not None and self.pure.complete

    def plain(self) -> dict[str, Any]:
        """Plain data for JSON."""
        pure = [] if self.pure is None else zip(self.pure.actions, self.pure.strict, self.pure.margin, strict=True)
        found = {name: getattr(self.found, name).tolist() for name in ("values", "payoffs")}
        return {
            "players": list(self.players),
            "states": list(self.states),
            "actions": [list(names) for names in self.actions],
            "pure": [{"actions": a.tolist(), "strict": bool(s), "margin": float(m)} for a, s, m in pure],
            "equilibria": [
                {"policy": [x.tolist() for x in self.found.policy], "gain": self.found.gain, "method": self.found.how}
                | found
            ],
            "value": self.value,
            "complete": self.complete,
            "message": self.message,
        }


def find_markov_equilibria(game: TabularGame, tolerance: float = 1e-6) -> MarkovListing:
    """The stationary equilibria of one stochastic game, as far as they can be found.

    >>> import gamesim as gs
    >>> listing = find_markov_equilibria(gs.make("stochastic/two-state"))
    >>> listing.pure.actions.tolist(), listing.pure.strict.tolist(), listing.complete
    ([[[0, 0], [0, 0]]], [True], True)
    """
    if not isinstance(game, TabularGame) or game.batch:
        shape = (
            f"a batch of games of shape {list(game.batch)}" if isinstance(game, TabularGame) else type(game).__name__
        )
        raise refuse("game", shape, "one stochastic game")
    size = game.state_count * game.joint_count
    pure = pure_stationary(game) if size <= SEARCHED else None
    if game.zero_sum:
        shapley = solve_shapley(game, tolerance)
        policy, how, value = shapley.policy, "shapley", float(shapley.value)
        closing = f"the value is within {float(shapley.error):.2g} in every state"
    else:
        stationary = find_stationary(game, tolerance=tolerance)
        policy, how, value, closing = stationary.policy, stationary.method, None, stationary.message
    if pure is None:
        searched = f"pure equilibria were not searched for: {size:,} joint actions over all states"
    else:
        found_all = f"{len(pure)} pure, and no more" if pure.complete else f"{len(pure)} pure listed"
        searched = found_all if pure.complete else f"{found_all} before the search was cut short"
    values = game.state_values(policy)
    gain = float(game.gains(policy).amax()) + 0.0  # -0.0 is 0
    found = MarkovEquilibrium(policy, values, game.payoffs_of(policy), gain, how)
    words = f"{searched}; {closing}"
    return MarkovListing(tuple(game.players), tuple(game.states), tuple(game.actions), pure, found, value, words)

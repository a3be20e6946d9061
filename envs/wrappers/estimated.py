"""Simulators by their tables, from counting what happened in episodes.

    P(t | s, a) = N(s, a, t) / N(s, a)        R_i(s, a) = mean reward of the N(s, a) visits

An end counts as stopping; a cut (by a limit of time) does not, since the state goes on behind it. What was never tried
is assumed: `stop` lets play end there with a reward of 0, `uniform` lets it go on in any state that was seen. The game
is discounted (0.99 unless another discount is given), as a stochastic game needs.

What a policy's best response gains in such a game is an estimate and no bound: it knows nothing of what was not
visited, and prefers what luck made look good. So it goes by the name approximate exploitability, with the visits.
"""

from dataclasses import dataclass
from math import isqrt, prod
from typing import Any, Literal

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games import Policy, Sparse, StochasticGame
from gamesim.games.game import require_policy
from gamesim.games.matrix import LARGEST
from gamesim.games.simulator import Simulator
from gamesim.parameters import Count, Fraction, Natural, Probability, convert
from gamesim.randomness import Stream
from gamesim.simplex import explore

BLOCK = 1000
"""Episodes that are played before they are counted."""
SAME = (
    "that all players observe the same full state; an environment whose agents see parts of it can be wrapped so that "
    "each is given env.state()"
)


@dataclass(frozen=True, eq=False)
class EstimatedGame:
    """A stochastic game from counted transitions, and the counts."""

    game: StochasticGame
    visits: Tensor
    """N(s, a), [s, a1, ..., an]."""
    begun: Tensor
    """Episodes that began in each state, [s]."""

    @property
    def steps(self) -> int:
        """Transitions counted."""
        return int(self.visits.sum())

    @property
    def unvisited(self) -> int:
        """Joint actions never tried, in states that were seen."""
        tried = self.visits.flatten(1)
        return int((tried == 0)[(tried > 0).any(-1)].sum())


def estimate_game(
    simulator: Simulator,
    episodes: int,
    *,
    policy: Policy | None = None,
    seed: int = 0,
    discount: float = 0.99,
    unvisited: Literal["stop", "uniform"] = "stop",
) -> EstimatedGame:
    """The tables of a simulator from so many episodes under a policy (uniform if left out).

    >>> import gymnasium
    >>> from gamesim.envs.wrappers import as_simulator
    >>> lake = as_simulator(lambda: gymnasium.make("FrozenLake-v1", is_slippery=False))
    >>> estimate_game(lake, episodes=2000).game.transition.probabilities[0, 2, 0]  # right, from the first state
    tensor(1., dtype=torch.float64)
    """
    episodes, seed = convert(episodes, Count, "episodes"), convert(seed, Natural, "seed")
    if discount != 1:
        discount = convert(discount, Fraction, "discount")
    unvisited = convert(unvisited, Literal["stop", "uniform"], "unvisited")
    policy = _one_policy(simulator, policy)
    states, counts = _state_count(simulator, unvisited), simulator.action_counts
    joint, players = prod(counts), len(counts)
    paid = torch.zeros(players, states * joint, dtype=torch.float64)
    begun = torch.zeros(states, dtype=torch.float64)
    keys, times = torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long)
    for block, first in enumerate(range(0, episodes, BLOCK)):
        played, cut, last = simulator.play_out(policy, min(BLOCK, episodes - first), Stream(seed, block))
        state, after = _states(played.observations, played.alive, cut, last, states)
        pair = state * joint + _joint(played.actions, counts)
        begun += torch.bincount(state[:, 0], minlength=states)
        alive = played.alive
        paid.index_add_(1, pair[alive], played.rewards[alive].double().T)
        found, n = torch.unique(pair[alive] * (states + 1) + after[alive], return_counts=True)
        keys, place = torch.unique(torch.cat([keys, found]), return_inverse=True)
        times = torch.zeros_like(keys).index_add_(0, place, torch.cat([times, n]))
    pair, after = keys // (states + 1), keys % (states + 1)
    visits = torch.zeros(states * joint, dtype=torch.long).index_add_(0, pair, times)
    game = StochasticGame(
        (paid / visits.clamp(min=1)).reshape(players, states, *counts),
        _law(pair, after, times, visits, states, counts, unvisited),
        begun / begun.sum(),
        discount,
        players=simulator.players,
        player_count=players,
        title=f"estimated from {int(visits.sum()):,} steps",
    )
    return EstimatedGame(game, visits.reshape(states, *counts), begun.long())


@dataclass(frozen=True)
class ApproximateExploitability:
    """What best responses gain in an estimated game: an estimate, neither a bound from above nor from below."""

    value: float
    """Sum over players, from the first state, in the discounted estimated game."""
    gains: tuple[float, ...]
    """Of each player."""
    steps: int
    """Transitions behind the estimate."""
    fewest_visits: int
    """Visits of the least visited joint action that the policy or a best response plays."""
    unvisited: int
    """Joint actions never tried, in states that were seen."""

    def __str__(self) -> str:
        return (
            f"approximate exploitability {self.value:.4g}: of a game estimated from {self.steps:,} steps, where the "
            f"least visited pair that matters was visited {self.fewest_visits:,} times and {self.unvisited:,} pairs "
            "never; an estimate, no bound"
        )


def approximate_exploitability(
    simulator: Simulator,
    policy: Policy,
    episodes: int,
    *,
    exploration: float = 0.5,
    seed: int = 0,
    discount: float = 0.99,
    unvisited: Literal["stop", "uniform"] = "stop",
) -> ApproximateExploitability:
    """What best responses to a policy gain in the game estimated from so many episodes.

    They are played by the policy with this share of uniform actions, so that deviations are tried as well.
    """
    exploration = convert(exploration, Probability, "exploration")
    policy = _one_policy(simulator, policy)
    played = tuple(explore(x, exploration) for x in policy)
    parameters: dict[str, Any] = {"seed": seed, "discount": discount, "unvisited": unvisited}
    found = estimate_game(simulator, episodes, policy=played, **parameters)
    game, visits = found.game, found.visits.flatten(1)
    best, _ = game.best_responses(policy)
    fewest = []
    for i, x in enumerate(best):
        for against in (policy, (*policy[:i], x, *policy[i + 1 :])):
            often = game.occupancy(against)[:, None] * game.joint(against)
            fewest.append(int(visits[often > 1e-9].min()))
    gains = game.regrets(policy)
    return ApproximateExploitability(
        float(gains.sum()), tuple(gains.tolist()), found.steps, min(fewest), found.unvisited
    )


def _one_policy(simulator: Any, policy: Policy | None) -> Policy:
    if not isinstance(simulator, Simulator):
        raise refuse("simulator", type(simulator).__name__, "a Simulator, as as_simulator(env) gives")
    start = simulator.start()
    if policy is None:
        return start
    require_policy(policy, start)
    for i, (x, like) in enumerate(zip(policy, start, strict=True)):
        if x.shape != like.shape:
            raise refuse(f"policy[{i}]", f"shape {list(x.shape)}", f"{list(like.shape)}, one policy and not a batch")
    return policy


def _state_count(simulator: Simulator, unvisited: str) -> int:
    """S, refused with the size of the tables where they would not fit."""
    sizes, joint = simulator.observation_counts, prod(simulator.action_counts)
    if len(set(sizes)) > 1:
        raise refuse("observations", f"{list(sizes)} of them, by player", SAME)
    states, most = sizes[0], isqrt(LARGEST)
    numbers = states * joint * (len(sizes) + 1 + (states if unvisited == "uniform" else 4))
    shown = f"{states:,} states x {joint:,} joint actions, {numbers:,} numbers"
    if states > most or numbers > LARGEST:
        raise refuse("simulator", shown, f"at most {most:,} states and {LARGEST:,} numbers")
    return states


def _states(seen: Tensor, alive: Tensor, cut: Tensor, last: Tensor, states: int) -> tuple[Tensor, Tensor]:
    """The state of each step and the next one, [m, time]; S is the end."""
    differ = ((seen != seen[..., :1]).any(-1) & alive).nonzero()
    if len(differ) or bool((last != last[:, :1])[cut].any()):
        shown = seen[tuple(differ[0].tolist())].tolist() if len(differ) else "different ones behind a cut"
        raise refuse("observations", f"{shown} at the same time", SAME)
    state = seen[..., 0]
    after = torch.cat([state[:, 1:], torch.zeros_like(state[:, :1])], 1)
    final = alive.sum(-1, keepdim=True) - 1
    return state, after.scatter(1, final, torch.where(cut, last[:, 0], states)[:, None])


def _joint(actions: Tensor, counts: tuple[int, ...]) -> Tensor:
    found = actions[..., 0]
    for i, count in enumerate(counts[1:], 1):
        found = found * count + actions[..., i]
    return found


def _law(
    pair: Tensor, after: Tensor, times: Tensor, visits: Tensor, states: int, counts: tuple[int, ...], unvisited: str
) -> Tensor | Sparse:
    """Shares of the successors that were counted, in rows of as many as any pair has."""
    share = times.double() / visits[pair]
    if unvisited == "uniform":
        seen = (visits.reshape(states, -1) > 0).any(-1).double()
        table = torch.zeros(len(visits), states + 1, dtype=torch.float64)
        table[pair, after] = share
        table[visits == 0, :states] = seen / seen.sum()
        table[~(seen > 0).repeat_interleave(len(visits) // states)] = 0.0
        return table[:, :states].reshape(states, *counts, states)
    going = after < states
    pair, after, share = pair[going], after[going], share[going]
    many = torch.bincount(pair, minlength=len(visits))
    width = max(1, int(many.max()))
    rank = torch.arange(len(pair)) - (many.cumsum(0) - many)[pair]
    successors, probabilities = torch.zeros(len(visits), width, dtype=torch.long), torch.zeros(len(visits), width)
    successors[pair, rank] = after
    probabilities = probabilities.double().index_put_((pair, rank), share)
    return Sparse(successors.reshape(states, *counts, width), probabilities.reshape(states, *counts, width))

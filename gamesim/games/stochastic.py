"""Stochastic games: in every state everyone chooses at the same time, is paid, and the state moves on or play ends.

In state s the joint action a pays R_i(s, a) to player i, and the next state is t with probability P(t | s, a); the rows
of P may sum to less than one, and play stops with the rest, zeta(s, a) = 1 - sum_t P(t | s, a) > 0. A discount is
the same thing: discount * P stands for P everywhere below, and a sampled episode of a discounted game stops with
probability 1 - discount after each step. Under policies pi_i(a | s),

    V_i = R_i^pi + P^pi V_i                          value of each state for player i
    Q_i(s, a) = E_{a_-i ~ pi_-i}[ R_i(s, a) + sum_t P(t | s, a) V_i(t) ]
    d = rho + (P^pi)^T d                             expected visits to each state, from the initial law rho
    v_i(s, a) = d(s) Q_i(s, a)                       gradient of <rho, V_i> in player i's own policy

A policy is a Nash equilibrium where no player gains by another policy of its own: max V_i - V_i = 0, by policy
iteration (Howard, 1960). Exploitability is the sum over players of what a best response gains from rho (NashConv);
`gains` has it for every player and state, and a policy without gains anywhere is a Markov perfect equilibrium. Where
every state is visited, first-order stationary points <v_i(pi), pi_i' - pi_i> <= 0 are the Nash equilibria.

Shapley, PNAS 39 (1953); Giannou, Lotidis, Mertikopoulos and Vlatakis-Gkaragkounis, "On the convergence of policy
gradient methods to Nash equilibria in general stochastic games", NeurIPS 2022, arXiv 2210.08857.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from gamesim import simplex
from gamesim.errors import refuse
from gamesim.games.episodic import Episodes, EpisodicGame
from gamesim.games.game import Policy
from gamesim.games.matrix import as_tensor, payoff_vector
from gamesim.games.parts import in_parts
from gamesim.games.rollouts import play_episodes
from gamesim.games.tables import action_counts, require_kinds, require_names, require_tables
from gamesim.games.transitions import Law, Sparse, as_law
from gamesim.parameters import Count, convert
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes

LINE, UNBLOCKED = 64, 8
"""Bytes of a cache line, and states up to which systems are solved number by number."""
NAMED = 12
"""States up to which a figure says their names."""
SWEEPS = 1000
"""Rounds of policy iteration at most: it takes a few, and never more than there are policies."""


class TabularGame(EpisodicGame):
    """A finite stochastic game by its tables: fields, properties or cached properties of a subclass.

    A game of N players has reward[..., player, s, a1, ..., an], transition[..., s, a1, ..., an, t] (or `Sparse`) and
    initial[..., s]; leading dimensions are a batch of games.
    """

    if TYPE_CHECKING:

        @property
        def reward(self) -> Tensor:
            """R[..., player, s, a1, ..., an]."""

        @property
        def transition(self) -> Tensor | Sparse:
            """P[..., s, a1, ..., an, t]."""

        @property
        def initial(self) -> Tensor:
            """rho[..., s]."""

    discount: float = 1.0
    """Weight of the next step: a stopping probability of 1 - discount."""
    player_count: int | None = None
    """How many players; None reads it off the shape, which a batch of games may leave open."""

    @cached_property
    def action_counts(self) -> tuple[int, ...]:
        return action_counts(self.reward, self.player_count)

    @cached_property
    def state_count(self) -> int:
        """S."""
        return int(self.reward.shape[-1 - len(self.action_counts)])

    @property
    def joint_count(self) -> int:
        """J, how many joint actions there are."""
        return math.prod(self.action_counts)

    @property
    def observation_counts(self) -> tuple[int, ...]:
        return (self.state_count,) * len(self.action_counts)

    @property
    def batch(self) -> tuple[int, ...]:
        shapes = self.reward.shape[: -2 - len(self.action_counts)], self.law.totals.shape[:-2], self.initial.shape[:-1]
        return tuple(broadcast_shapes(*shapes))

    @property
    def like(self) -> dict[str, Any]:
        return {"dtype": self.reward.dtype, "device": self.reward.device}

    @property
    def states(self) -> tuple[str, ...]:
        """A name for each state."""
        return tuple(str(s + 1) for s in range(self.state_count))

    @cached_property
    def law(self) -> Law:
        """discount * P over joint actions, what values and episodes are made of."""
        return as_law(self.transition, self.action_counts, self.discount)

    @property
    def stopping(self) -> Tensor:
        """zeta(s, a) = 1 - discount * sum_t P(t | s, a), [..., s, a1, ..., an]."""
        stopping: Tensor = (1 - self.law.totals).unflatten(-1, self.action_counts)
        return stopping

    @cached_property
    def zero_sum(self) -> bool:
        """Whether there are two players and what one wins the other loses."""
        n = len(self.action_counts)
        total = self.reward.sum(-2 - n)
        return n == 2 and bool((total.abs() <= 1e-12 * self.reward.abs().amax()).all())

    def joint(self, policy: Policy) -> Tensor:
        """Probabilities of joint actions, [..., s, j]."""
        found = policy[0]
        for x in policy[1:]:
            found = (found[..., :, None] * x[..., None, :]).flatten(-2)
        return found

    def chain(self, policy: Policy) -> Tensor:
        """P^pi, [..., s, t]: from state to state, the discount included."""
        return self.law.chain(self.joint(policy))

    def stage(self, values: Tensor) -> Tensor:
        """What joint actions are worth if values[..., player, s] follow: [..., player, s, a1, ..., an]."""
        after = self.law.expect(values.movedim(-2, 0)).movedim(0, -3)
        return self.reward + after.reshape(*after.shape[:-1], *self.action_counts)

    def state_values(self, policy: Policy, temperature: Any = 0.0) -> Tensor:
        """V[..., player, s]; with a temperature everyone also values so much of their own entropy in each step."""
        values: Tensor = self._in_parts(self._state_values, policy, temperature)
        return values

    def _state_values(self, policy: Policy, temperature: Any) -> Tensor:
        n = len(policy)
        joint = self.joint(policy)
        reward = self.reward.flatten(-n)
        paid = simplex.total(reward * joint.unsqueeze(-3))
        if isinstance(temperature, Tensor) or temperature > 0:
            lam = simplex.per_state(temperature)
            paid = paid + torch.stack(torch.broadcast_tensors(*(lam * simplex.entropy(x) for x in policy)), -2)
        return self._solve(self.law.chain(joint), paid)

    def occupancy(self, policy: Policy) -> Tensor:
        """d(s), how often each state is visited in an episode, [..., s]."""
        visits: Tensor = self._in_parts(self._occupancy, policy)[..., 0, :]
        return visits

    def _occupancy(self, policy: Policy) -> Tensor:
        chain = self.chain(policy)
        start = self.initial.expand(*chain.shape[:-1])
        return self._solve(chain.mT, start[..., None, :])

    def values(self, policy: Policy, temperature: Any = 0.0) -> Policy:
        """Q_i[..., s, a]: what each action of each player is worth."""
        return self.answers_to(policy, self.state_values(policy, temperature))

    def answers_to(self, policy: Policy, values: Tensor) -> Policy:
        """Q_i[..., s, a] if values[..., player, s] follow and the others play their policies."""
        found: Policy = self._in_parts(self._answers_to, policy, values)
        return found

    def _answers_to(self, policy: Policy, values: Tensor) -> Policy:
        stage, n = self.stage(values), len(policy)
        return tuple(payoff_vector(stage.select(-2 - n, i), i, policy) for i in range(n))

    def feedback(self, policy: Policy, temperature: Any = 0.0) -> Policy:
        """The value of each action in each state, Q_i[..., s, a]; `gradients` weighs them by visits."""
        return self.values(policy, temperature)

    def gradients(self, policy: Policy) -> Policy:
        """v_i[..., s, a] = d(s) Q_i(s, a), the gradient of player i's payoff in its own policy."""
        visits = self.occupancy(policy)[..., None]
        return tuple(visits * q for q in self.values(policy))

    def stationarity(self, policy: Policy) -> Tensor:
        """max_q <v_i(pi), q - pi_i>[..., player] over own policies q: 0 exactly at first-order stationary points.

        Gradients dominate: what a best response gains from rho is at most max_s d'(s) / d(s) times this, with d' the
        visits under that response; where d(s) = 0 a stationary policy need not be an equilibrium.
        """
        gaps = [simplex.regret(x, v).sum(-1) for x, v in zip(policy, self.gradients(policy), strict=True)]
        return torch.stack(torch.broadcast_tensors(*gaps), -1)

    def payoffs_of(self, policy: Policy) -> Tensor:
        """<rho, V_i>[..., player]."""
        return self._from_start(self.state_values(policy))

    def best_responses(self, policy: Policy, temperature: Any = 0.0) -> tuple[Policy, Tensor]:
        """A best response of each player to the others' policies, [..., s, a], and its values [..., player, s]."""
        best, gains = self._in_parts(self._improved, policy, temperature)
        return best, self.state_values(policy, temperature) + gains

    def gains(self, policy: Policy, temperature: Any = 0.0) -> Tensor:
        """What a best response gains in every state, [..., player, s]; with a temperature of the regularised game."""
        gains: Tensor = self._in_parts(lambda *given: self._improved(*given)[1], policy, temperature)
        return gains

    def regrets(self, policy: Policy, temperature: Any = 0.0) -> Tensor:
        """What each player's best response gains from the initial law, [..., player]."""
        return self._from_start(self.gains(policy, temperature))

    def exploitability(self, policy: Policy, temperature: Any = 0.0) -> Tensor:
        """The sum over players of what a best response gains from the initial law (NashConv), [...]."""
        return self.regrets(policy, temperature).sum(-1)

    def metrics(self, policy: Policy, temperature: Any = 0.0) -> dict[str, Tensor]:
        """Exploitability from the initial law, the largest gain in any state, and the regularised exploitability."""
        gains = self.gains(policy)
        found = {"exploitability": self._from_start(gains).sum(-1), "worst_gain": gains.amax((-2, -1))}
        if isinstance(temperature, Tensor) or temperature > 0:
            found["regularized_exploitability"] = self.exploitability(policy, temperature)
        return found

    def operator(self, policy: Policy) -> Policy:
        """F(pi) = -v(pi): equilibria that visit every state solve <F(pi*), pi - pi*> >= 0."""
        return tuple(-v for v in self.gradients(policy))

    def project(self, point: Policy) -> Policy:
        """The nearest policies, row by row."""
        return tuple(map(simplex.project, point))

    def picture(self, policy: Policy, shown: int = 4) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
        parts, words = super().picture(policy, shown)
        return parts, words | {"states": list(self.states) if self.state_count <= NAMED else []}

    def rollout(self, policy: Policy, episodes: int, generator: Stream) -> Episodes:
        return play_episodes(self, policy, episodes, generator)

    def start(self) -> Policy:
        _ = self._sound
        return super().start()

    @cached_property
    def _sound(self) -> bool:
        """Looked at once, before anything is made of the tables of a user's class."""
        require_kinds(self)
        return True

    def validate(self) -> None:
        """Refuse tables of a user's class that are no game, before any iteration."""
        require_tables(self)

    def _from_start(self, values: Tensor) -> Tensor:
        return simplex.total(values * self.initial.unsqueeze(-2))

    def _solve(self, chain: Tensor, right: Tensor) -> Tensor:
        """x[..., player, s] = right + chain x, for chain[..., s, t] and right[..., player, s].

        Rounding depends on where in memory a large matrix begins; filled up to whole cache lines, every one of a batch
        begins as it does alone.
        """
        states = chain.shape[-1]
        more = -states % (LINE // chain.element_size()) if states > UNBLOCKED else 0
        chain, right = pad(chain, (0, more, 0, more)), pad(right, (0, more))
        identity = torch.eye(states + more, dtype=chain.dtype, device=chain.device)
        batch = broadcast_shapes(chain.shape[:-2], right.shape[:-2])
        matrix, right = (identity - chain).expand(*batch, *chain.shape[-2:]), right.expand(*batch, *right.shape[-2:])
        found: Tensor = torch.linalg.solve(matrix, right.mT)[..., :states, :]
        return found.mT

    @cached_property
    def _each(self) -> int:
        """Numbers that are in memory for one policy, about."""
        n, states, joints, law = len(self.action_counts), self.state_count, self.joint_count, self.law
        return max(n * states * states, states * joints * max(n * law.terms, law.weights))

    def _in_parts(self, work: Callable[..., Any], *given: Any) -> Any:
        """work(*given) of policies, values and temperatures [..., x, y], so many at once as memory holds."""
        return in_parts(work, given, self.batch, self._each)

    def _improved(self, policy: Policy, temperature: Any) -> tuple[Policy, Tensor]:
        """Policy iteration from a policy, all players side by side: best responses, and V* - V of each.

        By the performance difference identity V' - V = (I - P')^-1 (T' V - V): written so, gains keep their digits near
        an equilibrium, where the difference of two values would lose them.
        """
        old = self.state_values(policy, temperature)
        q = self.answers_to(policy, old)
        slack = [simplex.regret(x, v, temperature) for x, v in zip(policy, q, strict=True)]  # of pi_i itself
        best = [simplex.soft_argmax(v, temperature, rounding=0) for v in q]  # gains keep digits that ties would blur
        gains = torch.zeros_like(old)
        going = torch.ones(old.shape[:-2], dtype=torch.bool, device=old.device)  # each policy has rounds of its own
        for _ in range(SWEEPS):
            advantage = [a - simplex.regret(x, v, temperature) for a, x, v in zip(slack, best, q, strict=True)]
            chain = torch.stack(
                torch.broadcast_tensors(*(self.chain(_replaced(policy, i, x)) for i, x in enumerate(best)))
            )
            right = torch.stack(torch.broadcast_tensors(*advantage))
            new = self._solve(chain, right[..., None, :])[..., 0, :].movedim(0, -2)
            close = 64 * torch.finfo(old.dtype).eps * (old.abs() + new.abs()).amax(-1, keepdim=True)  # of each player
            better = (new - gains > close).flatten(-2).any(-1)
            gains = torch.where(going[..., None, None], torch.maximum(gains, new), gains)
            going = going & better
            if not bool(going.any()):
                break
            answers = self.answers_to(policy, old + new)
            improved = [_greedy(x, answers[i], temperature, close[..., i, :]) for i, x in enumerate(best)]
            best = [torch.where(going[..., None, None], y, x) for x, y in zip(best, improved, strict=True)]
        return tuple(best), gains.clamp(min=0)


def _replaced(policy: Policy, i: int, x: Tensor) -> Policy:
    return (*policy[:i], x, *policy[i + 1 :])


def _greedy(x: Tensor, values: Tensor, temperature: Any, close: Tensor) -> Tensor:
    """The best actions, and those of before where they are as good up to rounding."""
    better = simplex.soft_argmax(values, temperature)
    if isinstance(temperature, Tensor) or temperature > 0:
        return better
    return torch.where((simplex.regret(x, values) <= close)[..., None], x, better)


@dataclass(frozen=True, eq=False, repr=False)
class StochasticGame(TabularGame):
    """A finite stochastic game by its tables.

    >>> game = StochasticGame([[[1.0, 0.0]]], [[[0.5], [0.5]]])  # one player, one state: stay or go, half of them end
    >>> game.state_values((torch.tensor([[1.0, 0.0]]).double(),)).tolist()
    [[2.0]]
    """

    reward: Tensor
    """R[..., player, s, a1, ..., an]; arrays and nested lists are taken, too."""
    transition: Tensor | Sparse
    """P[..., s, a1, ..., an, t], rows of at most 1; or the successors of each (s, a) and their probabilities."""
    initial: Tensor | None = None  # type: ignore[assignment]
    """rho[..., s]; uniform if left out."""
    discount: float = 1.0
    """Weight of the next step; 1 where rows of P sum to less than 1."""
    players: tuple[str, ...] = ()
    """A name for each player; 1, 2, ... if left out."""
    actions: tuple[tuple[str, ...], ...] = ()
    """A name for each action of each player; 1, 2, ... if left out."""
    states: tuple[str, ...] = ()
    """A name for each state; 1, 2, ... if left out."""
    player_count: int | None = None
    """How many players; needed where a batch of games could be read as one game."""
    title: str = ""

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        put("reward", as_tensor(self.reward, "reward"))
        if not isinstance(self.transition, Sparse):
            put("transition", as_tensor(self.transition, "transition").to(self.reward))
        if self.player_count is not None:
            put("player_count", convert(self.player_count, Count, "player_count"))
        counts = self.action_counts
        states = self.state_count
        uniform = torch.full((states,), 1 / max(states, 1), **self.like)
        put("initial", uniform if self.initial is None else as_tensor(self.initial, "initial").to(self.reward))
        put("players", require_names(self.players, "players") or tuple(str(i + 1) for i in range(len(counts))))
        own = tuple(tuple(str(a + 1) for a in range(c)) for c in counts)
        given = self.actions if isinstance(self.actions, tuple | list) else [self.actions]
        put("actions", tuple(require_names(x, f"actions[{i}]") for i, x in enumerate(given)) or own)
        put("states", require_names(self.states, "states") or tuple(str(s + 1) for s in range(states)))
        require_tables(self)
        for name, found, wanted in (
            ("players", (len(self.players),), (len(counts),)),
            ("actions", tuple(map(len, self.actions)), counts),
            ("states", (len(self.states),), (states,)),
        ):
            if found != wanted:
                raise refuse(name, f"{list(found)} names", f"{list(wanted)}")

    def __repr__(self) -> str:
        counts = f"{len(self.players)} players, {self.state_count} states, actions {self.action_counts}"
        batch = f", a batch {list(self.batch)}" if self.batch else ""
        return f"StochasticGame({f'{self.title}: ' if self.title else ''}{counts}, discount {self.discount:g}{batch})"

    def plain(self) -> dict[str, Any]:
        """What JSON says of it."""
        counts = {"states": self.state_count, "action_counts": list(self.action_counts)}
        return {"kind": "StochasticGame", "title": self.title, "players": list(self.players), **counts}

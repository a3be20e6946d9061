"""Normal-form games: everyone chooses once and at the same time, and is paid by what all have chosen.

Players i = 1..N choose a_i in A_i; u_i(a) pays player i. Under mixed policies x_i the payoff vector of player i is

    v_i(x)[a] = u_i(a; x_-i)        u_i(x) = <v_i(x), x_i>

and x* is a Nash equilibrium where <v_i(x*), x_i - x_i*> <= 0 for every player and every x_i. Exploitability is the sum
over players of what the best deviation gains, sum_i max_a v_i(x)[a] - <v_i(x), x_i>, known as NashConv; `regrets` has
it player by player. With a temperature lam everyone also values lam times the entropy of their own policy, and the
regularised equilibrium is the logit quantal response equilibrium of McKelvey and Palfrey, Games and Economic Behavior
10 (1995).
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gamesim import simplex
from gamesim.errors import refuse
from gamesim.games.finite import FiniteGame, require_counts
from gamesim.games.game import Policy
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes

LARGEST = 10**8
"""Numbers of a payoff tensor, at most: larger games have a structure that a tensor hides."""

FEW = 64
"""Profiles up to which sums are written out: a matrix product rounds a seed in a batch differently than alone."""


class NormalFormGame(FiniteGame):
    """A normal-form game, by the payoff vectors of any mixed policies; nothing else needs the payoff tensor."""

    @abstractmethod
    def values(self, policy: Policy) -> Policy:
        """The payoff vectors v_i(x)[..., a] of policies x_i[..., a]."""

    def start(self) -> Policy:
        """The uniform policies."""
        require_counts(self)
        return tuple(torch.full((*self.batch, count), 1 / count, **self.like) for count in self.action_counts)

    def feedback(self, policy: Policy, temperature: Any = 0.0) -> Policy:
        """The payoff vectors; of a game played once entropy changes no action's value."""
        return self.values(policy)

    def answers(self, actions: Tensor, generator: Stream | None = None) -> Policy:
        """What each action would have paid against the others' choices, u_i(a; a_-i)[..., a]; actions[..., player]."""
        return self.values(self.chosen(actions))

    def play(self, actions: Tensor, generator: Stream | None = None) -> Tensor:
        """What the choices pay, u_i(a)[..., player]; actions[..., player] are whole numbers."""
        answers = self.answers(actions, generator)
        own = [q.gather(-1, actions[..., i : i + 1].expand(*q.shape[:-1], 1)) for i, q in enumerate(answers)]
        return torch.cat(own, -1)

    def chosen(self, actions: Tensor) -> Policy:
        """Choices as policies: actions[..., player] -> a tuple of unit vectors [..., a]."""
        one_hot = torch.nn.functional.one_hot
        return tuple(one_hot(actions[..., i], count).to(**self.like) for i, count in enumerate(self.action_counts))

    def payoffs_of(self, policy: Policy) -> Tensor:
        """u_i(x)[..., player]."""
        return torch.stack([simplex.total(x * v) for x, v in zip(policy, self.values(policy), strict=True)], -1)

    def regrets(self, policy: Policy, temperature: Any = 0.0) -> Tensor:
        """What each player's best deviation gains, [..., player], entropy included where there is a temperature."""
        values = self.values(policy)
        return torch.stack([simplex.regret(x, v, temperature) for x, v in zip(policy, values, strict=True)], -1)

    def exploitability(self, policy: Policy, temperature: Any = 0.0) -> Tensor:
        """The sum over players of the best deviation's gain (NashConv), [...]."""
        return self.regrets(policy, temperature).sum(-1)

    def metrics(self, policy: Policy, temperature: Any = 0.0) -> dict[str, Tensor]:
        """Exploitability, and with a temperature the regularised one."""
        found = {"exploitability": self.exploitability(policy)}
        if isinstance(temperature, Tensor) or temperature > 0:
            found["regularized_exploitability"] = self.exploitability(policy, temperature)
        return found

    def operator(self, policy: Policy) -> Policy:
        """F(x) = -v(x): Nash equilibria solve the variational inequality <F(x*), x - x*> >= 0."""
        return tuple(-v for v in self.values(policy))

    def project(self, point: Policy) -> Policy:
        """The nearest policies, row by row."""
        return tuple(map(simplex.project, point))

    def occupancy(self, policy: Policy, frozen: Policy | None = None) -> Policy:
        """How often each action is played: the policies themselves."""
        return policy

    def reply(self, occupancy: Policy, temperature: Any = 0.0) -> Policy:
        """Best responses to the others' policies, ties shared; smooth ones with a temperature."""
        return tuple(simplex.soft_argmax(v, temperature) for v in self.values(occupancy))

    def picture(
        self, policy: Policy, at_most: int = 2000, shown: int = 40
    ) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
        """What a figure needs of so many policies of a batch at most, of the first players, and names in words."""
        policies = [x.reshape(-1, x.shape[-1])[:at_most] for x in policy[:shown]]
        parts = {f"policy.{i}": x for i, x in enumerate(policies)}
        names = {f"actions.{i}": list(self.actions[i]) for i in range(len(policies))}
        return parts, {"players": list(self.players[:shown]), **names}


class DenseGame(NormalFormGame):
    """A normal-form game that has its payoff tensor: a field, property or cached property `payoffs`."""

    if TYPE_CHECKING:

        @property
        def payoffs(self) -> Tensor:
            """u[..., player, a1, ..., an]."""

    player_count: int | None = None
    """How many players; None reads it off the shape, which a batch of games may leave open."""

    @property
    def action_counts(self) -> tuple[int, ...]:
        return action_counts(self.payoffs, self.player_count)

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.payoffs.shape[: -1 - len(self.action_counts)])

    @property
    def like(self) -> dict[str, Any]:
        return {"dtype": self.payoffs.dtype, "device": self.payoffs.device}

    def values(self, policy: Policy) -> Policy:
        n = len(policy)
        return tuple(payoff_vector(self.payoffs.select(-1 - n, i), i, policy) for i in range(n))

    def answers(self, actions: Tensor, generator: Stream | None = None) -> Policy:
        batch = broadcast_shapes(actions.shape[:-1], self.batch)
        chosen = actions.expand(*batch, actions.shape[-1])
        found = []
        for i, (table, strides) in enumerate(self._tables):
            place = (chosen * strides).sum(-1)[..., None, None].expand(*batch, 1, self.action_counts[i])
            found.append(table.expand(*batch, *table.shape[-2:]).gather(-2, place).squeeze(-2))
        return tuple(found)

    @cached_property
    def _tables(self) -> list[tuple[Tensor, Tensor]]:
        """For each player u_i[..., others, a_i], and the stride of every player's choice in `others`."""
        counts, found = self.action_counts, []
        for i in range(len(counts)):
            own = self.payoffs.select(-1 - len(counts), i).movedim(i - len(counts), -1)
            strides, step = [0] * len(counts), 1
            for j in reversed(range(len(counts))):
                if j != i:
                    strides[j], step = step, step * counts[j]
            table = own.reshape(*self.batch, step, counts[i])
            found.append((table, torch.tensor(strides, device=self.payoffs.device)))
        return found

    def validate(self) -> None:
        """Refuse payoffs of a user's class that are no numbers, before any iteration."""
        as_payoffs(self.payoffs, player_count=self.player_count)

    def rational(self, player: int, profile: Sequence[int]) -> Fraction:
        """u_i(a) as an exact number: what a file says, or else the floating-point number itself."""
        if self.batch:
            raise refuse("game", f"a batch of games of shape {list(self.batch)}", "one game")
        return Fraction(float(self.payoffs[(player, *profile)]))


@dataclass(frozen=True, eq=False)
class MatrixGame(DenseGame):
    """A normal-form game by its payoff tensor.

    >>> pennies = MatrixGame.zero_sum([[1, -1], [-1, 1]])
    >>> float(pennies.exploitability(pennies.start()))
    0.0
    """

    payoffs: Tensor
    """u[..., player, a1, ..., an]: arrays and nested lists are taken, too; leading dimensions are a batch of games."""
    players: tuple[str, ...] = ()
    """A name for each player; 1, 2, ... if left out."""
    actions: tuple[tuple[str, ...], ...] = ()
    """A name for each action of each player; 1, 2, ... if left out."""
    player_count: int | None = None
    """How many players; needed where a batch of games could be read as one game: [3, 2, 3, 3] is of three players."""
    title: str = ""
    exact: Any = field(default=None, repr=False)
    """(player, profile) -> Fraction, where payoffs are known more exactly than in floating point."""

    def __post_init__(self) -> None:
        payoffs = as_payoffs(self.payoffs, player_count=self.player_count)
        counts = action_counts(payoffs, self.player_count)
        players = tuple(self.players) or tuple(str(i + 1) for i in range(len(counts)))
        actions = tuple(map(tuple, self.actions)) or tuple(tuple(str(a + 1) for a in range(c)) for c in counts)
        if len(players) != len(counts):
            raise refuse("players", f"{len(players)} names", f"{len(counts)}, one per player")
        if tuple(map(len, actions)) != counts:
            raise refuse(
                "actions", f"{list(map(len, actions))} names", f"{list(counts)}, one per action of each player"
            )
        for name, value in (("payoffs", payoffs), ("players", players), ("actions", actions)):
            object.__setattr__(self, name, value)

    @classmethod
    def bimatrix(cls, first: Any, second: Any, **names: Any) -> "MatrixGame":
        """Two players: A[..., a1, a2] pays the one who chooses rows, B[..., a1, a2] the one who chooses columns."""
        a, b = as_tensor(first, "first"), as_tensor(second, "second")
        for name, matrix in (("first", a), ("second", b)):
            if matrix.dim() < 2:
                raise refuse(name, f"shape {list(matrix.shape)}", "a matrix [a1, a2]")
        if a.shape[-2:] != b.shape[-2:]:
            raise refuse("second", f"shape {list(b.shape)}", f"the shape of the first, {list(a.shape)}")
        try:
            broadcast_shapes(a.shape, b.shape)
        except RuntimeError:
            raise refuse("second", f"shape {list(b.shape)}", f"as many games as in {list(a.shape)}") from None
        return cls(torch.stack(torch.broadcast_tensors(a, b), -3), player_count=2, **names)

    @classmethod
    def zero_sum(cls, matrix: Any, **names: Any) -> "MatrixGame":
        """Two players: A[..., a1, a2] is what the one who chooses columns pays to the one who chooses rows."""
        a = as_tensor(matrix, "matrix")
        return cls.bimatrix(a, -a, **names)

    def rational(self, player: int, profile: Sequence[int]) -> Fraction:
        found = super().rational(player, profile) if self.exact is None else self.exact(player, tuple(profile))
        return Fraction(found)

    def plain(self) -> dict[str, Any]:
        """What JSON says of it."""
        counts = list(self.action_counts)
        return {"kind": "MatrixGame", "title": self.title, "players": list(self.players), "action_counts": counts}


def payoff_vector(payoffs: Tensor, player: int, policy: Policy) -> Tensor:
    """v_i(x)[..., a] of u_i[..., a1, ..., an]: the sum over the others' actions, from the last to the first."""
    n, found = len(policy), payoffs
    letters = list(range(n))
    few = math.prod(payoffs.shape[-n:]) <= FEW
    for other in reversed(range(n)):
        if other != player:
            kept = [k for k in letters if k != other]
            if few:
                x = policy[other][(..., *[None] * len(kept), slice(None))]
                found = simplex.total(found.movedim(letters.index(other) - len(letters), -1) * x)
            else:
                found = torch.einsum(found, [..., *letters], policy[other], [..., other], [..., *kept])
            letters = kept
    batch = broadcast_shapes(found.shape[:-1], *(x.shape[:-1] for x in policy))
    return found.expand(*batch, found.shape[-1])  # of one player no policy was contracted


def action_counts(payoffs: Tensor, player_count: int | None = None) -> tuple[int, ...]:
    """How many actions each player has: the last N dimensions of u[..., player, a1, ..., an].

    Where N is not given it is the largest that fits, so that one game is never mistaken for a batch of smaller ones.
    """
    for n in range(payoffs.dim() - 1, 0, -1) if player_count is None else [player_count]:
        if 0 < n < payoffs.dim() and payoffs.shape[-1 - n] == n:
            return tuple(payoffs.shape[-n:])
    players = "as many players as" if player_count is None else f"{player_count} players and"
    raise refuse(
        "payoffs", f"shape {list(payoffs.shape)}", f"[..., player, a1, ..., an]: {players} dimensions of actions"
    )


def as_payoffs(payoffs: Any, field: str = "payoffs", player_count: int | None = None) -> Tensor:
    """A tensor of finite payoffs, from a tensor, an array or nested lists; refused with the first bad place."""
    u = as_tensor(payoffs, field)
    if u.numel() > LARGEST:
        raise refuse(field, f"{u.numel():,} numbers", f"at most {LARGEST:,}; a larger game needs a structured class")
    if 0 in action_counts(u, player_count):
        raise refuse(field, f"a player without actions: shape {list(u.shape)}", "at least one action for each player")
    if not u.numel():
        raise refuse(field, f"an empty batch: shape {list(u.shape)}", "at least one game")
    if not bool(u.isfinite().all()):
        index = tuple((~u.isfinite()).nonzero()[0].tolist())
        raise refuse(f"{field}{list(index)}", float(u[index]), "a finite payoff")
    return u


def as_tensor(values: Any, field: str) -> Tensor:
    if isinstance(values, Tensor):
        if values.is_complex() or values.is_meta or values.layout != torch.strided:
            wanted = "real numbers, one after the other: a dense tensor"
            raise refuse(field, f"dtype {values.dtype}, {values.layout} on {values.device}", wanted)
        return values if values.is_floating_point() else values.to(torch.float64)
    try:
        array = np.array(values)
        if array.dtype.kind not in "biuf":  # None would become NaN, and a complex number a real one
            array = np.array([float(x) for x in array.ravel().tolist()]).reshape(array.shape)
        return torch.from_numpy(array.astype(np.float64))
    except (TypeError, ValueError):
        raise refuse(field, type(values).__name__, "a tensor, an array or nested lists of numbers") from None

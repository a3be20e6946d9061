"""FTRL for many seeds in batched numpy, for where numba is not: the arrays and the draws of gamesim.kernels.learning.

Seeds are innermost here, too: an operation on [player, action, seed] runs along memory, and all of them write into
buffers made once. Players with equally many actions share one operation. Random words are made for several steps at a
time. Sums and draws are those of the compiled loop, but for rounding.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Array = Any
NEWTON = 40
CHUNK = 16384
"""Random numbers of a player made at once: six arrays of words that fit the second-level cache."""
M0, M1, W0, W1, MASK, HALF = (
    np.uint64(c) for c in (0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85, 0xFFFFFFFF, 32)
)  # fmt: skip


class Group:
    """Players of equally many actions, side by side: y and x are [player, action, b], views of rows[row, b]."""

    def __init__(self, first: int, players: int, y: Array, x: Array) -> None:
        self.first, self.players, self.actions = first, players, y.shape[1]
        self.y, self.x = y, x
        self.y_of, self.x_of = _parts(y), _parts(x)
        self.row = np.empty_like(y[:, 0])
        self.wide = self.row[:, None]

    def part(self, rows: Any) -> Any:
        """Its own of what is laid out by players, [player, b] -> [player here, b]."""
        return rows[self.first : self.first + self.players]


def _parts(x: Array) -> list[Array]:
    """Views [player, b] of [player, action, b], made once: indexing costs as much as adding a hundred numbers."""
    return [x[:, a] for a in range(x.shape[1])]


def _fold(operation: Any, parts: list[Array], out: Array) -> None:
    """operation(operation(parts[0], parts[1]), ...): faster than numpy's own reduction along a short dimension."""
    if len(parts) == 1:
        np.copyto(out, parts[0])
        return
    operation(parts[0], parts[1], out=out)
    for part in parts[2:]:
        operation(out, part, out=out)


def learn(
    counts: Sequence[int],
    payoffs: Array,
    game: Array,
    keys: Array,
    gamma: Array,
    eps: Array,
    schedule: Array,
    first_iteration: int,
    regularizer: int,
    q: float,
    feedback: int,
    scores: Array,
    policy: Array,
    times: Array,
    records: Array,
    record_scores: bool,
    target: Array,
    radius: float,
    seen: Array,
    whole: Array,
    total: Array,
) -> None:
    """Steps first_iteration, ... on scores[row, b], in place: learning_loops.learn without its types."""
    steps, batch = gamma.shape[1], scores.shape[1]
    groups = list(_groups(counts, scores, policy))
    feel = _feedback(feedback, counts, groups, payoffs, game, scores)
    draws = _Draws(keys, len(counts), scores.dtype)
    one_schedule = bool((schedule == schedule[0]).all())
    kept = 0
    for group in groups:
        _centre(group)
    for k in range(steps + 1):
        n = first_iteration + k
        for group in groups:
            _choose(group, regularizer, q)
        if len(target) and k > 0:
            _look(policy, target, radius, n, seen, whole)
        while kept < len(times) and times[kept] <= n:
            records[kept] = scores if record_scores else policy
            kept += 1
        if k == steps:
            return
        if len(total):
            total += policy
        if one_schedule:
            step, mixing = scores.dtype.type(gamma[schedule[0], k]), scores.dtype.type(eps[schedule[0], k])
        else:
            step, mixing = gamma[schedule, k].astype(scores.dtype), eps[schedule, k].astype(scores.dtype)
        feel(step, mixing, draws.take(n, steps - k) if feedback else np.empty((0, batch)))
        for group in groups:
            _centre(group)


def _groups(counts: Sequence[int], scores: Array, policy: Array) -> Any:
    players = 1 if len(set(counts)) > 1 else len(counts)
    row = 0
    for first in range(0, len(counts), players):
        shape = (players, int(counts[first]), scores.shape[1])
        rows = slice(row, row := row + players * int(counts[first]))
        yield Group(first, players, scores[rows].reshape(shape), policy[rows].reshape(shape))


def _centre(group: Group) -> None:
    _fold(np.maximum, group.y_of, group.row)
    np.subtract(group.y, group.wide, out=group.y)


# --- mirror maps, y[player, action, b] with its maximum at 0, to x ----------------------------------------------------


def _choose(group: Group, regularizer: int, q: float) -> None:
    y, x = group.y, group.x
    if regularizer == 0:
        np.exp(y, out=x)
        _normalise(group)
    elif regularizer == 1:
        ordered = -np.sort(-y, axis=1)
        places = np.arange(1, group.actions + 1, dtype=y.dtype)[:, None]
        tau = ((np.cumsum(ordered, axis=1) - 1) / places).max(axis=1)  # the best of these is where the rest sums to 1
        np.maximum(y - tau[:, None], 0, out=x)
    else:
        _power(y, x, q)
        _normalise(group)


def _normalise(group: Group) -> None:
    _fold(np.add, group.x_of, group.row)
    np.divide(group.x, group.wide, out=group.x)


def _power(y: Array, x: Array, q: float) -> None:
    """x_a = [(1 - q)(lam - y_a)]^(-1 / (1 - q)), lam by Newton's method from the left."""
    p, close = 1 - q, 4 * np.finfo(y.dtype).eps
    lam = np.full_like(y[:, :1], 1 / p)
    for _ in range(NEWTON):
        each = p * (lam - y)
        np.power(each, -1 / p, out=x)
        move = (x.sum(1, keepdims=True) - 1) / (x / each).sum(1, keepdims=True)
        far = move > close * lam
        if not far.any():
            break
        np.add(lam, move, out=lam, where=far)


# --- feedback ---------------------------------------------------------------------------------------------------------

Feel = Callable[[Array, Array, Array], None]
"""(gamma, eps, uniform numbers[player, b]): adds gamma vhat to the scores."""


def _feedback(
    feedback: int, counts: Sequence[int], groups: list[Group], payoffs: Array, game: Array, scores: Array
) -> Feel:
    return (_exact, _realised, _bandit)[feedback](counts, groups, payoffs, game, scores)


def _exact(counts: Sequence[int], groups: list[Group], payoffs: Array, game: Array, scores: Array) -> Feel:
    players = len(counts)
    letters, alone = [chr(97 + i) for i in range(players)], bool((game == game[0]).all())
    table = payoffs[game[0]] if alone else np.moveaxis(payoffs[game], 0, -1)
    table = table.reshape(players, *map(int, counts), *([] if alone else [-1]))
    lane = "" if alone else "z"
    formulas = [
        f"{''.join(letters)}{lane},{','.join(other + 'z' for other in letters if other != own)}->{own}z"
        for own in letters
    ]
    policies = [group.x[i] for group in groups for i in range(group.players)]
    targets = [group.y[i] for group in groups for i in range(group.players)]

    def feel(gamma: Array, eps: Array, u: Array) -> None:
        for i, formula in enumerate(formulas):
            others = [x for j, x in enumerate(policies) if j != i]
            if alone and players == 2:
                found = (table[0] if i == 0 else table[1].T) @ others[0]
            else:
                found = np.einsum(formula, table[i], *others) if others else table[i].reshape(len(targets[i]), -1)
            targets[i] += gamma * found

    return feel


class _Sampler:
    """Actions drawn from a group's policies, as marks hot[player, action, b] and as numbers chosen[player, b]."""

    def __init__(self, group: Group, kind: Any) -> None:
        players, _, batch = group.x.shape
        self.group = group
        self.played, self.below = np.empty_like(group.x), np.empty_like(group.row)
        self.hot = np.ones(group.x.shape, bool)
        self.chosen = np.zeros((players, batch), kind)
        self.played_of, (self.first, *self.past) = _parts(self.played), _parts(self.hot)
        self.counted = [part.view(np.int8) for part in self.past]

    def draw(self, eps: Array, u: Array) -> None:
        x = self.group.x
        np.multiply(x, 1 - eps, out=self.played)
        np.add(self.played, eps / x.dtype.type(self.group.actions), out=self.played)
        below = self.played_of[0]
        for a, past in enumerate(self.past):
            if a:
                np.add(below, self.played_of[a], out=self.below)
                below = self.below
            np.less_equal(below, u, out=past)
        if self.past:
            _fold(np.add, self.counted, self.chosen)

    def mark(self) -> Array:
        """1 where an action is the one drawn, from 1 where it is not before that."""
        if self.past:
            np.logical_not(self.past[0], out=self.first)
        for one, other in pairwise(self.past):
            np.not_equal(one, other, out=one)
        return self.hot


class _Played:
    """What the players draw, and where that stands among the payoffs, laid end to end."""

    def __init__(self, counts: Sequence[int], groups: list[Group], payoffs: Array, game: Array) -> None:
        self.flat, self.size = payoffs.reshape(-1), int(payoffs.shape[2])
        kind = np.int8 if self.size < 128 else np.int64  # a profile fits; small numbers are fast
        self.samplers = [_Sampler(group, kind) for group in groups]
        self.strides = [int(np.prod(counts[i + 1 :])) for i in range(len(counts))]
        self.base = (game * len(counts) + np.arange(len(counts))[:, None]) * self.size
        self.profile, self.moved = np.empty(len(game), kind), np.empty(len(game), kind)
        self.at = np.empty_like(self.base)
        self.places = [group.part(self.at) for group in groups]
        self.paid = [np.empty_like(group.row) for group in groups]

    def draw(self, eps: Array, u: Array) -> None:
        """Everyone's action, and `at`, where what they are paid stands."""
        for sampler in self.samplers:
            group = sampler.group
            sampler.draw(eps, group.part(u))
            for i, stride in enumerate(group.part(self.strides)):
                first = group.first + i == 0
                chosen = sampler.chosen[i]
                if stride > 1:
                    np.multiply(chosen, stride, out=self.profile if first else self.moved)
                    chosen = self.moved
                elif first:
                    np.copyto(self.profile, chosen)
                if not first:
                    np.add(self.profile, chosen, out=self.profile)
        np.add(self.base, self.profile, out=self.at)


def _bandit(counts: Sequence[int], groups: list[Group], payoffs: Array, game: Array, scores: Array) -> Feel:
    play = _Played(counts, groups, payoffs, game)

    def feel(gamma: Array, eps: Array, u: Array) -> None:
        play.draw(eps, u)
        for sampler, places, paid in zip(play.samplers, play.places, play.paid, strict=True):
            y, weighted = sampler.group.y, sampler.played
            np.take(play.flat, places, out=paid, mode="clip")  # every other mode goes through a buffer
            np.multiply(paid, gamma, out=paid)
            np.divide(paid[:, None], weighted, out=weighted)
            np.multiply(weighted, sampler.mark(), out=weighted)
            np.add(y, weighted, out=y)

    return feel


def _realised(counts: Sequence[int], groups: list[Group], payoffs: Array, game: Array, scores: Array) -> Feel:
    play = _Played(counts, groups, payoffs, game)

    def feel(gamma: Array, eps: Array, u: Array) -> None:
        play.draw(scores.dtype.type(0), u)
        for sampler, places, paid in zip(play.samplers, play.places, play.paid, strict=True):
            group = sampler.group
            for i, stride in enumerate(group.part(play.strides)):
                np.subtract(places[i], np.multiply(sampler.chosen[i], stride, dtype=np.int64), out=places[i])
                for a in range(group.actions):
                    np.take(play.flat, places[i], out=paid[i], mode="clip")
                    np.multiply(paid[i], gamma, out=paid[i])
                    np.add(group.y[i, a], paid[i], out=group.y[i, a])
                    np.add(places[i], stride, out=places[i])

    return feel


# --- what is kept, and randomness -------------------------------------------------------------------------------------


def _look(policy: Array, target: Array, radius: float, n: int, seen: Array, whole: Array) -> None:
    far = np.abs(policy - target).sum(0).astype(np.float64) / 2
    seen[0] = far
    np.fmin(seen[1], far, out=seen[1])
    np.fmax(seen[2], far, out=seen[2])
    inside = far <= radius
    whole[0, inside & (whole[0] < 0)] = n
    whole[1, ~inside & (whole[1] < 0)] = n


class _Draws:
    """Stream.quick for every seed, some steps ahead."""

    def __init__(self, keys: Array, players: int, dtype: Any) -> None:
        self.keys = np.ascontiguousarray(keys.T).astype(np.uint64)
        self.players, self.dtype = players, dtype
        self.rows = max(1, CHUNK // len(keys))
        self.words = np.empty((6, self.rows, len(keys)), np.uint64)
        self.units = np.empty((self.rows, (players + 3) // 4 * 4, len(keys)), dtype)
        self.begin = self.end = 0

    def take(self, t: int, left: int) -> Array:
        """u[player, b] of iteration t; so many are still wanted."""
        if not self.begin <= t < self.end:
            self.begin, self.end = t, t + min(self.rows, left)
            self._fill()
        return self.units[t - self.begin, : self.players]

    def _fill(self) -> None:
        live = self.end - self.begin
        c0, c1, c2, c3, left, right = self.words[:, :live]
        for block in range((self.players + 3) // 4):
            k0, k1 = self.keys.copy()
            t = np.arange(self.begin, self.end, dtype=np.uint64)[:, None] * M1
            own = M0 * np.uint64(block)
            np.bitwise_xor(t >> HALF, k0, out=c0)  # the first round, of counters that have little in them
            c1[:], c2[:], c3[:] = t & MASK, k1 ^ (own >> HALF), own & MASK
            for again in range(6):
                np.bitwise_and(k0 + W0, MASK, out=k0)
                np.bitwise_and(k1 + W1, MASK, out=k1)
                np.multiply(c0, M0, out=left)
                np.multiply(c2, M1, out=right)
                halves = ((c0, c1, c1, right, k0), (c2, c3, c3, left, k1))
                for high, other, low, product, key in halves[: 1 if again == 5 and self.players <= 2 else 2]:
                    np.right_shift(product, HALF, out=high)
                    np.bitwise_xor(high, other, out=high)
                    np.bitwise_xor(high, key, out=high)
                    np.bitwise_and(product, MASK, out=low)
            for i, word in enumerate((c0, c1, c2, c3)):
                if 4 * block + i < self.players:
                    self._unit(word, self.units[:live, 4 * block + i])

    def _unit(self, word: Array, out: Array) -> None:
        if self.dtype == np.float32:
            np.right_shift(word, np.uint64(9), out=word)
            np.add(word.astype(np.int32), np.float32(0.5), out=out, casting="same_kind")
            np.multiply(out, np.float32(2.0**-23), out=out)
        else:
            np.add(word, 0.5, out=out)
            np.multiply(out, 2.0**-32, out=out)

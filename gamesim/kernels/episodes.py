"""Policy gradient from episodes in tabular stochastic games: many seeds and iterations in one call, compiled.

Each of b lanes, a seed with a game, a schedule and policies of its own, does in iteration t what the plain solver does:

    pih_i = (1 - eps_t) pi_i + eps_t / A_i                        what is played, in m episodes
    vhat_i(s, a) = mean over episodes of sum_k 1{s_k = s, a_ik = a} G_ik / pih_i(a | s)
    lazy     y_i <- y_i + gamma_t vhat_i,  pi_i = Proj(y_i)
    eager    pi_i <- Proj(pi_i + gamma_t vhat_i)

G_ik is player i's whole return, or what it earns from step k on; Proj is the Euclidean projection of each state's row
on the simplex. This is REINFORCE (Williams, 1992) with exploration as in Giannou, Lotidis, Mertikopoulos and
Vlatakis-Gkaragkounis, NeurIPS 2022, arXiv 2210.08857. Draws are those of gamesim.randomness and of gamesim.games.
Rows of states that were not visited stay as they are, and so do scores: nothing is taken from a row of y.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.kernels import allowed

Policy = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Tables:
    """Games as the loops read them; made by `tables`."""

    counts: tuple[int, ...]
    reward: Any
    """[game, s, j, player]."""
    below: Any
    """Sums of continuation probabilities over the states that can follow, [game, s, j, k]."""
    after: Any
    """Those states, and the number of states for the end of the episode: int32 [game, s, j, k + 1]."""
    begin: Any
    """Sums of the initial law but for its last state, [game, s - 1]."""
    few: bool
    """Whether they are so small that they have loops of their own."""

    @property
    def states(self) -> int:
        return int(self.reward.shape[1])


@dataclass(frozen=True)
class Watched:
    """What became of the distance to the target, looked at before the first and after every iteration."""

    wrong: Tensor
    """The last number of iterations after which the policy was not exactly the target, -1 for never: int64 [b]."""
    farthest: Tensor
    """The largest sum over players and states of the total variation |pi_i(s) - pi*_i(s)|_1 / 2, [b]."""
    squared: Tensor
    """sum_i |pi_i - pi*_i|^2 at the end, [b]."""
    records: Tensor
    """The same at the times asked for, [time, b]."""


@dataclass(frozen=True)
class Learned:
    """Where the lanes are after the iterations."""

    scores: Policy
    """y, or pi if eager: [b, s, a] for each player."""
    policy: Policy
    """pi, [b, s, a]."""
    steps: Tensor
    """Environment steps taken, int64 [b]."""
    watched: Watched | None


def serves(*tensors: Tensor) -> bool:
    """Whether `learn` can take these: float64 in memory, no gradients, and numba there and allowed."""
    return allowed() and all(
        x.dtype == torch.float64 and x.device.type == "cpu" and not x.requires_grad for x in tensors
    )


def tables(
    reward: Tensor, continuation: Tensor, initial: Tensor, counts: Sequence[int], successors: Tensor | None = None
) -> Tables:
    """Games from reward[game, player, s, j], discounted continuation[game, s, j, t] and initial[game, s].

    Joint actions j run with the last player's fastest. With successors[game, s, j, k], whole numbers, continuation is
    [game, s, j, k], the probability of each. A single game stands for all of them. Raises InvalidInput.
    """
    n, joints = len(counts), int(np.prod(counts))
    if not n or min(counts) < 1:
        raise refuse("counts", list(counts), "a number of actions for each player, all of them positive")
    if reward.dim() != 4 or (reward.shape[1], reward.shape[3]) != (n, joints) or 0 in reward.shape:
        raise refuse("reward", f"shape {list(reward.shape)}", f"[game, player, s, j], here [game, {n}, s, {joints}]")
    states = reward.shape[2]
    last = states if successors is None else successors.shape[-1]
    for name, x, shape in (
        ("continuation", continuation, (states, joints, last)),
        ("initial", initial, (states,)),
        *((("successors", successors, (states, joints, last)),) if successors is not None else ()),
    ):
        if tuple(x.shape[1:]) != shape or not len(x):
            raise refuse(name, f"shape {list(x.shape)}", f"[game, {', '.join(map(str, shape))}]")
    if not serves(reward, continuation, initial):
        raise refuse("reward", [str(x.dtype) for x in (reward, continuation, initial)], "float64 in memory, and numba")
    found = [len(x) for x in (reward, continuation, initial, successors) if x is not None]
    games = max(found)
    if set(found) - {1, games}:
        raise refuse("reward", f"tables of {found} games", "one number of games, or 1")
    if not bool(reward.isfinite().all()):
        raise refuse("reward", "what is not finite", "finite numbers")
    stops = 1 - continuation.sum(-1)
    if not bool((continuation >= 0).all()) or not bool((stops > 0).all()):
        raise refuse("continuation", f"rows of {float(1 - stops.min())}", "probabilities whose rows sum to less than 1")
    if not bool((initial >= 0).all()) or not bool(((initial.sum(-1) - 1).abs() < 1e-6).all()):
        raise refuse("initial", initial.tolist()[:1], "probabilities that sum to 1")
    from gamesim.kernels import episodes_loops as loops

    few = successors is None and loops.serves_few(counts, states)
    if few:
        successors = torch.arange(states).expand(continuation.shape)
    p = continuation.numpy()
    below, after = _compressed(p, states) if successors is None else _listed(p, successors, states)

    def spread(x: Any) -> Any:
        return np.array(np.broadcast_to(x, (games, *x.shape[1:])), order="C")

    paid, begin = reward.numpy().transpose(0, 2, 3, 1), initial.numpy().cumsum(-1)[:, :-1]
    return Tables(tuple(counts), spread(paid), spread(below), spread(after), spread(begin), few)


def learn(
    games: Tables,
    scores: Policy,
    policy: Policy,
    keys: Tensor,
    gamma: Any,
    eps: Any,
    *,
    first_iteration: int = 0,
    episodes: int = 1,
    lazy: bool = True,
    to_go: bool = False,
    game: Tensor | None = None,
    schedule: Tensor | None = None,
    target: Policy | None = None,
    record: Sequence[int] = (),
) -> Learned:
    """T iterations of so many episodes each, from scores and policy[b, s, a], with keys[b, 2] of a Stream.

    gamma and eps are [T], or [schedule, T]; `game` and `schedule` say which is a lane's, [b], else all have the first.
    Eager iterations start from the policy alone. `record` are increasing numbers of iterations, from first_iteration to
    first_iteration + T, at which to keep the squared distance to the target, policies [s, a] or [b, s, a].
    """
    from gamesim.kernels import episodes_loops as loops

    counts, states, rows, batch = games.counts, games.states, sum(games.counts), len(policy[0]) if policy else 0
    _require_lanes(counts, states, batch, scores=scores, policy=policy)
    if tuple(keys.shape) != (batch, 2) or keys.dtype != torch.int64:
        raise refuse("keys", f"{keys.dtype} {list(keys.shape)}", f"torch.int64 [{batch}, 2], one row for each lane")
    steps, mixing = _schedules(gamma, eps)
    if first_iteration < 0:
        raise refuse("first_iteration", first_iteration, "a whole number of at least 0")
    if episodes < 1:
        raise refuse("episodes", episodes, "a whole number of at least 1")
    times = np.array(record, dtype=np.int64)
    last = first_iteration + steps.shape[1]
    if times.size and not (first_iteration <= times[0] and times[-1] <= last and bool((np.diff(times) > 0).all())):
        raise refuse("record", list(record), f"increasing times from {first_iteration} to {last}")
    if times.size and target is None:
        raise refuse("record", list(record), "no times without a target")

    parts = 4 if to_go else 3
    s = np.zeros((batch, states, parts * rows))
    s[..., :rows] = torch.cat(policy, -1).numpy()
    s[..., rows : 2 * rows] = torch.cat(scores if lazy else policy, -1).numpy()
    taken, wrong, kept = np.zeros(batch, np.int64), np.full(batch, -1, np.int64), np.zeros(batch, np.int64)
    farthest, squared, records = np.full(batch, -np.inf), np.full(batch, np.nan), np.full((len(times), batch), np.nan)
    goal = np.empty((0, 0)) if target is None else _goal(target, counts, states, batch)
    watching = goal, times, kept, records, wrong, farthest, squared
    lanes = _indices("game", game, batch, len(games.reward)), np.array(keys.numpy(), order="C")
    which, first = _indices("schedule", schedule, batch, len(steps)), np.uint64(first_iteration)
    if games.few:
        kinds = tuple((0,) * size for size in (states, parts - 3))
        table, room = np.stack([steps, mixing], -1), loops.scratch_few(states, parts)
        loops.learn_few(
            *kinds,
            games.reward,
            games.below,
            games.begin,
            *lanes,
            table,
            which,
            first,
            episodes,
            lazy,
            s,
            taken,
            watching,
            room,
        )
    else:
        sizes, room = np.array(counts, np.uint64), loops.scratch(len(counts), states, episodes, batch)
        options = first, episodes, lazy, to_go, s.reshape(-1)
        laws = games.reward, games.below, games.after, games.begin
        loops.learn(sizes, *laws, *lanes, steps, mixing, which, *options, taken, watching, room)
    after, moved = (torch.from_numpy(s[..., k * rows : (k + 1) * rows].copy()).split(counts, -1) for k in (0, 1))
    saw = Watched(*map(torch.from_numpy, (wrong, farthest, squared, records))) if target is not None else None
    return Learned(tuple(moved), tuple(after), torch.from_numpy(taken), saw)


def as_written(function: Any) -> Any:
    """A plain function compiled as it stands, for benchmarks."""
    from numba import njit

    return njit(function)


def _require_lanes(counts: tuple[int, ...], states: int, batch: int, **given: Policy) -> None:
    """The loops trust these."""
    shapes = [(batch, states, a) for a in counts]
    for name, x in given.items():
        if [tuple(y.shape) for y in x] != shapes or not batch or not serves(*x):
            found = [f"{y.dtype} {list(y.shape)}" for y in x]
            raise refuse(name, found, f"torch.float64 [b, s, a] of each player, here {[list(y) for y in shapes]}")
        if not all(bool(y.isfinite().all()) for y in x):
            raise refuse(name, "what is not finite", "finite numbers")
    if any(bool((x < 0).any()) or bool(((x.sum(-1) - 1).abs() > 1e-6).any()) for x in given["policy"]):
        raise refuse("policy", "a row", "probabilities of at least 0 that sum to 1")


def _goal(target: Policy, counts: tuple[int, ...], states: int, batch: int) -> Any:
    """[1, row] or [b, row]."""
    if [tuple(x.shape[-2:]) for x in target] != [(states, a) for a in counts] or any(
        tuple(x.shape[:-2]) not in ((), (batch,)) for x in target
    ):
        wanted = f"[{states}, a] or [{batch}, {states}, a] of each player, a of {list(counts)}"
        raise refuse("target", [list(x.shape) for x in target], wanted)
    many = (batch,) if any(x.dim() == 3 for x in target) else (1,)
    rows = torch.cat([x.detach().expand(*many, *x.shape[-2:]) for x in target], -1)
    return np.array(rows.flatten(1).numpy(), dtype=np.float64, order="C")


def _schedules(gamma: Any, eps: Any) -> tuple[Any, Any]:
    """gamma and eps, [schedule, T]."""
    steps = np.atleast_2d(np.asarray(gamma, dtype=np.float64))
    mixing = np.array(np.broadcast_to(np.asarray(eps, dtype=np.float64), steps.shape))  # its own: numba types read-only
    if steps.ndim != 2 or not steps.size:
        raise refuse("gamma", f"shape {list(steps.shape)}", "[T] or [schedule, T], at least one iteration")
    if not bool(np.isfinite(steps).all()):
        raise refuse("gamma", "what is not finite", "finite step sizes")
    if not bool(((mixing >= 0) & (mixing <= 1)).all()):
        raise refuse("eps", float(mixing.min()), "exploration of at least 0 and at most 1")
    return np.array(steps, order="C"), mixing


def _indices(name: str, given: Tensor | None, batch: int, many: int) -> Any:
    if given is None:
        return np.zeros(batch, np.int64)
    shape = f"{given.dtype} {list(given.shape)}"
    wanted = f"torch.int64 [{batch}] of numbers below {many}"
    if tuple(given.shape) != (batch,) or given.dtype != torch.int64:
        raise refuse(name, shape, wanted)
    if not 0 <= int(given.min()) <= int(given.max()) < many:
        raise refuse(name, f"from {int(given.min())} to {int(given.max())}", wanted)
    return np.array(given.numpy(), order="C")


def _compressed(continuation: Any, states: int) -> tuple[Any, Any]:
    """below and after, of the states with a positive probability."""
    possible = continuation > 0
    most = max(1, int(possible.sum(-1).max()))
    after = np.full((*continuation.shape[:-1], most + 1), states, np.int32)
    below = np.full((*continuation.shape[:-1], most), np.inf)
    *where, t = np.nonzero(possible)
    place = (possible.cumsum(-1) - 1)[(*where, t)]
    after[(*where, place)] = t
    below[(*where, place)] = continuation.cumsum(-1)[(*where, t)]
    return below, after


def _listed(continuation: Any, successors: Tensor, states: int) -> tuple[Any, Any]:
    """below and after, of successors as they are listed."""
    to = successors.numpy()
    if to.dtype.kind not in "iu" or to.min() < 0 or to.max() >= states:
        raise refuse("successors", f"{to.dtype}, {to.min()} to {to.max()}", f"whole numbers below {states}")
    after = np.full((*to.shape[:-1], to.shape[-1] + 1), states, np.int32)
    after[..., :-1] = to
    return continuation.cumsum(-1), after

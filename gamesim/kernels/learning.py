"""FTRL in normal-form games, many seeds and steps in one call: what the plain solver does step by step.

    X_i = Q_i(Y_i),    Y_i <- Y_i + gamma_t vhat_i        all players i at once, t = first, ..., first + T - 1

for each of b lanes: a lane is a seed with a game, a schedule and scores of its own. vhat is exact, realised or bandit
(gamesim.feedback), Q that of a regulariser (gamesim.regularizers); draws are those of gamesim.randomness, so that a
lane does what the plain solver does with its seed. A noisy oracle and leading steps are left to the plain solver.

Compiled loops do the work (learning_loops), or batched numpy without numba or where fused paths are off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.errors import refuse, unknown
from gamesim.kernels import allowed

Policy = tuple[Tensor, ...]
REGULARIZERS = {"entropic": 0, "euclidean": 1, "tsallis": 2, "log-barrier": 2}
FEEDBACKS = {"exact": 0, "realised": 1, "bandit": 2}


@dataclass(frozen=True)
class Watch:
    """A target profile, [a] or [b, a] for each player, and a radius, both to be watched at every step.

    Distance is the total variation summed over players, sum_i |x_i - x*_i|_1 / 2.
    """

    target: Policy
    radius: float


@dataclass(frozen=True)
class Watched:
    """What became of the distance to the target, looked at after every step: each [b]."""

    distance: Tensor
    """After the last step."""
    closest: Tensor
    farthest: Tensor
    entered: Tensor
    """The first number of steps after which it was within the radius, -1 for never."""
    left: Tensor
    """The first after which it was not, -1 for never: then it has stayed."""


@dataclass(frozen=True)
class Learned:
    """Where the lanes are after the steps."""

    scores: Policy
    """Y, the largest of each player at 0: [b, a] for each player; memory has the lanes innermost."""
    policy: Policy
    """X = Q(Y), [b, a]."""
    records: Policy
    """X (or Y) at the times asked for: [time, b, a]."""
    watched: Watched | None
    total: Policy
    """Sum of the policies played, one for each step, float64 [b, a]; empty if it was not asked for."""


def serves(payoffs: Tensor, scores: Policy) -> bool:
    """Whether `learn` can take these: dense payoffs and scores of one floating-point type in memory, no gradients."""
    return all(
        x.dtype in (torch.float32, torch.float64) and x.device.type == "cpu" and not x.requires_grad
        for x in (payoffs, *scores)
    )


def learn(
    payoffs: Tensor,
    scores: Policy,
    keys: Tensor,
    gamma: Any,
    eps: Any = 0.0,
    *,
    first_iteration: int = 0,
    regularizer: str = "entropic",
    parameter: float = 0.5,
    feedback: str = "exact",
    game: Tensor | None = None,
    schedule: Tensor | None = None,
    record: Sequence[int] = (),
    record_scores: bool = False,
    watch: Watch | None = None,
    total: bool = False,
    past: Learned | None = None,
    compiled: bool | None = None,
) -> Learned:
    """T steps of payoffs[game, player, a1, ..., an] from scores[b, a] of each player, with keys[b, 2] of a Stream.

    gamma and eps are [T], or [schedule, T]; `game` and `schedule` say which is a lane's, [b], else all have the first.
    `parameter` is Tsallis' q. `record` are increasing numbers of steps, from first_iteration to first_iteration + T, at
    which to keep policies. `past` is the call before, whose watched and total this one continues. `compiled` insists
    on the compiled loops or on numpy.
    """
    counts, rows, batch, dtype = _checked(payoffs, scores)
    u = np.ascontiguousarray(payoffs.numpy()).reshape(len(payoffs), len(counts), -1)
    steps, mixing = _schedules(gamma, eps, feedback)
    which = _indices("game", game, batch, len(u)), _indices("schedule", schedule, batch, len(steps))
    if tuple(keys.shape) != (batch, 2) or keys.dtype != torch.int64:
        raise refuse("keys", f"{keys.dtype} {list(keys.shape)}", f"torch.int64 [{batch}, 2], one row for each lane")
    if regularizer not in REGULARIZERS:
        raise unknown("regularizer", regularizer, REGULARIZERS)
    q = parameter if regularizer == "tsallis" else 0.0
    if not 0 <= q < 1:
        raise refuse("parameter", parameter, "a number of at least 0 and below 1")
    if first_iteration < 0:
        raise refuse("first_iteration", first_iteration, "a whole number of at least 0")
    times = np.array(record, dtype=np.int64)
    last = first_iteration + steps.shape[1]
    if times.size and not (first_iteration <= times[0] and times[-1] <= last and bool((np.diff(times) > 0).all())):
        raise refuse("record", list(record), f"increasing times from {first_iteration} to {last}")

    y = np.ascontiguousarray(torch.cat(scores, -1).numpy().T)
    x = np.empty_like(y)
    records = np.empty((len(times), rows, batch), dtype)
    target, seen, whole = _watching(watch, past, counts, batch, dtype)
    sums = np.zeros((rows if total else 0, batch))
    if total and past is not None and past.total:
        sums[:] = torch.cat(past.total, -1).numpy().T
    given: tuple[Any, ...] = (
        *(u, which[0], np.ascontiguousarray(keys.numpy()), steps, mixing, which[1], first_iteration),
        *(np.uint64(REGULARIZERS[regularizer]), float(q), np.uint64(FEEDBACKS[feedback])),
        *(y, x, times, records, record_scores),
        *(target, float(watch.radius) if watch else 0.0, seen, whole, sums),
    )
    if allowed() if compiled is None else compiled:
        from gamesim.kernels import learning_loops

        few = len(counts) == 2 and max(counts) <= learning_loops.FEW
        sizes = ((0,) * counts[0], (0,) * counts[1]) if few else ((), ())
        learning_loops.learn(*sizes, np.array(counts, np.uint64), *given, learning_loops.scratch(counts, dtype, total))
    else:
        from gamesim.kernels import learning_numpy

        learning_numpy.learn(counts, *given)
    found = Watched(*map(torch.from_numpy, (*seen, *whole))) if watch else None
    return Learned(
        _by_player(y, counts), _by_player(x, counts), _by_player(records, counts), found, _by_player(sums, counts)
    )


def spin(words: Any, times: int) -> None:
    """256 operations on each of uint32 words[n], so many times: a processor's speed, for benchmarks."""
    from gamesim.kernels import learning_loops

    learning_loops.spin(words, times)


def _checked(payoffs: Tensor, scores: Policy) -> tuple[tuple[int, ...], int, int, Any]:
    """Action counts, rows, lanes and dtype; the loops trust these."""
    counts = tuple(y.shape[-1] for y in scores)
    wanted = ", ".join(map(str, (len(scores), *counts)))
    if payoffs.shape[1:] != (len(scores), *counts) or not counts or 0 in payoffs.shape:
        raise refuse("payoffs", f"shape {list(payoffs.shape)}", f"[game, player, a1, ..., an], here [game, {wanted}]")
    if any(y.dim() != 2 or len(y) != len(scores[0]) or not len(y) or y.dtype != payoffs.dtype for y in scores):
        raise refuse("scores", [f"{y.dtype} {list(y.shape)}" for y in scores], f"{payoffs.dtype} [b, a] of each player")
    if not serves(payoffs, scores):
        raise refuse("payoffs", payoffs.dtype, "float32 or float64 in memory, without gradients")
    return counts, sum(counts), len(scores[0]), scores[0].numpy().dtype


def _schedules(gamma: Any, eps: Any, feedback: str) -> tuple[Any, Any]:
    """gamma and eps, [schedule, T]."""
    steps = np.atleast_2d(np.asarray(gamma, dtype=np.float64))
    mixing = np.array(np.broadcast_to(np.asarray(eps, dtype=np.float64), steps.shape))  # its own: numba types read-only
    if feedback not in FEEDBACKS:
        raise unknown("feedback", feedback, FEEDBACKS)
    if feedback == "bandit" and not bool(((mixing > 0) & (mixing <= 1)).all()):
        raise refuse("eps", mixing.flat[0], "exploration above 0 and at most 1: an unplayed action has no estimate")
    return np.array(steps, order="C"), mixing


def _indices(name: str, given: Tensor | None, batch: int, many: int) -> Any:
    if given is None:
        return np.zeros(batch, np.int64)
    if (
        tuple(given.shape) != (batch,)
        or given.dtype != torch.int64
        or not 0 <= int(given.min()) <= int(given.max()) < many
    ):
        raise refuse(name, f"{given.dtype} {list(given.shape)}", f"torch.int64 [{batch}] of numbers below {many}")
    return np.ascontiguousarray(given.numpy())


def _watching(
    watch: Watch | None, past: Learned | None, counts: tuple[int, ...], batch: int, dtype: Any
) -> tuple[Any, Any, Any]:
    """target[row, b], seen[3, b] and whole[2, b]; no rows without a watch."""
    if watch is None:
        return np.empty((0, batch), dtype), np.empty((3, 0)), np.empty((2, 0), np.int64)
    parts = [x.detach().numpy().astype(dtype) for x in watch.target]
    if tuple(x.shape[-1] for x in parts) != counts or any(
        x.shape not in (x.shape[-1:], (batch, x.shape[-1])) for x in parts
    ):
        raise refuse("watch.target", [list(x.shape) for x in parts], "a policy of each player, [a] or [b, a]")
    target = np.concatenate([np.broadcast_to(x, (batch, x.shape[-1])).T for x in parts])
    if past is not None and past.watched is not None:
        w = past.watched
        before = torch.stack([w.distance, w.closest, w.farthest]), torch.stack([w.entered, w.left])
        return np.ascontiguousarray(target), before[0].numpy(), before[1].numpy()
    seen = np.full((3, batch), np.nan)
    seen[1], seen[2] = np.inf, -np.inf
    return np.ascontiguousarray(target), seen, np.full((2, batch), -1, np.int64)


def _by_player(rows: Any, counts: tuple[int, ...]) -> Policy:
    """[..., row, b] -> [..., b, a] of each player, views."""
    if 0 in rows.shape[:-1]:
        return ()
    return tuple(torch.from_numpy(rows).mT.split(counts, -1))

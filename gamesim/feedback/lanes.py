"""Many steps of FTRL at once: a batch of seeds, hyper-parameters and games laid out as lanes of the compiled loops.

The loops (`gamesim.kernels.learning`) draw the numbers of the same streams and do what the solver's steps do, up to
rounding; nothing is chosen by how many steps there are, so that a run that was resumed takes the same way.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gamesim.feedback.oracle import Exact, Feedback
from gamesim.feedback.play import Bandit, Realised
from gamesim.feedback.timetables import written_out
from gamesim.games import DenseGame, Policy
from gamesim.kernels import learning, wanted
from gamesim.randomness import Stream
from gamesim.regularizers import Entropic, Euclidean, LogBarrier, Regularizer, Tsallis
from gamesim.schedules import Constant, Schedule

FEEDBACKS: dict[type, str] = {Exact: "exact", Realised: "realised", Bandit: "bandit"}
REGULARIZERS: dict[type, str] = {
    Entropic: "entropic",
    Euclidean: "euclidean",
    Tsallis: "tsallis",
    LogBarrier: "log-barrier",
}
ASKED = ("feedback", "values", "answers", "play")
AT_ONCE = 2 * 10**7
"""Lanes times steps of a leap, so that signals and progress are heard."""
BLOCK = 64
"""Lanes that the loops fill up in any case: fewer cost as much."""


class Landing(NamedTuple):
    """Where the steps led."""

    scores: Policy
    policy: Policy
    reached: int
    farthest: Tensor | None
    """The largest distance from the target after any of the steps, [...]."""


def leap(
    game: Any, scores: Policy, regularizer: Regularizer, feedback: Feedback, step_size: Schedule, generator: Stream,
    t: int, until: int, target: Policy | None = None,
) -> Landing | None:  # fmt: skip
    """Steps t, t + 1, ... of plain FTRL from scores[..., a], up to `until` at most; None where only steps will do."""
    if not _serves(game, scores, regularizer, feedback):
        return None
    batch = tuple(scores[0].shape[:-1])
    lanes = max(1, int(np.prod(batch)))
    reached = min(until, t + max(1, AT_ONCE // max(lanes, BLOCK)))
    exploration = feedback.exploration if isinstance(feedback, Bandit) else Constant(0.0)
    written = written_out((step_size, exploration), range(t, reached), batch, 1)
    if written is None:
        return None
    (gamma, epsilon), which = written
    counts = game.action_counts
    payoffs = game.payoffs.reshape(-1, len(counts), *counts)
    games = torch.arange(len(payoffs)).reshape(game.batch).expand(batch).reshape(-1)
    seeds = torch.arange(len(generator.keys)).reshape(-1, *[1] * (len(batch) - 1)) if batch else torch.zeros(1).long()
    found = learning.learn(
        payoffs,
        tuple(y.reshape(-1, y.shape[-1]) for y in scores),
        generator.keys[seeds.expand(batch).reshape(-1) if batch else seeds],
        gamma,
        epsilon,
        first_iteration=t,
        regularizer=REGULARIZERS[type(regularizer)],
        parameter=getattr(regularizer, "q", 0.5),
        feedback=FEEDBACKS[type(feedback)],
        game=games.contiguous(),
        schedule=which,
        watch=None if target is None else learning.Watch(target, 1.0),
    )
    back = [tuple(x.reshape(*batch, x.shape[-1]) for x in part) for part in (found.scores, found.policy)]
    farthest = None if found.watched is None else found.watched.farthest.reshape(batch)
    return Landing(back[0], back[1], reached, farthest)


def _serves(game: Any, scores: Policy, regularizer: Regularizer, feedback: Feedback) -> bool:
    return (
        wanted()
        and isinstance(game, DenseGame)
        and all(getattr(type(game), name) is getattr(DenseGame, name) for name in ASKED)  # else a class of its own mind
        and type(feedback) in FEEDBACKS
        and type(regularizer) in REGULARIZERS
        and game.payoffs.dtype == scores[0].dtype
        and learning.serves(game.payoffs, scores)
    )

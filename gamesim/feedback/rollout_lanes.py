"""Many iterations of REINFORCE at once: a batch of seeds, hyper-parameters and games laid out as lanes of the loops.

The loops (`gamesim.kernels.episodes`) draw the numbers of the same streams and do what the solver's steps do, up to
rounding; nothing is chosen by how many iterations there are, so that a run that was resumed takes the same way.
"""

from typing import Any, NamedTuple
from weakref import ReferenceType, ref

import numpy as np
import torch
from torch import Tensor

from gamesim.feedback.oracle import Feedback
from gamesim.feedback.reinforce import Reinforce
from gamesim.feedback.timetables import written_out
from gamesim.games import Policy, TabularGame
from gamesim.games.rollouts import mean_length, require_end
from gamesim.games.transitions import DenseLaw, SparseLaw
from gamesim.kernels import episodes
from gamesim.randomness import Stream
from gamesim.schedules import Schedule

AT_ONCE = 2 * 10**7
"""Environment steps of a leap, about, so that signals and progress are heard."""
BLOCK = 64
"""Lanes that the loops fill up in any case: fewer cost as much."""
LONGEST = 10**7
"""Steps of an episode in the mean, at most: no signal is heard before its end."""
LARGEST = 2**27
"""Numbers in the tables of the games, at most."""


class Landing(NamedTuple):
    """Where the iterations led."""

    scores: Policy
    """y; of the eager method the policy."""
    policy: Policy
    reached: int
    farthest: Tensor | None
    """The largest distance from the target before or after any of the iterations, [...]."""
    last_wrong: Tensor | None
    """The last iteration whose policy was not exactly the target, -1 for none of these, [...]."""


def leap(
    game: Any, scores: Policy, policy: Policy, feedback: Feedback, step_size: Schedule, lazy: bool, generator: Stream,
    t: int, until: int, target: Policy | None = None,
) -> Landing | None:  # fmt: skip
    """Iterations t, t + 1, ... from scores and policy[..., s, a], up to `until` at most; None where only steps will do.

    The target is [s, a] of each player, or has dimensions in front that broadcast against the batch.
    """
    if not isinstance(feedback, Reinforce) or feedback.baseline != "none" or not _serves(game, scores, policy):
        return None
    batch = tuple(policy[0].shape[:-2])
    tables = tables_of(game)
    lanes = int(np.prod(batch, dtype=np.int64))
    reached = min(until, t + _at_once(game, policy, max(lanes, BLOCK) * feedback.episodes, until - t))
    schedules = written_out((step_size, feedback.exploration), range(t, reached), batch, 2)
    if schedules is None:
        return None
    (gamma, epsilon), which = schedules
    games = torch.arange(len(tables.reward)).reshape(game.batch).expand(batch).reshape(-1)
    seeds = torch.arange(len(generator.keys)).reshape(-1, *[1] * (len(batch) - 1)).expand(batch or (1,)).reshape(-1)

    def laid_out(x: Tensor) -> Tensor:
        return x.expand(*batch, *x.shape[-2:]).reshape(lanes, *x.shape[-2:])

    goal = target
    if target is not None and any(x.dim() > 2 for x in target):
        goal = tuple(map(laid_out, target))
    found = episodes.learn(
        tables,
        tuple(map(laid_out, scores)),
        tuple(map(laid_out, policy)),
        generator.keys[seeds],
        gamma,
        epsilon,
        first_iteration=t,
        episodes=feedback.episodes,
        lazy=lazy,
        to_go=feedback.returns == "to-go",
        game=games.contiguous(),
        schedule=which,
        target=goal,
    )
    back = [tuple(x.reshape(*batch, *x.shape[-2:]) for x in part) for part in (found.scores, found.policy)]
    saw = found.watched
    if saw is None:
        return Landing(back[0], back[1], reached, None, None)
    return Landing(back[0], back[1], reached, saw.farthest.reshape(batch), saw.wrong.reshape(batch))


def _serves(game: Any, scores: Policy, policy: Policy) -> bool:
    if not isinstance(game, TabularGame) or type(game).rollout is not TabularGame.rollout:  # one of its own mind
        return False
    law = game.law
    if not isinstance(law, DenseLaw | SparseLaw) or not _broadcasts(game.batch, policy):
        return False
    numbers = law.table if isinstance(law, DenseLaw) else law.probabilities
    games = int(np.prod(game.batch, dtype=np.int64))
    return (
        games * int(np.prod(numbers.shape[-3:], dtype=np.int64)) <= LARGEST
        and episodes.serves(game.reward, numbers, game.initial, *scores, *policy)
        and all(bool(x.isfinite().all()) for x in (*scores, *policy))  # a step says what has diverged
    )


def _broadcasts(games: tuple[int, ...], policy: Policy) -> bool:
    batch = tuple(policy[0].shape[:-2])
    return len(games) <= len(batch) and all(a in (1, b) for a, b in zip(games[::-1], batch[::-1], strict=False))


_kept: tuple[ReferenceType[Any], episodes.Tables] | None = None


def tables_of(game: TabularGame) -> episodes.Tables:
    """The game as the loops read it; the last one is kept, since a run asks many times."""
    global _kept
    if _kept is not None and _kept[0]() is game:
        return _kept[1]
    law, batch, n = game.law, game.batch, len(game.action_counts)

    def laid_out(x: Tensor, inner: int) -> Tensor:
        return x.detach().expand(*batch, *x.shape[-inner:]).reshape(-1, *x.shape[-inner:])

    reward, initial = laid_out(game.reward.flatten(-n), 3), laid_out(game.initial, 1)
    if isinstance(law, SparseLaw):
        found = episodes.tables(
            reward, laid_out(law.probabilities, 3), initial, game.action_counts, laid_out(law.successors, 3)
        )
    else:
        found = episodes.tables(reward, laid_out(law.dense(), 3), initial, game.action_counts)
    _kept = ref(game), found
    return found


def _at_once(game: TabularGame, policy: Policy, plays: int, wanted: int) -> int:
    """Iterations of so many episodes to take at once, by how long the mean of the policies plays."""
    if plays * wanted <= AT_ONCE * float(game.stopping.min()):
        return wanted
    steps = mean_length(game, policy)
    require_end(steps, LONGEST)
    return max(1, int(AT_ONCE / (plays * steps)))

"""How learners learn unless it is said: FTRL inside the conditions of the theorem, in units of the game."""

from typing import Any

import torch
from torch import Tensor

from gamesim import catalog
from gamesim.certificates.profiles import Radius
from gamesim.errors import refuse
from gamesim.feedback import Bandit, Feedback
from gamesim.games import DenseGame, NormalFormGame
from gamesim.parameters import build, convert
from gamesim.randomness import Stream
from gamesim.regularizers import Regularizer

STEP = 0.3
"""Of a learner unless it is said, in units of the payoffs and of what moves a probability of the radius."""


def learner(game: NormalFormGame, radius: float = 0.1, /, **parameters: Any) -> Any:
    """FTRL under bandit feedback, inside the conditions of the theorem.

    Steps are in units of the payoffs, and of the scores that it takes to move a probability of the radius by itself:
    p theta''(p), so that every regulariser begins alike. An importance-weighted payoff is as large as the payoff
    itself, so under bandit feedback it is their size that counts, and not their differences alone.
    """
    game = require_one_game(game)
    p = min(convert(radius, Radius, "radius"), 1 / max(game.action_counts))
    own = {"feedback": "bandit(power(0.5, 0.3, 10))"} | parameters
    h = convert(own.get("regularizer", "entropic"), Regularizer, "regularizer")
    weighted = isinstance(convert(own["feedback"], Feedback, "feedback"), Bandit)
    size = STEP * p * h.curvature(p) / (magnitude(game) if weighted else span(game))
    return build(catalog.find("solvers", "ftrl"), {"step_size": f"power({size:.6g}, 0.7, 10)"} | own, what="ftrl")


def require_one_game(game: Any) -> NormalFormGame:
    """Refuse what is not a single normal-form game."""
    if not isinstance(game, NormalFormGame):
        raise refuse("game", type(game).__name__, "a normal-form game: graphon games have certificates of their own")
    if game.batch:
        raise refuse("game", f"a batch of games of shape {list(game.batch)}", "one game")
    return game


def span(game: NormalFormGame) -> float:
    """The difference between the largest and the smallest payoff of a player; 1 if there is none."""
    paid = _paid(game)
    return float((paid.amax(0) - paid.amin(0)).max()) or 1.0


def magnitude(game: NormalFormGame) -> float:
    """The largest payoff in absolute value, or their span if that is more."""
    return max(float(_paid(game).abs().max()), span(game))


def _paid(game: NormalFormGame) -> Tensor:
    """All payoffs [profile, player], or those of 1,000 random profiles where they are not written out."""
    if isinstance(game, DenseGame):
        return game.payoffs.flatten(1).mT
    u = Stream(0).uniform((1000, len(game.action_counts)))
    return game.play((u * torch.tensor(game.action_counts)).long().to(game.like["device"]))

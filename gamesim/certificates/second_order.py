"""Second-order stationarity of a policy of a stochastic game: strict, Nash but not SOS, or not Nash.

A policy pi* is second-order stationary (SOS) if <v(pi), pi - pi*> <= -mu ||pi - pi*||^2 near it, with some mu > 0 and
v_i(s, a) = d(s) Q_i(s, a): then policy gradient is attracted to it. In games given by their tables, with the policies
themselves as parameters,

    a Nash equilibrium is SOS  if and only if  it is strict and visits every state

Strict: everyone has a single best action in every state. If so, mu and the ball follow (`gamesim.certificates.moduli`).
If not, player i has two best actions a, b in a visited state s, of which it plays a. Along z = (e_b - e_a) / sqrt 2 its
own payoff is constant by the performance difference identity, nobody else moves, so <v(pi* + h z), h z> = 0 for all
small h, against mu > 0. If a state is not visited, nothing done there moves any payoff: again 0. The derivative J of v
agrees: its own blocks on the face of the best actions vanish, so J + J^T has no trace there and cannot be negative
definite.

Numbers are floats: what is at most `tolerance` times the span of what joint actions are worth counts as 0, what is more
than 100 times that as positive, and between the two nothing is certified.

Giannou, Lotidis, Mertikopoulos and Vlatakis-Gkaragkounis, "On the convergence of policy gradient methods to Nash
equilibria in general stochastic games", NeurIPS 2022, arXiv 2210.08857, define the classes; that SOS and strict are one
class here is derived above.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from gamesim.certificates.policy_certificate import PolicyCertificate
from gamesim.certificates.standing import stand
from gamesim.certificates.verdicts import Judge
from gamesim.errors import refuse
from gamesim.games import Policy, TabularGame
from gamesim.games.game import require_policy
from gamesim.parameters import Bounds, convert
from gamesim.shapes import broadcast_shapes

Tolerance = Annotated[float, Bounds("a number above 0 and at most 0.001", 0, 1e-3, low_open=True)]


def certify_policy(game: TabularGame, policy: Policy | Sequence[Any], *, tolerance: float = 1e-9) -> PolicyCertificate:
    """Whether a policy is a strict equilibrium, another Nash equilibrium, or none, and why.

    policy:     [s, a] for each player, or the action in each state for each player, from 0.
    tolerance:  relative to the span of payoffs; gains and gaps from it up to 100 times it are not certified.

    >>> from gamesim.games import StochasticGame
    >>> meet = [[[2.0, 0.0], [0.0, 1.0]]]  # one state, in which play ends with a chance of one half
    >>> game = StochasticGame([meet, meet], [[[[0.5], [0.5]], [[0.5], [0.5]]]])
    >>> found = certify_policy(game, [[1], [1]])
    >>> found.verdict, found.margin, found.weighted_margin
    ('strict', 1.0, 2.0)
    >>> certify_policy(game, [[[1 / 3, 2 / 3]], [[1 / 3, 2 / 3]]]).verdict
    'nash-not-sos'
    """
    _require_game(game)
    if math.prod(game.batch) != 1:
        raise refuse("game", f"a batch of games {list(game.batch)}", "one game; certify_policies takes a batch")
    return certify_policies(game, as_policy(game, policy), tolerance=tolerance)[0]


def certify_policies(game: TabularGame, policy: Policy, *, tolerance: float = 1e-9) -> list[PolicyCertificate]:
    """A certificate for each element of a batch of games or policies [..., s, a], in order."""
    _require_game(game)
    tolerance = convert(tolerance, Tolerance, "tolerance")
    require_policy(policy, tuple(x.reshape(-1, *x.shape[-2:])[0] for x in game.start()), "policy")
    for i, x in enumerate(policy):
        if x.dtype != torch.float64:
            raise refuse(f"policy[{i}]", x.dtype, "float64: differences of values need the digits")
    try:
        broadcast_shapes(game.batch, *(x.shape[:-2] for x in policy))
    except RuntimeError:
        shapes = ", ".join(str(list(x.shape)) for x in policy)
        raise refuse("policy", f"shapes {shapes}", f"a batch that broadcasts with {list(game.batch)}") from None
    return Judge(game, stand(game, policy, tolerance), tolerance).certificates()


def as_policy(game: TabularGame, given: Policy | Sequence[Any], field: str = "policy") -> Policy:
    """One policy from tensors or nested lists [player][s][a], or from actions [player][s]."""
    counts, states = game.action_counts, game.state_count
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != len(counts):
        found = f"{len(given)} players" if isinstance(given, Sequence) and not isinstance(given, str) else repr(given)
        wanted = f"a table of {states} states, of probabilities or of actions, for each of {len(counts)} players"
        raise refuse(field, found, wanted)
    policy = []
    for i, (rows, count) in enumerate(zip(given, counts, strict=True)):
        wanted = f"probabilities [{states}, {count}], or {states} actions"
        try:
            x = rows if isinstance(rows, Tensor) else torch.tensor(rows)  # lists of whole numbers stay whole
            x = x if x.dtype in (torch.int64, torch.float64) else torch.tensor(rows, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            raise refuse(f"{field}[{i}]", rows, wanted) from None
        if x.shape == (states,) and x.dtype == torch.int64:
            if bool(((x < 0) | (x >= count)).any()):
                raise refuse(f"{field}[{i}]", x.tolist(), f"actions from 0 to {count - 1}")
            x = torch.nn.functional.one_hot(x, count)
        if x.dim() < 2 or x.shape[-2:] != (states, count) or math.prod(x.shape[:-2]) != 1:
            raise refuse(f"{field}[{i}]", f"shape {list(x.shape)}", wanted)
        policy.append(x.to(**game.like).reshape(states, count))
    require_policy(tuple(policy), field=field)
    return tuple(policy)


def _require_game(game: Any) -> None:
    if not isinstance(game, TabularGame):
        raise refuse("game", type(game).__name__, "a stochastic game by its tables")
    if game.like["dtype"] != torch.float64:
        raise refuse("dtype", game.like["dtype"], "float64: differences of values need the digits")
    game.validate()

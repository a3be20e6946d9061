"""Regret: what a player would have gained by playing otherwise, after a history of play or under a joint distribution.

With M_i[a, b] = sum_t x_i,t(a) v_i,t(b) for mixed play x_t with payoff vectors v_i,t, or sum_{a_-i} p(a, a_-i)
u_i(b, a_-i) for a distribution p of play,

    external    max_b sum_a M_i[a, b] - sum_a M_i[a, a]       one action for every round
    swap        sum_a (max_b M_i[a, b] - M_i[a, a])           every played action a may be replaced by its own b

so the average regret of a history is what its empirical distribution of play lacks of a coarse correlated (external) or
a correlated equilibrium (swap). Hart and Mas-Colell, Econometrica 68 (2000); Blum and Mansour, JMLR 8 (2007). External
regret can be negative: no single action did as well as what was played. Swap regret cannot.
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from gamesim.errors import refuse, unknown
from gamesim.games.game import Policy
from gamesim.games.matrix import MatrixGame, NormalFormGame, action_counts, as_payoffs

Kind = Literal["correlated", "coarse"]
"""Of an equilibrium: deviations know what they were told to play, or are decided before."""

AT_ONCE = 2**20  # rounds times batch: longer histories are summed up in parts, so that memory has a limit
OFF = 1e-5  # how far from one the sum of a distribution may be


def external_regret(game: Any, history: Tensor | Policy, average: bool = False) -> Tensor:
    """What the best fixed action would have gained over the play, [..., player]; with `average` per round.

    The history is of choices, whole numbers [..., round, player], or of policies, [..., round, a] per player; the game
    is a NormalFormGame, which may be a batch [...], or payoffs [..., player, a1, ..., an].

    >>> pennies = [[[1.0, -1.0], [-1.0, 1.0]], [[-1.0, 1.0], [1.0, -1.0]]]
    >>> external_regret(pennies, torch.tensor([[0, 0], [0, 1], [0, 0]]))
    tensor([0., 4.], dtype=torch.float64)
    """
    return _over_players(external, *_deviations(game, history), average)


def swap_regret(game: Any, history: Tensor | Policy, average: bool = False) -> Tensor:
    """What replacing each played action by the best one for the rounds when it was played would have gained.

    [..., player]; arguments as in `external_regret`.
    """
    return _over_players(swap, *_deviations(game, history), average)


def violations(game: Any, distribution: Any, kind: Kind = "correlated") -> Tensor:
    """What each player gains by the best deviation from p[..., a1, ..., an], in payoffs, [..., player].

    The best deviation is a swap of every action told for another ("correlated") or one action instead of all
    ("coarse", negative where even that would lose). A game is taken as in `external_regret`.
    """
    reduce = {"correlated": swap, "coarse": external}[_checked(kind)]
    payoffs, counts = payoffs_of(game)
    p = _distribution(distribution, counts, payoffs)
    return torch.stack([reduce(_told(payoffs, p, i, len(counts))) for i in range(len(counts))], -1)


def is_correlated(game: Any, distribution: Any, kind: Kind = "correlated", tolerance: float = 1e-6) -> Tensor:
    """Whether nobody gains more than the tolerance by deviating, [...]; relative to what a change of action changes."""
    payoffs, counts = payoffs_of(game)
    own = [_own_last(payoffs, i, len(counts)) for i in range(len(counts))]
    stakes = torch.stack([(u.amax(-1) - u.amin(-1)).amax(-1) for u in own], -1)
    return (violations(game, distribution, kind) <= tolerance * stakes).all(-1)


def empirical_play(history: Tensor, action_counts: tuple[int, ...]) -> Tensor:
    """How often each profile was chosen: history[..., round, player] -> p[..., a1, ..., an], float64.

    >>> empirical_play(torch.tensor([[0, 1], [0, 1], [1, 0], [1, 1]]), (2, 2))
    tensor([[0.0000, 0.5000],
            [0.2500, 0.2500]], dtype=torch.float64)
    """
    counts = tuple(action_counts)
    _check_choices(history, counts)
    place = torch.zeros_like(history[..., 0])
    for i, count in enumerate(counts):
        place = place * count + history[..., i]
    batch, rounds = place.shape[:-1], place.shape[-1]
    times = torch.zeros((*batch, torch.Size(counts).numel()), dtype=torch.float64, device=history.device)
    times.scatter_add_(-1, place, torch.ones_like(place, dtype=torch.float64))
    return (times / rounds).reshape(*batch, *counts)


def external(deviations: Tensor) -> Tensor:
    """max_b sum_a M[a, b] - sum_a M[a, a], M[..., a, b] -> [...]."""
    return deviations.sum(-2).amax(-1) - deviations.diagonal(dim1=-2, dim2=-1).sum(-1)


def swap(deviations: Tensor) -> Tensor:
    """sum_a (max_b M[a, b] - M[a, a]), M[..., a, b] -> [...]."""
    return (deviations.amax(-1) - deviations.diagonal(dim1=-2, dim2=-1)).sum(-1)


def payoffs_of(game: Any) -> tuple[Tensor, tuple[int, ...]]:
    """The payoff tensor u[..., player, a1, ..., an] of a game that has one, and the numbers of actions."""
    if isinstance(game, NormalFormGame):
        if not isinstance(getattr(game, "payoffs", None), Tensor):
            raise refuse("game", type(game).__name__, "payoffs [..., player, a1, ..., an], or a game that has them")
        return game.payoffs, game.action_counts  # type: ignore[attr-defined]
    payoffs = as_payoffs(game)
    return payoffs, action_counts(payoffs)


def _over_players(reduce: Any, found: list[Tensor], rounds: int, average: bool) -> Tensor:
    return torch.stack([reduce(m) for m in found], -1) / (rounds if average else 1)


def _deviations(game: Any, history: Tensor | Policy) -> tuple[list[Tensor], int]:
    """M_i[..., a, b] of every player, and the number of rounds."""
    players = len(history) if isinstance(history, tuple | list) else history.shape[-1] if history.dim() > 1 else None
    if not isinstance(game, NormalFormGame):
        game = MatrixGame(game, player_count=players)
    if isinstance(history, Tensor):
        _check_choices(history, game.action_counts)
        parts = _parts(history)
        plays = ((game.chosen(part), game.answers(part)) for part in parts)
        rounds = history.shape[-2]
    else:
        policies = _policies(history, game)
        rounds = policies[0].shape[-2]
        pieces = zip(*map(_parts, policies), strict=True)
        plays = ((piece, game.values(piece)) for piece in pieces)
    found: list[Tensor] = []
    for played, values in plays:
        # From the best answer of each round: only differences matter, and so they keep their digits.
        lost = [v - v.amax(-1, keepdim=True) for v in values]
        part = [torch.einsum("t...a,t...b->...ab", x, v) for x, v in zip(played, lost, strict=True)]
        found = [m + more for m, more in zip(found, part, strict=True)] if found else part
    return found, rounds


def _parts(x: Tensor) -> tuple[Tensor, ...]:
    """[..., round, last] as parts [round, ..., last]: rounds first, so that what follows may be a batch of games."""
    batch = x.shape[:-2].numel()
    found: tuple[Tensor, ...] = x.movedim(-2, 0).split(max(1, AT_ONCE // max(1, batch)))
    return found


def _told(payoffs: Tensor, p: Tensor, player: int, players: int) -> Tensor:
    """M_i[..., a, b] = sum_{a_-i} p(a, a_-i) u_i(b, a_-i), payoffs counted from the best reply to a_-i."""
    own = _own_last(payoffs, player, players)
    own = own - own.amax(-1, keepdim=True)
    joint = p.movedim(player - players, -1)
    joint = joint.reshape(*p.shape[:-players], -1, joint.shape[-1])
    return joint.mT @ own


def _own_last(payoffs: Tensor, player: int, players: int) -> Tensor:
    """u_i[..., others, a_i]."""
    own = payoffs.select(-1 - players, player).movedim(player - players, -1)
    return own.reshape(*payoffs.shape[: -1 - players], -1, own.shape[-1])


def _checked(kind: str) -> str:
    if kind not in get_args(Kind):
        raise unknown("kind", str(kind), get_args(Kind))
    return kind


def _check_choices(history: Tensor, counts: tuple[int, ...]) -> None:
    if history.dim() < 2 or history.shape[-1] != len(counts) or history.shape[-2] == 0:
        wanted = f"[..., round, player]: at least one round, {len(counts)} players"
        raise refuse("history", f"shape {list(history.shape)}", wanted)
    if history.dtype != torch.int64:
        raise refuse("history", f"dtype {history.dtype}", "choices as int64, or a tuple of policies [..., round, a]")
    bad = (history < 0) | (history >= torch.tensor(counts, device=history.device))
    if bool(bad.any()):
        index = tuple(bad.nonzero()[0].tolist())
        raise refuse(f"history{list(index)}", int(history[index]), f"an action from 0 to {counts[index[-1]] - 1}")


def _policies(history: Policy, game: NormalFormGame) -> Policy:
    counts = game.action_counts
    shapes = [list(x.shape) for x in history]
    if [x[-1] for x in shapes if len(x) > 1] != list(counts) or len({tuple(x[-2:-1]) for x in shapes}) != 1:
        raise refuse("history", f"policies of shapes {shapes}", f"[..., round, a] with actions {list(counts)}")
    if 0 in history[0].shape[-2:]:
        raise refuse("history", f"policies of shapes {shapes}", "at least one round")
    for i, x in enumerate(history):
        if not bool((x >= -OFF).all() & ((x.sum(-1) - 1).abs() <= OFF).all()):
            raise refuse(f"history[{i}]", "a policy off the simplex", "rows of probabilities that sum to one")
    return tuple(x.to(**game.like) for x in history)


def _distribution(distribution: Any, counts: tuple[int, ...], payoffs: Tensor) -> Tensor:
    p = torch.as_tensor(distribution).to(payoffs)
    if p.shape[-len(counts) :] != counts:
        raise refuse("distribution", f"shape {list(p.shape)}", f"[..., a1, ..., an] = [..., {str(list(counts))[1:]}")
    total = p.flatten(-len(counts)).sum(-1)
    if not bool((p >= -OFF).all() & ((total - 1).abs() <= OFF).all()):
        raise refuse("distribution", "one that is off the simplex", "probabilities of profiles that sum to one")
    return p

"""The derivative J of the gradients v on the face of the best actions of a Nash equilibrium of a stochastic game.

By the performance difference identity (Kakade and Langford, ICML 2002)

    V_i(pi_i', pi_-i) - V_i(pi) = sum_s d'(s) sum_a pi_i'(a | s) (Q_i(s, a) - V_i(s))

which is 0 on the face, so that V_i is constant along player i's part of it. Hence the own blocks of J vanish there,
J + J^T has no trace, and its largest eigenvalue is at least 0.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gamesim.certificates.standing import AT_ONCE, Standing
from gamesim.games import Policy, TabularGame
from gamesim.games.matrix import payoff_vector

COORDINATES = 512
"""Probabilities on the face along which the derivative is worked out, at most."""
WORK = 1e10
"""Multiplications that it may take, S^2 J a probability: of a large game only the first rows of the face are seen."""


def slopes(game: TabularGame, policy: Policy, directions: Policy) -> Policy:
    """Dv(pi) z, the derivative of the gradients, along directions z[k, ..., s, a]: [k, ..., s, a] for each player.

    V' = (I - P)^-1 (R' + P' V), d' = (I - P^T)^-1 P'^T d, and Q_i' has a term for V' and one for each other player.
    """
    n, values, visits = len(policy), game.state_values(policy), game.occupancy(policy)
    chain, stage, q = game.chain(policy), game.stage(values), game.answers_to(policy, values)
    inverse = torch.linalg.inv(torch.eye(game.state_count, dtype=chain.dtype, device=chain.device) - chain)
    each = math.prod(directions[0].shape[1:-2]) * game.state_count * game.joint_count * (game.state_count + 2 * n)
    width, found = max(1, AT_ONCE // max(each, 1)), list[Policy]()
    for first in range(0, len(directions[0]), width):
        z = tuple(way[first : first + width] for way in directions)
        moved = [(*policy[:j], z[j], *policy[j + 1 :]) for j in range(n)]
        joint = torch.stack([game.joint(each) for each in moved]).sum(0)
        worth = (stage.flatten(-n) * joint.unsqueeze(-3)).sum(-1)  # R' + P' V
        later = worth @ inverse.mT
        after = ((visits[..., None, :] @ game.law.chain(joint)) @ inverse)[..., 0, :]
        then = (game.law.expect(later.movedim(-2, 0)).movedim(0, -3)).unflatten(-1, game.action_counts)
        slope = list[Tensor]()
        for i in range(n):
            own = stage.select(-2 - n, i)
            change = payoff_vector(then.select(-2 - n, i), i, policy)
            for j in range(n):
                if j != i:
                    change = change + payoff_vector(own, i, moved[j])
            slope.append(after[..., None] * q[i] + visits[..., None] * change)
        found.append(tuple(slope))
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


class OnFace(NamedTuple):
    """The derivative J of the gradients on the face, [...] each; NaN where there is no face."""

    own: Tensor
    """The largest entry of the own blocks: 0, since a player's payoff is constant along its part of the face."""
    eigenvalue: Tensor
    """The largest of (J + J^T) / 2: at least 0, since the own blocks leave no trace."""


def on_face(game: TabularGame, found: Standing) -> OnFace:
    """J between the directions of the face, whole rows of it up to `COORDINATES` probabilities in all."""
    policy, batch = found.policy, found.visits.shape[:-1]
    counts = game.action_counts
    rows = [(i, s) for i in range(len(counts)) for s in range(game.state_count)]
    faces = found.faces
    used = [(i, s) for i, s in rows if bool(faces[i][..., s, :].any())]
    taken, width = list[tuple[int, int]](), 0
    most = min(COORDINATES, int(WORK / (game.state_count**2 * game.joint_count * max(math.prod(batch), 1))))
    for i, s in used:
        if not taken or width + counts[i] <= most:
            taken, width = [*taken, (i, s)], width + counts[i]
    nothing = torch.full(batch, math.nan, dtype=found.visits.dtype, device=found.visits.device)
    if not taken:
        return OnFace(nothing, nothing)
    places = [(i, s, a) for i, s in taken for a in range(counts[i])]
    along = tuple(torch.zeros(width, *batch, *x.shape[-2:], dtype=x.dtype, device=x.device) for x in policy)
    for k, (i, s, a) in enumerate(places):
        along[i][k, ..., s, a] = 1
    moved = slopes(game, policy, along)
    J = torch.stack([moved[i][..., s, a] for i, s, a in places], -1).movedim(0, -1)  # [..., out, in]
    mask = torch.stack([faces[i][..., s, a] for i, s, a in places], -1)
    row = torch.tensor([taken.index((i, s)) for i, s, _ in places], device=J.device)
    player = torch.tensor([i for i, _, _ in places], device=J.device)
    together = ((row[:, None] == row) & mask[..., :, None] & mask[..., None, :]).to(J)
    inside = torch.diag_embed(mask.to(J)) - together / together.sum(-1, keepdim=True).clamp(min=1)
    J = inside @ J @ inside
    own = torch.where(player[:, None] == player, J.abs(), 0.0).amax((-2, -1))
    outside = torch.eye(width, dtype=J.dtype, device=J.device) - inside
    below = 1 + 2 * J.abs().sum((-2, -1))
    eigenvalue = torch.linalg.eigvalsh((J + J.mT) / 2 - below[..., None, None] * outside)[..., -1]
    empty = ~mask.any(-1)
    return OnFace(torch.where(empty, nothing, own), torch.where(empty, nothing, eigenvalue))

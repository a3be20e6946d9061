"""Random games by their tables, and plain loops in numpy that know nothing of gamesim: what oracles are made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gamesim.games import GraphonGame

Array = NDArray[np.float64]


def numbers(*path: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([2026, *path])))


def laws(draw: np.random.Generator, *shape: int) -> Array:
    """Random laws[..., a], a third of them pure and a few with a zero."""
    found = draw.dirichlet(np.ones(shape[-1]), shape[:-1])
    pure = np.eye(shape[-1])[draw.integers(shape[-1], size=shape[:-1])]
    return np.where(draw.random(shape[:-1])[..., None] < 1 / 3, pure, found)


def entropy(p: Array) -> float:
    return -sum(x * math.log(x) for x in p if x > 0)


def best(values: Sequence[float], lam: float = 0.0) -> float:
    """What the best law of actions gets, with the entropy it has at temperature lam."""
    top = max(values)
    return top if lam == 0 else top + lam * math.log(sum(math.exp((x - top) / lam) for x in values))


def loops(u: Array, policy: Sequence[Array], lam: float = 0.0) -> tuple[list[float], list[float]]:
    """Every player's payoff and what the best deviation gains, summed profile by profile; lam is the temperature."""
    paid, gained = [], []
    for i in range(len(u)):
        values, own = [0.0] * u.shape[1 + i], 0.0
        for profile in product(*map(range, u.shape[1:])):
            others = 1.0
            for j, a in enumerate(profile):
                if j != i:
                    others *= policy[j][a]
            values[profile[i]] += others * u[(i, *profile)]
            own += others * policy[i][profile[i]] * u[(i, *profile)]
        paid.append(own)
        gained.append(best(values, lam) - own - lam * entropy(policy[i]))
    return paid, gained


def solved(R: Array, P: Array, discount: float, policy: Sequence[Array], lam: float = 0.0) -> Array:
    """V[player, s], state by state and profile by profile, from the linear system; lam is the temperature."""
    states, counts = R.shape[1], R.shape[2:]
    paid, chain = np.zeros((len(R), states)), np.zeros((states, states))
    for s in range(states):
        for a in product(*map(range, counts)):
            weight = np.prod([policy[i][s, a[i]] for i in range(len(counts))])
            paid[:, s] += weight * R[(slice(None), s, *a)]
            chain[s] += weight * discount * P[(s, *a)]
    paid += lam * np.array([[entropy(row) for row in pi] for pi in policy])
    return np.stack([np.linalg.solve(np.eye(states) - chain, paid[i]) for i in range(len(R))])


@dataclass(frozen=True, kw_only=True)
class Tables(GraphonGame):
    """A random graphon game: rewards R0 + R1 z and transitions mixed of two tables by a smooth function of z."""

    tables: dict[str, Tensor]

    @property
    def initial(self) -> Tensor:
        found: Tensor = self.tables["initial"]
        return found

    def reward(self, h: int, z: Tensor) -> Tensor:
        found: Tensor = self.tables["base"] + torch.einsum("...sat,...kt->...ksa", self.tables["slope"], z)
        return found

    def transition(self, h: int, z: Tensor) -> Tensor:
        share = self.share(z.sum(-1) + z[..., 0])[..., None, None, None]
        one, other = self.tables["one"], self.tables["other"]
        found: Tensor = one.unsqueeze(-4) * (1 - share) + other.unsqueeze(-4) * share
        return found

    @staticmethod
    def share(x: Any) -> Any:
        return x / (1 + x)


def drawn_tables(draw: np.random.Generator, batch: int, k: int, s: int, a: int) -> dict[str, Tensor]:
    law = np.ones(s)
    made = {
        "initial": draw.dirichlet(law, (batch, k)),
        "base": draw.normal(size=(batch, 1, s, a)),
        "slope": draw.normal(size=(batch, s, a, s)),
        "one": draw.dirichlet(law, (batch, s, a)),
        "other": draw.dirichlet(law, (batch, s, a)),
    }
    return {name: torch.from_numpy(x) for name, x in made.items()}


def dynamic_program(
    w: Array, weights: Array, t: dict[str, Array], pi: Array, lam: float = 0.0
) -> tuple[Array, Array, Array]:
    """What each position gains, the first values and the flow of a policy pi[h, k, s, a], number by number."""
    H, K, S, A = pi.shape
    mu, z = np.zeros((H, K, S)), np.zeros((H, K, S))
    mu[0] = t["initial"]
    reward, move = np.zeros((H, K, S, A)), np.zeros((H, K, S, A, S))
    for h in range(H):
        for k, s in product(range(K), range(S)):
            for j in range(K):
                z[h, k, s] += w[k, j] * weights[j] * mu[h, j, s]
        for k, s, a in product(range(K), range(S), range(A)):
            share = Tables.share(sum(z[h, k]) + z[h, k, 0])
            for n in range(S):
                reward[h, k, s, a] += t["slope"][s, a, n] * z[h, k, n]
                move[h, k, s, a, n] = (1 - share) * t["one"][s, a, n] + share * t["other"][s, a, n]
                if h + 1 < H:
                    mu[h + 1, k, n] += mu[h, k, s] * pi[h, k, s, a] * move[h, k, s, a, n]
            reward[h, k, s, a] += t["base"][0, s, a]
    own, most = np.zeros((K, S)), np.zeros((K, S))
    for h in reversed(range(H)):
        new, top = np.zeros((K, S)), np.zeros((K, S))
        for k, s in product(range(K), range(S)):
            q = [reward[h, k, s, a] + sum(move[h, k, s, a, n] * own[k, n] for n in range(S)) for a in range(A)]
            new[k, s] = sum(pi[h, k, s, a] * q[a] for a in range(A)) + lam * entropy(pi[h, k, s])
            top[k, s] = best([reward[h, k, s, a] + sum(move[h, k, s, a] * most[k]) for a in range(A)], lam)
        own, most = new, top
    gains = [sum(t["initial"][k, s] * (most[k, s] - own[k, s]) for s in range(S)) for k in range(K)]
    return np.array(gains), own, mu

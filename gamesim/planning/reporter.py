"""A Reporter that is learned from pairs: which report goes with which state, told from reports that do not.

Pairs (o, s, y): a state s that pretraining meets, with y = 1 and a report o ~ gamma(. | s) half of the time, with y = 0
and a report o ~ P^-, drawn at random, otherwise. A network phi minimises the loss of telling them apart,

    L(phi) = E[ log(1 + exp(-(2 y - 1) phi(o, s))) ],      whose minimum is     exp phi = gamma(o | s) / P^-(o)

so that with f = exp phi the learned Reporter is gamma_theta(o | s) ~ f(o, s) P^-(o). He, Chen, Zhang and Yang, ICML
2024, arXiv 2405.19883: errors of the Reporter enter the planner's regret through its filter.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gamesim.attention import Layout
from gamesim.errors import refuse
from gamesim.games.game import require_rows
from gamesim.networks.adam import Trained, Weights, adam
from gamesim.networks.mlp import MLP
from gamesim.networks.stateless import Stateless
from gamesim.parameters import Count, convert
from gamesim.randomness import Stream
from gamesim.simplex import drawn

NETWORK = MLP(width=64, layers=1)
STEP_SIZE, BATCH = 1e-2, 512
"""Of Adam, falling to a twentieth over the run; pairs of a step."""
PASSES = 8
"""How often each pair is seen."""
LEAST, MOST = 200, 4000
"""Steps of Adam at least, and at most."""


def learned_reporter(
    emission: Tensor,
    features: Tensor,
    met: Tensor,
    samples: int,
    seed: int | Sequence[int] = 0,
    network: MLP = NETWORK,
) -> Tensor:
    """gamma_theta(o | s), [..., s, o], from so many pairs; a batch for several seeds.

    emission[s, o] is what reports are drawn from, features[s, d] what the network sees of a state, and met[s] the law
    of states in pretraining. Reports of P^- are uniform.
    """
    convert(samples, Count, "samples")
    require_rows(emission, "emission")
    require_rows(met, "met")
    if features.dim() != 2 or len(features) != len(emission) or len(met) != len(emission):
        shown = f"features {list(features.shape)}, met {list(met.shape)}"
        raise refuse(
            "features", shown, f"a row for each of the {len(emission)} states of emission, and a chance for each"
        )
    seeds = [seed] if isinstance(seed, int) else list(seed)
    reports = emission.shape[-1]
    luck = Stream(seeds)
    u = luck.uniform((len(seeds), samples, 3))
    state = drawn(met, u[..., 0])
    matched = u[..., 1] < 0.5
    told = drawn_of(emission, state, u[..., 2])
    report = torch.where(matched, told, (u[..., 2] * reports).long())
    sign = 1.0 - 2.0 * matched.to(torch.float32)

    module = Stateless(network.module(features.shape[1], reports, pooled=True, most=1))
    seen = features.to(torch.float32)

    def scores(weights: Weights, x: Tensor) -> Tensor:
        """phi(., s), [seed, b, o] of x[seed, b, d]."""
        return module(weights, x, Layout.repeated(1, x.shape[-2]), torch.zeros(0, dtype=torch.long))

    trained = Trained.fresh(module.draw((len(seeds),), luck))
    steps = min(max(LEAST, PASSES * samples // BATCH), MOST)
    for k in range(1, steps + 1):
        i = (luck.at(k).quick((len(seeds), min(BATCH, samples))) * samples).long()
        s, o, y = (x.gather(-1, i) for x in (state, report, sign))

        def loss(weights: Weights, s: Tensor = s, o: Tensor = o, y: Tensor = y) -> Tensor:
            phi = scores(weights, seen[s]).gather(-1, o.unsqueeze(-1))[..., 0]
            return softplus(y * phi).mean(-1)

        trained = adam(trained, loss, STEP_SIZE * (1 - 0.95 * k / steps), k)
    with torch.no_grad():
        phi = scores(trained.parameters, seen.expand(len(seeds), *seen.shape)).to(torch.float64)
    found = torch.softmax(phi, -1)  # P^- is uniform
    return found[0] if isinstance(seed, int) else found


def drawn_of(law: Tensor, row: Tensor, u: Tensor) -> Tensor:
    """Draws from law[row, .] for many rows, [...], by the sums of each row once: whole numbers [...]."""
    below = law.cumsum(-1)
    ladder = (below + torch.arange(len(law), dtype=law.dtype)[:, None]).flatten()  # rising from row to row
    count = law.shape[-1]
    found = torch.searchsorted(ladder, (u + row).contiguous(), right=True) - row * count
    last = count - 1 - (law > 0).flip(-1).to(torch.uint8).argmax(-1)
    return torch.minimum(found.clamp(min=0), last[row])


def distance(learned: Tensor, emission: Tensor, met: Tensor) -> Tensor:
    """The mean total variation between two Reporters over states met[s]: learned[..., s, o] -> [...]."""
    return ((learned - emission).abs().sum(-1) / 2 * met).sum(-1)

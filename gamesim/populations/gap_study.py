"""The gap of N agents in one call: play a policy among them, compare with the continuum, let some of them deviate.

    |J_i^N(pi) - J(x_i)|                    the value of agent i against that of its position
    J_i^N(b, pi_{-i}) - J_i^N(pi)           its gain by a deviation b, for two of them:
                                            the best answer to what it felt among N, and the continuum's

Noise: see `gamesim.populations.gaps`. Returns are steadied by the values of the continuum, those of agents that deviate
by the values of what was around them. Responses are computed from one set of episodes and paid in another, against the
same luck as the policy itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games import GraphonGame, Policy
from gamesim.parameters import Count, Natural, convert
from gamesim.populations.continuum import initial_at
from gamesim.populations.gaps import FiniteGap
from gamesim.populations.places import Density, require_agents
from gamesim.populations.responses import Averages, Neighbourhood, mean_field_response, mean_field_values, steadied
from gamesim.populations.settings import Deviation, deviating, make_worlds, require_play
from gamesim.populations.tallies import Moments, parts
from gamesim.populations.worlds import Worlds


def finite_gap(
    game: GraphonGame,
    policy: Policy,
    agents: int | Sequence[int] = (10, 30, 100, 300, 1000),
    *,
    episodes: int = 1000,
    graphs: int = 8,
    positions: Literal["grid", "random"] = "grid",
    density: Density = 1.0,
    deviators: int = 4,
    temperature: float = 0.0,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> FiniteGap:
    """Play a policy [h, k, s, a] among N agents for each N, and measure what is lost and what a deviation gains.

    Each N has networks of its own, drawn with seed, seed + 1, ...; `deviators` agents spread over the positions deviate
    one at a time. With a temperature all values are regularised, as they must be for a regularised equilibrium.

    >>> import gamesim as gs
    >>> game = gs.make("graphon/sis", positions=11, horizon=10)
    >>> gap = finite_gap(game, game.start(), [10, 100], episodes=100, graphs=3, deviators=0)
    >>> bool(gap.band("value_gap").mean[1] < gap.band("value_gap").mean[0])
    True
    """
    require_play(game, policy)
    sizes = [require_agents(n, least=2) for n in ([agents] if isinstance(agents, int) else agents)]
    episodes, graphs = convert(episodes, Count, "episodes"), convert(graphs, Count, "graphs")
    deviators = convert(deviators, Natural, "deviators")
    if not sizes:
        raise refuse("agents", [], "one N or more, as [10, 100, 1000]")
    if positions not in ("grid", "random"):
        raise refuse("positions", positions, "grid or random: each N has its own")
    if policy[0].dim() > 4:
        raise refuse("policy", f"shape {list(policy[0].shape)}", "one policy [h, k, s, a]")
    if episodes < 4:
        raise refuse("episodes", episodes, "at least 4: they are halved, and halves have errors")
    columns = list[dict[str, Tensor]]()
    for n in sizes:
        if deviators > n:
            raise refuse("deviators", deviators, f"at most {n}, the agents of the smallest game")
        worlds = make_worlds(game, policy, n, positions, density, None, graphs, seed, temperature)
        columns.append(_of_size(worlds, policy, episodes, deviators))
        say(f"  N = {n}: value gap {float(columns[-1]['square'].mean().clamp(min=0).sqrt()):.3g}")
    found = {name: torch.stack([size[name] for size in columns]) for name in columns[0]}
    return FiniteGap(
        agents=tuple(sizes),
        density=tuple(found.pop("density").tolist()),
        value=float(game.mean(game.returns(policy, game.flow(policy), temperature))),
        episodes=episodes,
        temperature=temperature,
        **found,
    )


@dataclass
class _Hall:
    """What was measured in some worlds."""

    around: Neighbourhood
    halves: tuple[Moments, Moments] = field(default_factory=lambda: (Moments(), Moments()))
    whole: Moments = field(default_factory=Moments)
    crowd: Moments = field(default_factory=Moments)
    above: Tensor | int = 0


def _measured(worlds: Worlds, episodes: int, at_once: int, who: Tensor) -> _Hall:
    """Play all episodes, in two halves, and watch agents who[w, d]."""
    hall = _Hall(Neighbourhood(worlds.game))
    middle = episodes // 2
    for half, begin, end in ((hall.halves[0], 0, middle), (hall.halves[1], middle, episodes)):
        for first in range(begin, end, at_once):
            chunk = worlds.play(first, min(at_once, end - first), watch=who)
            half.add(chunk.returns)
            hall.whole.add(chunk.returns)
            hall.crowd.add(chunk.returns.mean(-1))
            hall.above = hall.above + chunk.above
            if who.shape[1]:
                hall.around.add(chunk.felt)
    return hall


def _of_size(worlds: Worlds, policy: Policy, episodes: int, deviators: int) -> dict[str, Tensor]:
    """The tensors of a FiniteGap for one N, by name."""
    x, lam, like = worlds.positions, worlds.temperature, worlds.policy
    graphs, n = x.shape
    some = x if bool((x != x[:1]).any()) else x[:1]
    foreseen = torch.stack([mean_field_values(worlds.game, policy, row, lam) for row in some])
    worlds = replace(worlds, foreseen=foreseen)
    value = worlds.start
    quantiles = (((torch.arange(deviators) + 0.5) / max(deviators, 1)) * n).long()
    who = x.argsort(stable=True, dim=-1)[:, quantiles].sort(-1).values  # the loops want them in increasing order
    halls = [
        _measured(part, episodes, at_once, who[part.index[:, 0]])
        for part, at_once in parts(worlds, episodes, watched=deviators)
    ]
    one, two = (torch.cat([hall.halves[i].mean for hall in halls]) - value for i in (0, 1))
    apart = torch.cat([hall.whole.mean for hall in halls]) - value
    variance = torch.cat([hall.whole.variance for hall in halls])
    gains = errors = like.new_zeros(graphs, 0, 2)
    if deviators:
        averages = Averages(*map(torch.cat, zip(*(hall.around.averages for hall in halls), strict=True)))
        gains, errors = _gains(worlds, policy, who, averages, episodes)
    above = torch.cat([torch.as_tensor(hall.above) for hall in halls]).to(like)
    return {
        "density": torch.tensor(worlds.networks[0].density, dtype=torch.float64),
        "square": (apart.square() - variance).mean(-1),
        "largest": (checked(one, two) + checked(two, one)) / 2,
        "raw_largest": apart.abs().amax(-1),
        "bias": apart.mean(-1),
        "bias_error": torch.cat([hall.crowd.variance for hall in halls]).sqrt(),
        "gains": gains,
        "gain_errors": errors,
        "deviators": x.gather(1, who),
        "cut": above / (episodes * n * worlds.game.horizon),
    }


def checked(chosen: Tensor, measured: Tensor) -> Tensor:
    """The difference of the agent whose chosen[g, n] is the largest in modulus, as measured[g, n] has it: [g]."""
    i = chosen.abs().argmax(-1, keepdim=True)
    return (chosen.gather(1, i).sign() * measured.gather(1, i))[:, 0]


def _gains(worlds: Worlds, policy: Policy, who: Tensor, around: Averages, episodes: int) -> tuple[Tensor, Tensor]:
    """Gains[g, d, 2] of agents who[g, d] by their answers to what is around them and to the continuum; their errors."""
    (graphs, d), lam = who.shape, worlds.temperature
    x = worlds.positions.gather(1, who).flatten()
    continuum = mean_field_response(worlds.game, policy, x, lam).unflatten(0, (graphs, d))
    own = worlds.policy[0].movedim(1, 0)[worlds.where.gather(1, who.to(worlds.where.device))]  # [g, d, h, s, a]
    answers = torch.cat([around.response(lam), continuum], 1)
    start = initial_at(worlds.game, x.to(**worlds.game.like)).unflatten(0, (graphs, d))
    twice = Averages(*(torch.cat([part, part], 1) for part in around))
    worlds = replace(worlds, foreseen=None)  # those of the agents that deviate are better, and enough
    both = deviating(worlds, Deviation(torch.cat([who, who], 1), answers))
    values = twice.values(answers, lam)
    before = _own_returns(worlds, who, own, around.values(own, lam), start, episodes)
    each, theirs, first = (part.flatten(0, 1)[:, None] for part in (answers, values, torch.cat([start, start], 1)))
    after = _own_returns(both, both.index[:, 2:3], each, theirs, first, episodes)
    more = after.view(graphs, 2, d, episodes).movedim(1, 2) - before.mT[:, :, None]
    return more.mean(-1), more.std(-1) / episodes**0.5


def _own_returns(worlds: Worlds, who: Tensor, policy: Tensor, value: Tensor, start: Tensor, episodes: int) -> Tensor:
    """The returns of agents who[w, q] in fresh episodes, [w, e, q], steadied by value[w, q, h + 1, s]."""
    done, first = list[Tensor](), 0
    for part, at_once in parts(worlds, episodes, watched=who.shape[1]):
        last = first + len(part.index)
        given = (policy[first:last], value[first:last], start[first:last], worlds.temperature)
        pieces = []
        for begin in range(0, episodes, at_once):
            chunk = part.play(episodes + begin, min(at_once, episodes - begin), watch=who[first:last])
            pieces.append(steadied(worlds.game, chunk.felt, chunk.stood, *given))
        done.append(torch.cat(pieces, 1))
        first = last
    return torch.cat(done)

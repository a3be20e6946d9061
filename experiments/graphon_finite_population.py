"""graphon-finite-population: what an equilibrium of the continuum is worth among N agents, dense and sparse.

Cui and Koeppl (ICLR 2022): played by N agents on a network drawn from the graphon, an equilibrium of the
graphon game is an epsilon_N-equilibrium with epsilon_N -> 0, and the value of each agent goes to that of its position.
Fabian, Cui and Koeppl (AISTATS 2023) have the same for sparse networks, rho_N = N^(-beta), where an agent's N rho_N
neighbours take the place of its N. Fluctuations of a neighbourhood suggest the rates N^(-1/2) and (N rho_N)^(-1/2).

SIS (reward scale 5) and Beach (horizon 15, crowd 8) on uniform attachment; the policy is the regularised equilibrium,
lam = 1, by policy mirror descent (Zhang, Tan, Wang and Yang, arXiv 2310.08089), and all values are regularised.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gamesim.algorithms import PolicyMirrorDescent
from gamesim.charts import Chart
from gamesim.envs import SIS, Beach
from gamesim.games import GraphonGame
from gamesim.loop import solve
from gamesim.populations import FiniteGap, finite_gap, gap_chart
from gamesim.schedules import Constant
from gamesim.study import Claim, Scale, Study, at_least, at_most

TEMPERATURE = 1.0
BETA = 0.3
DENSITIES: Mapping[str, str] = {"dense": "1", "sparse": f"power(1, {BETA})"}


class Effort(NamedTuple):
    """How much is played, so that all N of a study take about the same networks and episodes."""

    agents: tuple[int, ...]
    episodes: int
    networks: int
    deviators: int = 0


EFFORT: Mapping[Scale, Mapping[str, Effort]] = {
    "quick": {"values": Effort((10, 30, 100, 300, 1000), 64, 16), "gains": Effort((10, 30, 100, 300), 64, 32, 2)},
    "full": {
        "values": Effort((10, 30, 100, 300, 1000, 3000), 128, 16),
        "gains": Effort((10, 30, 100, 300, 1000), 128, 24, 3),
    },
}
"""Networks differ more than episodes do, once what could be foreseen is taken off the returns."""


@dataclass(frozen=True)
class GraphonFinitePopulation:
    """Value gap and gain of a deviation against N, with fitted slopes and bands over networks."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        claims, rows = list[Claim](), list[dict[str, object]]()
        games: dict[str, tuple[GraphonGame, float]] = {
            "SIS": (SIS(positions=51, reward_scale=5.0), 0.1),
            "Beach": (Beach(positions=51, horizon=15, crowd=8.0), 0.2),
        }
        found: dict[str, dict[str, FiniteGap]] = {"values": {}, "gains": {}}
        for name, (game, step) in games.items():
            solver = PolicyMirrorDescent(Constant(step), TEMPERATURE)
            policy = solve(game, solver, iterations=1000, every=1000).policy
            for density, rho in DENSITIES.items():
                for study, gaps in found.items():
                    effort = EFFORT[scale][study]
                    gaps[f"{name}, {density}"] = gap = finite_gap(
                        game,
                        policy,
                        effort.agents,
                        episodes=effort.episodes,
                        graphs=effort.networks,
                        density=rho,
                        deviators=effort.deviators,
                        temperature=TEMPERATURE,
                    )
                    rows += [{"game": name, "network": density, "study": study, **row} for row in gap.rows()]
                    say(f"  {name}, {density}, {study}: {gap}".replace("\n", "\n    "))
            claims += judge(name, *({d: gaps[f"{name}, {d}"] for d in DENSITIES} for gaps in found.values()))
        values, gains = found["values"], found["gains"]
        cut = max(float(gap.cut.max()) for gap in [*values.values(), *gains.values()])
        notes = (
            "The value gap is the root of the mean square over agents of J_i^N - J(x_i), without the variance of the "
            "Monte Carlo means. Deviating agents play the best answer to the mean of what they felt: a lower bound of "
            "epsilon_N. Bands are 95% over networks. In the worst network "
            f"{100 * cut:.2g}% of the aggregates passed 1 and were cut to it."
        )
        panels = [*gap_chart(values).panels, gap_chart(gains).panels[-1]]
        return Study(claims, [Chart("finite-population", panels)], rows, notes)


def judge(name: str, values: Mapping[str, FiniteGap], gains: Mapping[str, FiniteGap]) -> list[Claim]:
    """Rates of the value gap, dense against sparse, and what becomes of the gain."""
    id, claims = name.lower(), list[Claim]()
    for density, exponent in (("dense", 1.0), ("sparse", 1 - BETA)):
        fit, base = values[density].fit(), "N" if density == "dense" else "N rho"
        slope, low, high = (x / exponent for x in fit)
        statement = f"{name}, {density}: the value gap falls at least like ({base})^(-0.4); the theory's rate is -1/2"
        claims.append(at_most(f"{id}-{density}-rate", statement, slope, -0.4, (low, high)))
    dense, sparse = (values[d].band("value_gap") for d in ("dense", "sparse"))
    ratio, low, high = (
        float(a[-1] / b[-1]) for a, b in ((sparse.mean, dense.mean), (sparse.low, dense.high), (sparse.high, dense.low))
    )
    n = values["dense"].agents[-1]
    statement = f"{name}: at N = {n} the value gap of sparse networks is at least 1.5 times that of dense ones"
    claims.append(at_least(f"{id}-sparse-pays", statement, ratio, 1.5, (low, high)))
    for density, gap in gains.items():
        gain = gap.band("gain")
        first, last = gap.agents[0], gap.agents[-1]
        fall = float(gain.mean[-1] - gain.mean[0])
        half = float((gain.high[-1] - gain.mean[-1]).hypot(gain.high[0] - gain.mean[0]))
        statement = f"{name}, {density}: a deviation gains less at N = {last} than at N = {first} (difference)"
        claims.append(at_most(f"{id}-{density}-gain", statement, fall, 0.0, (fall - half, fall + half)))
    return claims

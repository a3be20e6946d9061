"""Agents sampled from a game, as data to learn from: of the continuum, or of a finite population.

Zhang, Tan, Wang and Yang (arXiv 2310.17531) draw a number of agents from the mean-field game, at known positions on a
grid, at known random ones, or at unknown ones, and let them play a behaviour policy for some episodes.
"""

from typing import Literal

from gamesim.data import AgentData
from gamesim.errors import refuse
from gamesim.games import GraphonGame, Policy
from gamesim.graphons import Empirical
from gamesim.parameters import Count, Natural, convert
from gamesim.populations.continuum import initial_at, sample_play
from gamesim.populations.finite import KEPT, simulate
from gamesim.populations.places import Density, Positions, place_agents
from gamesim.populations.settings import POSITIONS, require_play
from gamesim.populations.worlds import PLAY
from gamesim.randomness import Stream


def sample_agents(
    game: GraphonGame,
    policy: Policy | None = None,
    *,
    agents: int | None = None,
    episodes: int = 1000,
    positions: Positions = "grid",
    population: Literal["continuum", "finite"] = "continuum",
    density: Density = 1.0,
    seed: int = 0,
) -> AgentData:
    """Trajectories of agents (50 unless said) who play a policy [h, k, s, a], the uniform one if it is left out.

    positions:  "grid", (i + 1/2) / N; "random", uniform; "unknown", random and not recorded; or numbers in [0, 1].
    population: "continuum", agents feel the flow of the policy; "finite", they feel one another on a network of the
                given density.

    >>> import gamesim as gs
    >>> print(sample_agents(gs.make("graphon/sis", positions=11), agents=5, episodes=20, positions="unknown"))
    5 agents, 20 episodes, 50 steps, 2 states, 2 actions, positions unknown
    """
    policy = game.start() if policy is None and isinstance(game, GraphonGame) else policy
    require_play(game, policy)
    if population not in ("continuum", "finite"):
        raise refuse("population", population, "continuum or finite")
    if agents is None and isinstance(positions, str) and not isinstance(game.graphons[0], Empirical):
        agents = 50
    if population == "finite":
        given = {"agents": agents, "positions": positions, "density": density}
        data = simulate(game, policy, episodes=episodes, seed=seed, record=True, **given).data  # type: ignore[arg-type]
        assert data is not None
        return data
    if policy[0].dim() > 4:
        raise refuse("policy", f"shape {list(policy[0].shape)}", "one policy [h, k, s, a]: a dataset is one game")
    if agents is None and isinstance(positions, str):
        agents = len(game.grid)
    episodes, seed = convert(episodes, Count, "episodes"), convert(seed, Natural, "seed")
    x = place_agents(positions, agents, Stream(seed, POSITIONS))
    if 3 * episodes * game.horizon * len(x) > KEPT:
        steps = f"{episodes} of {len(x)} agents over {game.horizon} steps"
        raise refuse("episodes", steps, f"at most {KEPT // 3:.0e} agent steps in a dataset")
    here = x.to(**game.like)
    z, (pi,) = game.felt(game.flow(policy), here), game.at(policy, here)
    play = sample_play(game, z, pi, initial_at(game, here), episodes, Stream(seed, PLAY))
    return AgentData(
        *play,
        positions=None if isinstance(positions, str) and positions == "unknown" else x,
        state_count=game.shape[-2],
        action_count=game.shape[-1],
        state_names=game.state_names,
        action_names=game.action_names,
        source=f"{type(game).__name__}, {len(x)} agents of the continuum, seed {seed}",
    )

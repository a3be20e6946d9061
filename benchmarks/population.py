"""The suite `population`: what a step of an agent costs among N, dense and sparse, against a plain loop over agents."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from gamesim.benchmarks.timing import Row, interleaved, row
from gamesim.envs import SIS, Beach
from gamesim.games import GraphonGame
from gamesim.graphons import UniformAttachment
from gamesim.kernels import fused
from gamesim.populations import draw_network, sample_agents, simulate
from gamesim.randomness import Stream

STEP = 1e-7
"""The bar: CPU seconds for a step of one agent."""
PUBLISHED = "public code: 157 to 182 us for N = 10 to 100, measured elsewhere"


def suite() -> Iterator[Row]:
    """Rows as they are measured."""
    yield from dense()
    yield from sparse()
    yield drawing()
    yield continuum()
    yield random_numbers()


def played(game: GraphonGame, agents: int, episodes: int, network: Any) -> Callable[[], object]:
    """A call that plays so many episodes of the uniform policy on a network that is there already."""
    policy = game.start()
    return lambda: simulate(game, policy, agents=agents, episodes=episodes, network=network)


def dense() -> Iterator[Row]:
    """SIS on uniform attachment, N = 10 to 1000: seconds of an agent step against the bar and against plain loops."""
    game = SIS(positions=101)
    for n, episodes, theirs in ((10, 20_000, 20), (50, 4000, 4), (200, 1000, 1), (1000, 256, 0)):
        network = draw_network(UniformAttachment(), middles(n), 1.0, Stream(0))
        contestants = {"ours": played(game, n, episodes, network)}
        if theirs:
            neighbours = [part.tolist() for part in network.neighbours.tensor_split(network.starts[1:-1])]
            contestants["loops"] = lambda n=n, e=theirs, who=neighbours: plain_play(n, e, game.horizon, who)  # type: ignore[misc]
        seconds = interleaved(contestants, rounds=5)
        ours = seconds["ours"] / (n * episodes * game.horizon)
        note = f"SIS, {n} agents, mean degree {float(network.degrees.mean()):.0f}, horizon {game.horizon}"
        yield row(f"dense/sis-{n}", ours, STEP, 1.0, f"seconds of an agent step against {STEP:g}; {note}")
        if theirs:
            peer = seconds["loops"] / (n * theirs * game.horizon)
            yield row(f"loops/sis-{n}", ours, peer, 200.0, f"against a loop over agents; {note}; {PUBLISHED}")
    beach = Beach(positions=101)
    network = draw_network(UniformAttachment(), middles(200), 1.0, Stream(0))
    seconds = interleaved({"ours": played(beach, 200, 256, network)}, rounds=5)
    ours = seconds["ours"] / (200 * 256 * beach.horizon)
    yield row("dense/beach-200", ours, None, None, "Beach, 10 states and 3 actions: seconds of an agent step")


def sparse() -> Iterator[Row]:
    """SIS among 10^5 agents of mean degree 10: seconds of a directed edge in a step, all else included."""
    game, n = SIS(positions=101, horizon=20), 100_000
    network = draw_network(UniformAttachment(), middles(n), 30 / n, Stream(0))
    edges = len(network.neighbours)
    for episodes in (1, 64):
        seconds = interleaved({"ours": played(game, n, episodes, network)}, rounds=3)["ours"]
        each = seconds / (edges * episodes * game.horizon)
        step = seconds / (n * episodes * game.horizon)
        yield row(
            f"sparse/sis-100000x{episodes}",
            each,
            None,
            None,
            f"seconds of a neighbour looked at, {edges / n:.1f} of them an agent; an agent step takes {step:.2g} s",
        )


def drawing() -> Row:
    """A network of 10^6 agents and mean degree 10, against looking at all pairs of 5000 agents, scaled to as many."""
    n, few = 1_000_000, 5000
    w = UniformAttachment()
    many, some = middles(n), middles(few)
    edges = 0

    def thin() -> None:
        nonlocal edges
        edges = len(draw_network(w, many, 30 / n, Stream(0)).neighbours) // 2

    seconds = interleaved({"ours": thin, "rows": lambda: draw_network(w, some, 30 / n, Stream(0), "rows")}, rounds=3)
    peer = seconds["rows"] * (n / few) ** 2
    return row("drawing/million", seconds["ours"], peer, 100.0, f"{edges} edges; the peer looks at every pair, scaled")


def continuum() -> Row:
    """50 agents of the continuum, 1000 episodes of 50 steps: what estimation samples."""
    game = SIS(positions=101)
    seconds = interleaved({"ours": lambda: sample_agents(game, agents=50, episodes=1000)}, rounds=5)["ours"]
    note = f"2.5 million agent steps with their data against 0.2 s: {1e9 * seconds / 2.5e6:.0f} ns each"
    return row("continuum/sample-agents", seconds, 0.2, 1.0, note)


def random_numbers() -> Row:
    """A million uniform numbers against the same bits by torch."""
    stream = Stream(0)

    def draw(on: bool) -> Callable[[], object]:
        def call() -> None:
            with fused(on):
                stream.uniform((1_000_000,))

        return call

    seconds = interleaved({"ours": draw(True), "torch": draw(False)}, rounds=5)
    return row("random/uniform", seconds["ours"], seconds["torch"], 10.0, "a million numbers, the same bits")


def middles(n: int) -> torch.Tensor:
    """(i + 1/2) / n."""
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def plain_play(n: int, episodes: int, horizon: int, neighbours: list[list[int]]) -> float:
    """SIS under the uniform policy, one agent at a time: the plain twin. Returns the mean return."""
    generator = np.random.default_rng(np.random.SeedSequence(0))
    total = 0.0
    for _ in range(episodes):
        states = [int(generator.random() < 0.5) for _ in range(n)]
        for _ in range(horizon):
            after = []
            for i, state in enumerate(states):
                felt = np.zeros(2)
                for j in neighbours[i]:
                    felt[states[j]] += 1 / n
                action = int(generator.choice(2, p=np.array([0.5, 0.5])))
                total += -2.0 * state - 0.5 * action
                caught = 0.8 * felt[1] * (1 - action)
                law = np.array([0.2, 0.8]) if state else np.array([1 - caught, caught])
                after.append(int(generator.choice(2, p=law)))
            states = after
    return total / episodes / n

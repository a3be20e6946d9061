"""REINFORCE of many seeds in one call, per environment step; part of the suite `stochastic`.

An environment step is one joint action of one seed: two draws of actions, one of the next state, and its share of the
estimates, updates and projections of an iteration. The bar, 2e7 of them a second, is of 1,000 seeds of lazy policy
gradient in the two-state game. The roofline counts the vector instructions of such a step, moves and what stays scalar
left out, and times as many of the cheapest there are, integer additions and exclusive ors in registers, in the same
process.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

from gamesim.algorithms.policy_gradient import PolicyGradient
from gamesim.benchmarks import plain_episodes
from gamesim.benchmarks.timing import Row, interleaved, row
from gamesim.envs.stochastic.soccer import Soccer
from gamesim.envs.stochastic.two_state import TwoState
from gamesim.errors import Caution
from gamesim.feedback import Reinforce, rollout_lanes
from gamesim.games import Policy, StochasticGame
from gamesim.kernels import episodes, fused, learning
from gamesim.loop import solve
from gamesim.randomness import Stream
from gamesim.schedules import Power
from gamesim.states import expanded

SEEDS, BAR = 1_000, 2e7
STEP_SIZE, EXPLORATION = Power(0.3, 0.6, 10.0), Power(0.5, 0.3, 10.0)
OPERATIONS = 410
"""On 32-bit numbers, of which one of 64 bits is two: 226 to draw and play, 84 to move, 100 to learn and project."""


def rows() -> Iterator[Row]:
    """Rows as they are measured; ours and peer are seconds per environment step."""
    yield from main_job()
    yield agreement()
    yield other("two-state/eager", TwoState(), projection="eager")
    yield other("two-state/to-go", TwoState(), returns="to-go")
    yield other("two-state/three-episodes", TwoState(), episodes=3)
    yield other("two-state/watched", TwoState(), watched=True)
    yield other("two-state/1000-games", TwoState(games=SEEDS))
    yield other("random-5x3x3", drawn(5, (3, 3)))
    yield other("random-20x2x2x2", drawn(20, (2, 2, 2)))
    yield other("soccer", Soccer(), iterations=200)


def main_job() -> Iterator[Row]:
    """The job with the bar, the plain solver, a loop as it is written down, and the roofline, side by side."""
    game, iterations, few, alone = TwoState(), 4_000, 20, 2
    solver, stream = PolicyGradient(STEP_SIZE, Reinforce(EXPLORATION)), Stream(range(SEEDS))
    loop = episodes.as_written(plain_episodes.reinforce)
    tables = game.reward.numpy(), game.law.dense().unflatten(-2, (2, 2)).numpy(), game.initial.numpy()
    words, spins = torch.arange(256, dtype=torch.int32).numpy().view("uint32"), 10_000
    taken: dict[str, int] = {}

    def plain() -> None:
        with fused(False):
            state = expanded(solver.init(game), (SEEDS,))
            for t in range(few):
                state = solver.step(t, game, state, stream.at(t))

    def written() -> None:
        taken["loop"] = loop(*tables, alone, iterations)[0]

    compiled = job(game, iterations=iterations)
    seconds = interleaved(
        {"compiled": compiled, "torch": plain, "loop": written, "spin": lambda: learning.spin(words, spins)}
    )
    ours = seconds["compiled"] / compiled()
    note = f"{SEEDS:,} seeds of lazy REINFORCE in the two-state game"
    yield row("reinforce/compiled", ours, 1 / BAR, 1.0, f"{note}: {1 / ours:.3g} steps/s; bar {BAR:g}")
    twin = seconds["torch"] / job(game, iterations=few)()
    yield row("reinforce/torch", ours, twin, None, f"{note}: the plain solver, {1 / twin:.3g} steps/s")
    naive = seconds["loop"] / taken["loop"]
    yield row("reinforce/plain-loop", ours, naive, None, f"a plain loop over seeds in numba, {1 / naive:.3g} steps/s")
    limit = OPERATIONS * seconds["spin"] / (256 * len(words) * spins)
    share = f"{limit / ours:.0%} of {1 / limit:.3g} steps/s"
    yield row("reinforce/roofline", ours, limit, None, f"{note}: {share}, at {OPERATIONS} operations each")


def agreement(iterations: int = 300) -> Row:
    """How far the policies of all seeds are from those of the plain solver after so many iterations, at most."""
    game, solver = TwoState(), PolicyGradient(STEP_SIZE, Reinforce(EXPLORATION))
    ends = []
    for on in (True, False):
        with fused(on), warnings.catch_warnings():
            warnings.simplefilter("ignore", Caution)
            ends.append(solve(game, solver, iterations=iterations, seeds=SEEDS, every=iterations).policy)
    off = max(float((x - y).abs().amax()) for x, y in zip(*ends, strict=True))
    note = f"largest difference to the plain solver, {SEEDS:,} seeds after {iterations} iterations; the bar is 1e-9"
    return row("reinforce/equal", off, 1e-9, 1.0, note)


def other(name: str, game: Any, iterations: int = 400, **options: Any) -> Row:
    """Another job, and the plain solver on it."""
    few = max(2, iterations // 100)
    projection, watched = options.pop("projection", "lazy"), options.pop("watched", False)
    solver, stream = PolicyGradient(STEP_SIZE, Reinforce(EXPLORATION, **options), projection), Stream(range(SEEDS))
    lanes = (SEEDS,) if game.batch in ((), (SEEDS,)) else (SEEDS, *game.batch)

    def plain() -> None:
        with fused(False):
            state = expanded(solver.init(game), lanes if game.batch != lanes else ())
            for t in range(few):
                state = solver.step(t, game, state, stream.at(t))

    ours = job(game, solver, iterations, watched)
    seconds = interleaved({"ours": ours, "plain": plain}, rounds=5)
    each, slow = seconds["ours"] / ours(), seconds["plain"] / job(game, solver, few)()
    note = f"{1 / each:.3g} steps/s; peer is the plain solver, {1 / slow:.3g}"
    return row(f"reinforce/{name}", each, slow, None, note)


def job(
    game: Any, solver: PolicyGradient | None = None, iterations: int = 400, watched: bool = False
) -> Callable[[], int]:
    """So many iterations of all seeds in one call: environment steps taken."""
    solver = solver or PolicyGradient(STEP_SIZE, Reinforce(EXPLORATION))
    feedback = solver.feedback
    assert isinstance(feedback, Reinforce)
    tables, keys = rollout_lanes.tables_of(game), Stream(range(SEEDS)).keys
    start: Policy = tuple(x.expand(SEEDS, *x.shape[-2:]).contiguous() for x in game.start())
    gamma, eps = ([float(schedule(t)) for t in range(iterations)] for schedule in (solver.step_size, EXPLORATION))

    def run() -> int:
        found = episodes.learn(
            tables, start, start, keys, gamma, eps, episodes=feedback.episodes, lazy=solver.projection == "lazy",
            to_go=feedback.returns == "to-go", game=torch.arange(SEEDS) % len(tables.reward),
            target=tuple(x[0] for x in start) if watched else None,
        )  # fmt: skip
        return int(found.steps.sum())

    return run


def drawn(states: int, counts: tuple[int, ...]) -> StochasticGame:
    """Standard normal rewards, laws uniform on the simplex, half of the episodes end in each step."""
    stream, places = Stream(0), (states, *counts)
    law = -stream.uniform((*places, states)).log()
    return StochasticGame(stream.normal((len(counts), *places)), law / law.sum(-1, keepdim=True), discount=0.5)

"""The suite `sets`: environment steps of particle worlds against mpe2, VMAS and JaxMARL, random actions included.

An environment step is one step of one world of N agents and N landmarks: moves are drawn, everything moves, everyone is
paid, and the state is written as tokens, or as what each agent observes. CPU time of one process, so that a library
that takes several threads pays for all of them.

Peers stand in this environment, or in another one of the same Python: `GAMESIM_PEERS=/path/to/venv` (or its python).
"""

import contextlib
import importlib
import importlib.util
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from gamesim.benchmarks.timing import Row, interleaved, row
from gamesim.envs.sets.spread import Spread
from gamesim.errors import refuse
from gamesim.kernels import fused
from gamesim.randomness import Stream

AGENTS, STEPS, FEW, ROUNDS = (3, 6, 15, 30), 25, 3, 5
TOKENS, OBSERVED = 1_500.0, 500.0
"""What mpe2 takes, over what we take, at least."""
WIDE = {3: 4096, 6: 4096, 15: 1024, 30: 1024}
"""Worlds side by side, as many as suit us; those of a peer are as many as suit it."""
VMAS_WORLDS = {3: 8192, 6: 8192, 15: 1024, 30: 256}
JAX_WORLDS = {3: 1024, 6: 1024, 15: 32, 30: 32}


def suite() -> Iterator[Row]:
    """Rows as they are measured; ours and peer are seconds per environment step."""
    reach()
    for n in AGENTS:
        yield from rows_of(n)


def reach() -> None:
    """Make the peers of another environment importable, after everything of this one."""
    given = os.environ.get("GAMESIM_PEERS")
    if given is None:
        return
    root = Path(given).parent.parent if Path(given).is_file() or Path(given).is_symlink() else Path(given)
    found = root / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    if not found.is_dir():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise refuse("GAMESIM_PEERS", given, f"a virtual environment of Python {version}, or its python")
    if str(found) not in sys.path:
        sys.path.append(str(found))


def rows_of(n: int) -> Iterator[Row]:
    """Everything at one number of agents, side by side."""
    wide, ours = WIDE[n], f"{WIDE[n]:,} worlds"
    contestants: dict[str, tuple[int, Callable[[], object]]] = {
        "tokens": (wide * STEPS, wandering(n, wide)),
        "observed": (wide * STEPS, observing(n, wide, "mpe2")),
        "observed-vmas": (wide * STEPS, observing(n, wide, "vmas")),
        "plain": (wide * FEW, plainly(wandering(n, wide, FEW))),
    }
    missing = dict[str, str]()
    for name, make in PEERS.items():
        try:
            if importlib.util.find_spec(name) is None:
                raise ModuleNotFoundError(name)
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                contestants[name] = make(n)
        except Exception as error:  # a peer that is there and does not start is no failure of ours
            missing[name] = f"{name} left out: {type(error).__name__}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds = interleaved({name: call for name, (_, call) in contestants.items()}, ROUNDS)
    each = {name: seconds[name] / count for name, (count, _) in contestants.items()}
    rate = {name: f"{1 / s:.3g}/s" for name, s in each.items()}

    def against(id: str, mine: str, peer: str, bar: float) -> Row:
        note = missing.get(peer) or f"{peer} {rate[peer]}"
        return row(f"sets/{n}/{id}", each[mine], each.get(peer), bar, f"{rate[mine]} in {ours}; {note}")

    yield against("mpe2/tokens", "tokens", "mpe2", TOKENS)
    yield against("mpe2/observations", "observed", "mpe2", OBSERVED)
    yield against("vmas/observations", "observed-vmas", "vmas", 1.0)
    yield against("jaxmarl/observations", "observed", "jaxmarl", 1.0)
    yield row(f"sets/{n}/plain", each["tokens"], each["plain"], None, f"the plain twin in torch, {rate['plain']}")


# --- ours -------------------------------------------------------------------------------------------------------------


def wandering(n: int, worlds: int, steps: int = STEPS) -> Callable[[], object]:
    """Episodes of random moves, with tokens of all states."""
    world, stream = Spread(agents=n), Stream(0)
    return lambda: world.wander((worlds,), stream, steps)


def observing(n: int, worlds: int, variant: Any) -> Callable[[], object]:
    """Episodes step by step, as a policy would act in them, with what everyone observes."""
    world, stream = Spread(agents=n, variant=variant), Stream(0)

    def call() -> object:
        state, seen = world.begin((worlds,), stream), None
        for _ in range(STEPS):
            moves = (stream.quick((worlds, n), torch.float32) * world.action_count).long()
            state, _ = world.step(state, moves)
            seen = world.observations(state)
        return seen

    return call


def plainly(call: Callable[[], object]) -> Callable[[], object]:
    """The same without compiled loops."""

    def slow() -> object:
        with fused(False):
            return call()

    return slow


# --- theirs -----------------------------------------------------------------------------------------------------------


def mpe2(n: int) -> tuple[int, Callable[[], object]]:
    """simple_spread_v3 of mpe2, with moves drawn by NumPy."""
    import numpy as np

    env = importlib.import_module("mpe2.simple_spread_v3").parallel_env(N=n, max_cycles=STEPS)
    luck, steps = np.random.default_rng(0), STEPS if n < 15 else 5

    def call() -> object:
        env.reset(seed=0)
        for _ in range(steps):
            moves = luck.integers(5, size=n)
            env.step({agent: int(move) for agent, move in zip(env.agents, moves, strict=True)})
        return env

    return steps, call


def vmas(n: int) -> tuple[int, Callable[[], object]]:
    """The scenario simple_spread of VMAS, with its own random actions."""
    worlds, steps = VMAS_WORLDS[n], 5 if n < 15 else 1
    env = importlib.import_module("vmas").make_env("simple_spread", num_envs=worlds, device="cpu", n_agents=n, seed=0)

    def call() -> object:
        env.reset()
        seen = None
        for _ in range(steps):
            seen = env.step(env.get_random_actions())
        return seen

    return worlds * steps, call


def jaxmarl(n: int) -> tuple[int, Callable[[], object]]:
    """MPE_simple_spread_v3 of JaxMARL: one compiled scan over steps of a batch of worlds."""
    jax = importlib.import_module("jax")
    env = importlib.import_module("jaxmarl").make("MPE_simple_spread_v3", num_agents=n, num_landmarks=n)
    worlds = JAX_WORLDS[n]

    def one(carry: Any, key: Any) -> Any:
        _, state, total = carry
        moves = jax.random.randint(key, (worlds, n), 0, 5)
        keys = jax.random.split(key, worlds)
        chosen = {agent: moves[:, i] for i, agent in enumerate(env.agents)}
        seen, state, paid, _, _ = jax.vmap(env.step_env)(keys, state, chosen)
        return (seen, state, total + paid[env.agents[0]]), None

    @jax.jit  # type: ignore[untyped-decorator]
    def episode(key: Any) -> Any:
        seen, state = jax.vmap(env.reset)(jax.random.split(key, worlds))
        begin = seen, state, jax.numpy.zeros(worlds)
        return jax.lax.scan(one, begin, jax.random.split(key, STEPS))[0]

    return worlds * STEPS, lambda: jax.block_until_ready(episode(jax.random.PRNGKey(0)))


PEERS: dict[str, Callable[[int], tuple[int, Callable[[], object]]]] = {"mpe2": mpe2, "vmas": vmas, "jaxmarl": jaxmarl}

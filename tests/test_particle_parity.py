"""Particle worlds do what mpe2, VMAS and JaxMARL do: step by step where these are installed, else as they once did.

`particles.npz` holds what mpe2 1.1.1, VMAS 1.5.2 and JaxMARL 0.2.0 did. To write it anew, install them and then

    cd tests && python -c "import test_particle_parity as t; t.record()"
"""

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gamesim.envs.sets.reference import Reference
from gamesim.envs.sets.speaker_listener import SpeakerListener
from gamesim.envs.sets.spread import Spread
from gamesim.envs.sets.tag import Tag
from gamesim.games.worlds import Particles
from gamesim.kernels import fused

FILE = Path(__file__).parent / "particles.npz"
Array = NDArray[Any]
Case = dict[str, Array]
CASES: dict[str, tuple[str, Any]] = {
    **{
        f"spread-{n}-{kind}": ("mpe2", lambda n=n, kind=kind: Spread(agents=n, actions=kind, dtype="float64"))
        for n in (3, 6, 15, 30)
        for kind in ("discrete", "continuous")
    },
    "spread-ratio": ("mpe2", lambda: Spread(agents=4, local_ratio=0.25, dtype="float64")),
    "tag": ("mpe2", lambda: Tag(dtype="float64")),
    "tag-many": ("mpe2", lambda: Tag(predators=6, prey=3, obstacles=4, actions="continuous", dtype="float64")),
    "reference": ("mpe2", lambda: Reference(dtype="float64")),
    "reference-loud": ("mpe2", lambda: Reference(actions="continuous", dtype="float64")),
    "speaker-listener": ("mpe2", lambda: SpeakerListener(dtype="float64")),
    "vmas-3": ("vmas", lambda: Spread(agents=3, variant="vmas", actions="continuous")),
    "vmas-6": ("vmas", lambda: Spread(agents=6, variant="vmas", actions="continuous")),
    "jaxmarl-3": ("jaxmarl", lambda: Spread(agents=3, variant="jaxmarl")),
    "jaxmarl-6": ("jaxmarl", lambda: Spread(agents=6, variant="jaxmarl")),
}
STEPS, KEPT = 25, (1, 2, 5, 12, 25)


# --- what the others do -----------------------------------------------------------------------------------------------


def drawn(world: Any, count: int, seed: int) -> Array:
    """Actions of this world for so many steps, [count, n] or [count, n, d]; forces of float32."""
    rng = np.random.default_rng(seed)
    if world.actions == "discrete":
        return rng.integers(world.action_count, size=(count, world.acting))
    u = rng.uniform(-1, 1, (count, world.acting, world.action_size)).astype(np.float32)
    u[..., 2:] = np.abs(u[..., 2:])
    return u


def of_mpe2(name: str, world: Any) -> Case:
    """An episode of mpe2 with random actions, from its own beginning."""
    loud = world.actions == "continuous"
    given: dict[str, Any] = {"continuous_actions": loud, "dynamic_rescaling": False}
    if isinstance(world, Spread):
        env = _mpe2("simple_spread_v3").parallel_env(N=world.agents, local_ratio=world.local_ratio or 0.5, **given)
    elif isinstance(world, Tag):
        many = {"num_good": world.prey, "num_adversaries": world.predators, "num_obstacles": world.obstacles}
        env = _mpe2("simple_tag_v3").parallel_env(**many, **given)
    else:
        module = "simple_reference_v3" if isinstance(world, Reference) else "simple_speaker_listener_v4"
        env = _mpe2(module).parallel_env(**given)
    env.reset(seed=len(name))
    inside = env.unwrapped.world
    actions = drawn(world, STEPS, len(name))
    case = {"position": _places(inside), "velocity": _speeds(inside), "actions": actions}
    if hasattr(inside.agents[0], "goal_b"):
        goals = [a._goal_b for a in inside.agents]
        case["goals"] = np.array([-1 if g is None else inside.landmarks.index(g) for g in goals])
    found: dict[str, list[Array]] = {"positions": [], "velocities": [], "rewards": [], "observations": []}
    for chosen in actions:
        seen, paid, *_ = env.step(
            {a: _said(world, i, x) for i, (a, x) in enumerate(zip(env.agents, chosen, strict=True))}
        )
        found["positions"].append(_places(inside))
        found["velocities"].append(_speeds(inside))
        found["rewards"].append(np.array(list(paid.values())))
        found["observations"].append(np.concatenate(list(seen.values())))
    return case | {k: np.stack(v) for k, v in found.items()}


def _mpe2(module: str) -> Any:
    return importlib.import_module(f"mpe2.{module}")


def _said(world: Any, agent: int, action: Any) -> Any:
    """An action of ours as mpe2 takes it."""
    if world.actions == "continuous":
        x, y = np.maximum(action[0], 0), np.maximum(action[1], 0)
        return np.concatenate([[0, x - action[0], x, y - action[1], y], action[2:]]).astype(np.float32)
    if isinstance(world, SpeakerListener):
        return int(action) // 5 if agent == 0 else int(action) % 5
    return int(action)


def _places(world: Any) -> Array:
    return np.array([e.state.p_pos for e in world.entities])


def _speeds(world: Any) -> Array:
    return np.array([e.state.p_vel for e in world.entities])


def of_vmas(name: str, world: Any) -> Case:
    """Three worlds of VMAS side by side, float32; agents begin close together, so that they meet."""
    import vmas

    env = vmas.make_env("simple_spread", num_envs=3, device="cpu", n_agents=world.agents, seed=0)
    inside = [*env.world.agents, *env.world.landmarks]
    for i, entity in enumerate(inside):
        shift = torch.tensor([[0.05 * i, 0.02 * i], [0.1 * i, -0.1], [0.3, 0.15 * i]])
        entity.set_pos(shift - 0.2, batch_index=None)

    def now(what: str) -> Array:
        return np.array(torch.stack([getattr(e.state, what) for e in inside], 1).numpy())

    actions = np.stack([drawn(world, STEPS, seed) for seed in range(3)], 1)
    case = {"position": now("pos"), "velocity": now("vel"), "actions": actions}
    found: dict[str, list[Array]] = {"positions": [], "velocities": [], "rewards": [], "observations": []}
    for chosen in actions:
        seen, paid, *_ = env.step([torch.from_numpy(chosen[:, i]) for i in range(world.agents)])
        found["positions"].append(now("pos"))
        found["velocities"].append(now("vel"))
        found["rewards"].append(torch.stack(paid, -1).numpy())
        found["observations"].append(torch.cat(seen, -1).numpy())
    return case | {k: np.stack(v) for k, v in found.items()}


def of_jaxmarl(name: str, world: Any) -> Case:
    """An episode of JaxMARL, float32."""
    import jax
    import jaxmarl

    env = jaxmarl.make("MPE_simple_spread_v3", num_agents=world.agents, num_landmarks=world.agents)
    key = jax.random.PRNGKey(0)
    _, state = env.reset(key)
    actions = drawn(world, STEPS, 1)
    case = {"position": np.array(state.p_pos), "velocity": np.array(state.p_vel), "actions": actions}
    found: dict[str, list[Array]] = {"positions": [], "velocities": [], "rewards": [], "observations": []}
    for chosen in actions:
        seen, state, paid, *_ = env.step_env(key, state, {a: int(chosen[i]) for i, a in enumerate(env.agents)})
        found["positions"].append(np.array(state.p_pos))
        found["velocities"].append(np.array(state.p_vel))
        found["rewards"].append(np.array([paid[a] for a in env.agents]))
        found["observations"].append(np.concatenate([seen[a] for a in env.agents]))
    return case | {k: np.stack(v) for k, v in found.items()}


OTHERS = {"mpe2": of_mpe2, "vmas": of_vmas, "jaxmarl": of_jaxmarl}


def made(name: str) -> Case:
    """What the other library does in a case."""
    library, world = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return OTHERS[library](name, world())


LIVE = ("spread-15-continuous", "spread-30-continuous")
"""Cases that the file leaves out, because they are long."""


def record() -> None:
    """Write the file: all actions, and a few steps of the rest; observations only where they are short."""
    kept: Case = {}
    for name in (x for x in CASES if x not in LIVE):
        case, n = made(name), CASES[name][1]().acting
        for field, x in case.items():
            if field == "actions":
                kept[f"{name}/{field}"] = x.astype(np.uint8) if x.dtype.kind == "i" else x
            elif field not in WATCHED:
                kept[f"{name}/{field}"] = x
            elif field != "observations" or x[0].size <= 150:
                few = x[[k - 1 for k in KEPT]]
                kept[f"{name}/{field}"] = few[..., :n, :] if field in WATCHED[:2] else few
    np.savez_compressed(FILE, **kept)


WATCHED = ("positions", "velocities", "rewards", "observations")


# --- what we do -------------------------------------------------------------------------------------------------------


def start(world: Any, case: Case) -> Particles:
    """The state in which a case begins."""
    position, velocity = (torch.from_numpy(case[k]).to(**world.like) for k in ("position", "velocity"))
    if "goals" not in case:
        return Particles(position, velocity)
    silence = torch.zeros(*position.shape[:-2], world.acting, world.words, **world.like)
    return Particles(position, velocity, (silence, torch.from_numpy(case["goals"])))


def replayed(world: Any, case: Case) -> Case:
    """The same actions in our world, all steps, with what the other library reports."""
    state, n = start(world, case), world.acting
    found: dict[str, list[Array]] = {k: [] for k in WATCHED}
    for chosen in case["actions"]:
        action = torch.from_numpy(chosen if chosen.dtype == np.float32 else chosen.astype(np.int64))
        state, rewards = world.step(state, action)
        seen = world.observations(state)
        seen = torch.cat([x.flatten(-2) for x in seen], -1) if isinstance(seen, tuple) else seen.flatten(-2)
        for field, x in zip(WATCHED, (state.position, state.velocity, rewards, seen), strict=True):
            found[field].append((x[..., :n, :] if field in WATCHED[:2] else x).numpy())
    return {k: np.stack(v) for k, v in found.items()}


def compare(name: str, case: Case, steps: Any = slice(None)) -> None:
    """Hold ours to theirs: 1e-6 in float64, 1e-4 against float32, and observations as mpe2 rounds them."""
    library, make = CASES[name]
    world = make()
    ours = replayed(world, case)
    tolerance = 1e-6 if library == "mpe2" else 1e-4
    for field in (x for x in WATCHED if x in case):
        theirs = case[field][..., : world.acting, :] if field in WATCHED[:2] else case[field]
        found = ours[field][steps]
        if field == "observations" and library == "mpe2":
            found, within = found.astype(np.float32), 1e-6 * max(1.0, float(np.abs(theirs).max()))
        else:
            within = tolerance
        np.testing.assert_allclose(found, theirs, rtol=0, atol=within, err_msg=f"{name}: {field}")


def stored(name: str) -> Case:
    with np.load(FILE) as file:
        return {k.partition("/")[2]: file[k] for k in file.files if k.startswith(f"{name}/")}


@pytest.mark.parametrize("on", [True, False], ids=["fused", "plain"])
@pytest.mark.parametrize("name", [x for x in CASES if x not in LIVE])
def test_worlds_do_what_the_others_did(name: str, on: bool) -> None:
    with fused(on):
        compare(name, stored(name), [k - 1 for k in KEPT])


@pytest.mark.parametrize("name", CASES)
def test_worlds_do_what_the_others_do(name: str) -> None:
    pytest.importorskip(CASES[name][0], exc_type=ImportError)
    compare(name, made(name))


@pytest.mark.parametrize("name", [x for x in CASES if CASES[x][0] != "mpe2"])
def test_rewards_are_those_of_their_own_states(name: str) -> None:
    """No motion of ours in between: to the rounding of float32."""
    world, case = CASES[name][1](), stored(name)
    n = world.acting
    here = torch.from_numpy(case["positions"])
    marks = torch.from_numpy(case["position"])[..., n:, :].expand(*here.shape[:-2], n, 2)
    state = Particles(torch.cat([here, marks], -2), torch.zeros(*here.shape[:-2], 2 * n, 2))
    torch.testing.assert_close(world.rewards(state), torch.from_numpy(case["rewards"]), rtol=1e-6, atol=1e-6)

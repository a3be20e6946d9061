"""Conformance: call these from your own tests on your own games and solvers; they say in words what is wrong.

Each raises AssertionError with advice, or returns nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import InvalidInput
from gamesim.games.episodic import EpisodicGame
from gamesim.games.game import (
    Game,
    Policy,
    measure,
    probe,
    require_batch,
    require_game,
    require_iterate,
    require_policy,
    values_of,
)
from gamesim.games.latent import LatentWorld
from gamesim.games.worlds import SetWorld
from gamesim.loop import solve
from gamesim.randomness import Stream
from gamesim.simplex import drawn
from gamesim.states import rebuilt, tensors


def check_game(game: Any) -> None:
    """A game whose policies, values and exploitability are what every solver relies on."""
    with _asserting(game):
        if isinstance(game, SetWorld):
            return _check_world(game)
        if isinstance(game, LatentWorld):
            return _check_latent(game)
        if callable(getattr(game, "require", None)) and not isinstance(game, Game):
            return _check_points(game)
        if isinstance(game, EpisodicGame) and not isinstance(game, Game):
            return _check_episodes(game)
        require_game(game)
        policy = game.start()
        require_policy(policy, field="start()")
        if callable(getattr(game, "validate", None)):
            game.validate()
        _check_feedback(game, policy)
        _check_exploitability(game, policy)


def _check_points(game: Any) -> None:
    """A family whose iterates are points: it takes its own start, and what it measures there is finite."""
    start = game.start()
    require_iterate(game, start, field="start()")
    kept = [x.clone() for x in start]
    for metric, value in game.metrics(start).items():
        assert bool(value.isfinite().all()), f"{metric}: not finite at the start"
    assert all(torch.equal(x, k) for x, k in zip(start, kept, strict=True)), "metrics() changed the point"


def _check_world(world: SetWorld) -> None:
    """A world of sets: steps are functions, states are their tokens, and nobody's name matters."""
    n, types = world.acting, world.types
    assert tuple(types.shape) == (world.entities,), "types: one number for each entity"
    assert 0 < n <= world.entities, "acting: the first entities act, at least one of them"
    state = world.begin((3,), Stream(0))
    tokens = world.tokens(state)
    assert tuple(tokens.shape) == (3, world.entities, len(world.features)), "tokens(): [..., e, d]"
    assert torch.equal(tokens, world.tokens(world.begin((3,), Stream(0)))), "begin(): take all luck from the Stream"
    actions = world.played((Stream(1).uniform((3, n), device=tokens.device) * world.action_count).long())
    after, rewards = world.step(state, actions)
    assert torch.equal(tokens, world.tokens(state)), "step() changed the state it was given; return a new one"
    assert tuple(rewards.shape) == (3, n), "step(): a reward for each agent, [..., n]"
    assert bool(rewards.isfinite().all()), "step(): rewards must be finite"
    again, same = world.step(world.restored(tokens), actions)

    def close(x: Tensor, y: Tensor) -> bool:
        return torch.allclose(x, y, atol=1e-5, rtol=1e-4)

    assert close(world.tokens(again), world.tokens(after)), "restored(): another state than tokens()"
    assert close(same, rewards), "restored(): another state than tokens()"
    order = torch.cat([(types[:n] == kind).nonzero()[:, 0].flip(0) for kind in types[:n].unique()])
    place = torch.cat([(types[:n] == kind).nonzero()[:, 0] for kind in types[:n].unique()])
    renamed = torch.arange(world.entities, device=tokens.device)
    renamed[place] = order
    other, paid = world.step(world.restored(tokens[:, renamed]), actions[:, renamed[:n]])
    words = "agents of a kind are renamed, and something else happens: kinds_of_entity must tell apart who differs"
    assert close(world.tokens(other), world.tokens(after)[:, renamed]), words
    assert close(paid, rewards[:, renamed[:n]]), words
    require_policy(world.start(), field="start()")


def _check_latent(world: LatentWorld) -> None:
    """A latent world: names tell things apart, laws are laws, filters stay posteriors, and experts lose nothing."""
    world.validate()
    for field in ("latents", "tasks", "subgoals", "observations"):
        names = getattr(world, field)
        assert len(set(names)) == len(names) > 0, f"{field}: names must differ, since text knows nothing else"
    require_policy(world.start(), field="start()")
    require_policy((world.task_law,), field="task_law")
    assert len(world.latents) == len(world.prior), "latents: a name for each entry of the prior"
    assert tuple(world.value.shape) == tuple(world.prior.shape), "value: what each latent's expert gets, [z]"
    assert 0 <= world.distinguishability() <= 1, "distinguishability(): a squared Hellinger distance, from 0 to 1"
    runs, luck = 64, Stream(0)
    latent = drawn(world.truth_law, luck.uniform((runs,)))
    belief = world.believe((runs,))
    for _ in range(2):
        task = drawn(world.task_law, luck.uniform((runs,)))
        state, report = world.open(latent, luck.uniform((runs, 2)))
        belief = world.meet(belief, report)
        for h in range(world.horizon):
            experts = world.experts(h, task, belief)
            wanted = (runs, len(world.prior), world.actors)
            assert tuple(experts.shape) == wanted, f"experts(): subgoals [..., z, k], here {list(wanted)}"
            own = experts.gather(-2, latent[:, None, None].expand(-1, 1, world.actors))[:, 0]
            lost = world.losses(h, task, latent, belief, own)
            assert bool((lost.abs() <= 1e-9).all()), "losses(): the expert of the truth loses nothing"
            explored = drawn(world.explore(h, report), luck.uniform((runs, world.actors)))
            assert bool((world.losses(h, task, latent, belief, explored) >= -1e-9).all()), "losses(): never below 0"
            subgoal = torch.where(luck.uniform((runs, 1)) < 0.5, own, explored)
            state, report = world.move(h, latent, state, subgoal, luck.uniform((runs, 2)))
            rewards = world.rewards(h, task, report)
            assert bool(((rewards >= 0) & (rewards <= 1)).all()), "rewards(): from 0 to 1"
            belief = world.update(h, belief, subgoal, report)
            require_policy((belief.posterior,), field="the posterior after update()")
            ruled_out = belief.posterior.gather(-1, latent[:, None]) <= 0
            possible = bool((world.prior[latent] > 0).all())
            assert not (possible and bool(ruled_out.any())), "update(): what happens is never ruled out by the filter"


def _check_episodes(game: Any) -> None:
    """A black box: it plays the same episodes whenever it is asked the same, and what it measures is finite."""
    require_policy(game.start(), field="start()")
    if callable(getattr(game, "validate", None)):
        game.validate()
    for policy in (game.start(), probe(game.start())):
        once, again = (game.rollout(policy, 2, Stream(0)) for _ in range(2))
        for name in ("observations", "actions", "rewards", "alive"):
            same = torch.equal(getattr(once, name), getattr(again, name))
            assert same, f"rollout(): {name} of two calls differ: take all luck from the seeds that reset() is given"
        for metric, value in measure(game, policy).items():
            assert bool(value.isfinite().all()), f"{metric}: not finite"


@contextmanager
def _asserting(checked: Any) -> Iterator[None]:
    """What `solve` would refuse is a failed check here."""
    try:
        yield
    except InvalidInput as error:
        raise AssertionError(f"{type(checked).__name__}: {error}") from None


def _check_feedback(game: Any, policy: Policy) -> None:
    kept = [p.clone() for p in policy]
    values_of(game, policy)
    assert all(torch.equal(p, k) for p, k in zip(policy, kept, strict=True)), (
        "feedback() changed the policy it was given"
    )
    for i, (p, q) in enumerate(zip(policy, values_of(game, policy), strict=True)):
        assert q.dtype == p.dtype, f"feedback[{i}]: dtype {q.dtype}, but the policy has {p.dtype}: keep it"
        assert q.device == p.device, f"feedback[{i}]: on {q.device}, but the policy is on {p.device}: keep it"
        assert bool(q.isfinite().all()), f"feedback[{i}]: values must be finite at the starting policy"
    again = values_of(game, policy)
    for i, (q, r) in enumerate(zip(values_of(game, policy), again, strict=True)):
        assert torch.equal(q, r), f"feedback[{i}]: two calls differ; a game is a function, noise belongs to a feedback"


def _check_exploitability(game: Any, policy: Policy) -> None:
    tilted = probe(policy)
    for name, pi in (("the starting policy", policy), ("another policy", tilted)):
        for metric, value in measure(game, pi).items():
            assert bool(value.isfinite().all()), f"{metric}: not finite at {name}"
            assert bool((value >= -1e-9).all()), (
                f"{metric}: {float(value.min()):.3g} at {name}; a best deviation never loses"
            )
    kept = [p.clone() for p in policy]
    game.exploitability(policy)
    assert all(torch.equal(p, k) for p, k in zip(policy, kept, strict=True)), (
        "exploitability() changed the policy it was given"
    )


def check_batch(game: Any) -> None:
    """A game that accepts leading dimensions: a stack of policies gives the stack of the answers (needed for seeds)."""
    with _asserting(game):
        require_batch(game)


def check_solver(solver: Any, game: Any) -> None:
    """A solver whose steps are pure: reruns agree bit for bit, resumes do, and no global generator is touched."""
    with _asserting(solver):
        _check_steps(solver, game)


def _check_steps(solver: Any, game: Any) -> None:
    before = torch.get_rng_state()
    solve(game, solver, iterations=0)  # refuses a game that the solver is not for
    begun = solver.init(game)
    require_iterate(game, begun.policy, game.start(), field="the policy of init(game)")
    require_iterate(game, solver.step(0, game, begun, Stream(0)).policy, game.start(), field="the policy after a step")
    once, again = (solve(game, solver, iterations=3) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state()), (
        "draw from the Stream that step() is given, never from torch's global generator"
    )
    for p, q in zip(once.policy, again.policy, strict=True):
        assert torch.equal(p, q), "two runs from the same seed must agree bit for bit"
    require_iterate(game, once.policy, game.start(), field="the policy after 3 iterations")

    state, stream = solver.init(game), Stream(0)
    kept = {name: x.clone() for name, x in tensors(state).items()}
    first = solver.step(0, game, state, stream.at(0))
    for name, x in tensors(state).items():
        assert torch.equal(x, kept[name]), f"step() changed {name} of the state it was given; return a new one"
    saved = {name: x.clone() for name, x in tensors(first).items()}
    resumed = solver.step(1, game, rebuilt(state, saved), stream.at(1))
    direct = solver.step(1, game, first, stream.at(1))
    for name, x in tensors(direct).items():
        assert torch.equal(x, tensors(resumed)[name]), (
            f"{name}: a state saved and put back continues differently; keep everything in its tensors"
        )

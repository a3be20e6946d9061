"""Pessimism without and with a model: each step is its formula, set by set, and critics reach their closed form."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gamesim.algorithms.atac import ATAC
from gamesim.algorithms.model_based_pessimism import ModelBasedPessimism
from gamesim.data import SetData, make_header
from gamesim.envs.sets.recorded import RecordedPlay
from gamesim.errors import Caution
from gamesim.loop import solve
from gamesim.networks.adam import Trained
from gamesim.offline.critics import critic_of, one_of
from gamesim.offline.imagined import Imagined
from gamesim.randomness import Stream
from set_by_set import SMALL, SPACES, Bench, assert_gradient, leaves, mean, network, ones, task_of


@pytest.fixture(scope="module")
def tasks() -> dict[str, RecordedPlay]:
    return {space: task_of(space) for space in SPACES}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("pessimism", ["initial", "relative"])
def test_atac_is_its_formula(space: str, pessimism: Any, tasks: dict[str, RecordedPlay]) -> None:
    solver = ATAC(network=network(SMALL), batch_size=7, beta=3.0, alpha=0.3, warm_start=0, pessimism=pessimism)
    bench = Bench(tasks[space], solver)
    head, batch, sets = bench.head, bench.batch, ones(bench.batch)
    place = batch.starts if pessimism == "initial" else batch.tokens
    out = bench.actor(bench.pi, torch.cat([batch.after, place], -2), batch.sets.times(2))
    following, argued = head.sample(out, bench.luck)[0].detach().chunk(2, -2)
    rows = batch.sets.layout.offsets.tolist()
    places = [place[rows[b] : rows[b + 1]] for b in range(len(sets))]

    f, losses, values = leaves(bench.f), [], []
    for j in range(2):
        twin = bench.twin(f, j)
        consistency, value = [], []
        for s, s0 in zip(sets, places, strict=True):
            q = bench.q(twin, s.tokens, s.actions)
            y = bench.y(s, bench.doubtful(bench.f_bar, s.after, following[s.agents]))
            on = bench.task.discount * s.going_on * bench.q(twin, s.after, following[s.agents])
            consistency.append(((q - y) ** 2 + (q - s.reward - on) ** 2) / 2)
            value.append(bench.q(twin, s0, argued[s.agents]) - (q if pessimism == "relative" else 0))
        values.append(mean(value))
        losses.append((values[-1] + 3 * mean(consistency)) / 3)
    assert_gradient(bench.after.critic, losses[0] + losses[1], f)
    torch.testing.assert_close(bench.after.value, values[0].detach() * bench.task.reward_scale)

    pi = leaves(bench.pi)
    actions, log_prob = head.sample(bench.out(pi, batch.tokens), bench.luck)
    first = bench.twin(bench.after.critic.parameters, 0)
    climbed = mean([bench.q(first, s.tokens, actions[s.agents]) for s in sets])
    assert_gradient(bench.after.actor, 0.3 * log_prob.mean() - climbed, pi)


NU, PAID = (0.4, 0.2, 0.2, 0.1, 0.1), (0.0, 1.0, 0.5, -1.0, 0.3)
"""How often each move is in the data of one agent in one state, and what it pays; then it is over."""


def bandit(count: int = 1000) -> RecordedPlay:
    moves = torch.cat([torch.full((round(p * count),), a) for a, p in enumerate(NU)])
    whole, nothing = torch.arange(count), torch.zeros(count, dtype=torch.uint8)
    data = SetData(
        tokens=torch.ones(2 * count, 1),
        types=torch.zeros(2 * count, dtype=torch.uint8),
        offsets=torch.arange(2 * count + 1),
        before=whole,
        after=whole + count,
        agents=torch.ones(count, dtype=torch.int64),
        actions=moves.to(torch.uint8),
        rewards=torch.tensor(PAID)[moves],
        terminated=torch.ones(count, dtype=torch.bool),
        truncated=torch.zeros(count, dtype=torch.bool),
        episode=whole,
        time=torch.zeros_like(whole),
        seed=whole,
        behaviour=nothing,
        world=nothing,
        header=make_header(
            worlds=[{"id": "sets/spread", "parameters": {"agents": 1, "landmarks": 1}}],
            behaviours=["uneven"],
            kinds_of_entity=["agent"],
            features=["x"],
            actions=["discrete", 5],
        ),
    )
    return OneState(data)


class OneState(RecordedPlay):  # type: ignore[misc]
    """Nothing is measured: the problem is the critic's."""

    def __init__(self, data: SetData) -> None:
        super().__init__(data=data, force=True)

    def __post_init__(self) -> None:
        pass

    def metrics(self, policy: Any, actor: Any = None) -> dict[str, Tensor]:
        front = policy[0].shape[: policy[0].dim() - (len(actor.network.shapes[0]) if actor else 1)]
        return {"return": torch.zeros(front)}


def test_a_critic_reaches_the_closed_form_of_pessimism() -> None:
    """For a policy that stays, min_f sum_a pi(a) f(a) + beta sum_a nu(a) (f(a) - r(a))^2 is r - pi / (2 beta nu)."""
    task, beta = bandit(), 4.0
    solver = ATAC(
        network=network("deep-sets(width=16)"), beta=beta, warm_start=0, batch_size=512, actor_step_size=1e-9,
        step_size="geometric(0.01, 0.995, 0.0002)",
    )  # fmt: skip
    seeds = 3
    result = solve(task, solver, iterations=700, every=700, seeds=seeds)
    batch, critic = task.batch(1, Stream(0)), critic_of(task, solver.network)
    first = one_of(result.state.critic.parameters, critic.network, 0)
    found = torch.stack([critic(first, batch.tokens, a[None], batch.sets)[..., 0] for a in torch.eye(5)], -1)
    pi = solver.actor(task)(result.policy, batch.tokens, batch.sets).softmax(-1)[..., 0, :]
    r, nu = torch.tensor(PAID) / task.reward_scale, torch.tensor(NU)
    expected = r - pi / (2 * beta * nu)
    torch.testing.assert_close(found, expected, atol=0.06, rtol=0)
    value = (pi * expected).sum(-1) * task.reward_scale
    truth = (pi * torch.tensor(PAID)).sum(-1)
    assert bool((result.state.value < truth).all())
    torch.testing.assert_close(result.state.value, value, atol=0.1, rtol=0)


# --- models ---------------------------------------------------------------------------------------------------------


def begun(task: RecordedPlay, **given: Any) -> tuple[ModelBasedPessimism, Any]:
    """A solver and its state past the fit, with networks that are all different."""
    solver = ModelBasedPessimism(network=network(SMALL), batch_size=6, members=3, fit=1, horizon=2, **given)
    state = solver.step(0, task, solver.init(task), Stream(5))
    return solver, state


def world_of(task: RecordedPlay, solver: ModelBasedPessimism, state: Any, penalty: Any = None) -> Imagined:
    return Imagined(solver.lesson(task, state, Stream(0)), 2, solver.noise, True, penalty)


@pytest.mark.parametrize("space", SPACES)
def test_a_rollout_is_play_in_the_model(space: str, tasks: dict[str, RecordedPlay]) -> None:
    task = tasks[space]
    solver, state = begun(task)
    world = world_of(task, solver, state)
    batch = task.batch(6, Stream(1))
    model, tail = (
        one_of(state.models.parameters, world.model, 1),
        one_of(state.critic.parameters, world.critic.network, 0),
    )
    value, steps = world.rollout(model, state.policy, state.rewards.parameters, tail, batch, Stream(2))
    luck, tokens, total = Stream(2), batch.tokens, torch.zeros(6, dtype=torch.float64)
    for k in range(2):
        actions = task.head.sample(world.actor(state.policy, tokens, batch.sets), luck)[0]
        total = total + task.discount**k * world.critic(state.rewards.parameters, tokens, actions, batch.sets)
        change = world.change(model, tokens, actions, batch.sets) * task.change_scale
        following = tokens.clone()
        for i, row in enumerate(batch.sets.acting.tolist()):
            following[row, :4] = tokens[row, :4] + change[i]
        torch.testing.assert_close(steps[k][3], following)
        tokens = following
    actions = task.head.sample(world.actor(state.policy, tokens, batch.sets), luck)[0]
    total = total + task.discount**2 * world.critic(tail, tokens, actions, batch.sets)
    torch.testing.assert_close(value, total)


def test_the_worst_member_within_the_confidence_set_counts(tasks: dict[str, RecordedPlay]) -> None:
    task = tasks["discrete"]
    solver, state = begun(task, zeta=0.5)
    worst = {}
    for name, apart in (("all", [0.0, 0.1, 0.2]), ("two", [0.0, 0.1, 0.9]), ("one", [0.0, 0.9, 0.9])):
        given = replace(state, apart=torch.tensor(apart, dtype=torch.float64))
        worst[name] = solver.step(3, task, given, Stream(7).at(3)).value / task.reward_scale
    world, luck = world_of(task, solver, state), Stream(7).at(3)
    batch, luck = task.batch(6, luck), luck.aside()
    tail, values = one_of(state.critic.parameters, world.critic.network, 0), []
    for k in range(3):  # each alone meets the luck that they met together
        member = one_of(state.models.parameters, world.model, k)
        found, _ = world.rollout(member, state.policy, state.rewards.parameters, tail, batch, copy.copy(luck))
        values.append(float(found.mean()))
    assert len(set(values)) == 3
    for name, many in (("all", 3), ("two", 2), ("one", 1)):
        assert float(worst[name]) == pytest.approx(min(values[:many]), rel=1e-9)


def test_likelihood_is_least_squares_on_bootstrap_samples(tasks: dict[str, RecordedPlay]) -> None:
    """A linear world is found: the first member's squared error falls to that of the noise."""
    task = RecordedPlay(episodes=40, agents=2, behaviour="random", evaluation_episodes=2)  # type: ignore[arg-type]
    solver = ModelBasedPessimism(network=network("deep-sets(width=32)"), members=2, fit=400, batch_size=64)
    result = solve(task, solver, iterations=300, every=150, seeds=2)
    error = result.metric("model_error")
    assert float(error[:, -1].max()) < 0.25  # of the mean square of changes, which is 1
    assert bool((result.metric("model_distance")[:, -1] < 1).all())


def test_an_adversary_lowers_the_return_and_weight_holds_it_back(tasks: dict[str, RecordedPlay]) -> None:
    task = RecordedPlay(episodes=20, agents=2, behaviour="replay", evaluation_episodes=2)  # type: ignore[arg-type]
    values = {}
    for weight in (0.0, 1e4):
        solver = ModelBasedPessimism(
            network=network("deep-sets(width=16)"), surrogate="adversary", members=1, fit=60, horizon=2, batch_size=32,
            weight=weight, actor_step_size=3e-3, noise=0.02,
        )  # fmt: skip
        values[weight] = solve(task, solver, iterations=160, every=160, seeds=4).metric("value")[:, -1]
    assert float((values[0.0] - values[1e4]).max()) < 0


def test_disagreement_is_charged(tasks: dict[str, RecordedPlay]) -> None:
    task = tasks["discrete"]
    solver, state = begun(task)
    world = world_of(task, solver, state, 1.0)
    batch = task.batch(6, Stream(1))
    shown = batch.tokens.expand(3, *batch.tokens.shape)
    actions = batch.actions.expand(3, *batch.actions.shape)
    found = world.disagreement(state.models.parameters, shown, actions, batch.sets)
    changes = torch.stack(
        [
            world.change(one_of(state.models.parameters, world.model, k), batch.tokens, batch.actions, batch.sets)
            for k in range(3)
        ]
    )
    apart = changes - changes.mean(0)
    teams = batch.sets.teams.offsets.tolist()
    for b in range(6):
        own = slice(teams[b], teams[b + 1])
        size = own.stop - own.start
        expected = max(float(apart[k, own].norm()) / size**0.5 for k in range(3))
        assert found[:, b].tolist() == pytest.approx([expected] * 3)


def test_an_adversary_begins_at_the_fit(tasks: dict[str, RecordedPlay]) -> None:
    solver, state = begun(tasks["discrete"], surrogate="adversary")
    after = solver.step(1, tasks["discrete"], state, Stream(5).at(1))
    world = world_of(tasks["discrete"], solver, state)
    assert isinstance(after.adversary, Trained)
    for x, y in zip(after.adversary.parameters, one_of(state.models.parameters, world.model, 0), strict=True):
        assert float((x - y).abs().max()) <= 1.01 * 3e-4  # one step of Adam away from F^


def test_runs_that_only_imitate_say_so(tasks: dict[str, RecordedPlay]) -> None:
    solver = ATAC(network=network(SMALL), batch_size=4, warm_start=3)
    with pytest.warns(Caution, match="iterations: 2 are not more than warm_start, 3: the policy only imitates"):
        solve(tasks["discrete"], solver, iterations=2)
    assert not solver.cautions_of_length(4)
    assert not solver.cautions_of_length(0)  # nothing is learned, and nothing asked

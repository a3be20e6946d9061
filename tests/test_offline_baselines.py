"""Baselines of offline learning: every update is its formula, written out set by set and agent by agent."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gamesim.algorithms.atac import ATAC
from gamesim.algorithms.conservative_q_learning import ConservativeQLearning, MultiAgentCQL
from gamesim.algorithms.implicit_q_learning import ImplicitQLearning
from gamesim.algorithms.omar import OMAR
from gamesim.algorithms.td3_bc import TD3BC
from gamesim.data import SetData, make_header
from gamesim.envs.sets.recorded import RecordedPlay
from gamesim.envs.sets.spread import Spread
from gamesim.errors import Caution, InvalidInput
from gamesim.games.worlds import Particles, SetWorld
from gamesim.loop import Status, solve
from gamesim.networks.adam import Weights
from gamesim.networks.heads import Categorical
from gamesim.offline.critics import actor_of, critic_of, one_of, value_of
from gamesim.offline.deviations import deviating, everyone, gaps, moves, sampled, someone
from gamesim.offline.targets import target_of
from gamesim.randomness import Stream
from set_by_set import SMALL, SPACES, Bench, One, assert_gradient, invariant, leaves, mean, network, ones, task_of

SOLVERS = (TD3BC, ImplicitQLearning, ConservativeQLearning, MultiAgentCQL, OMAR)
NETWORKS = ("set-transformer(width=8, heads=2, blocks=1)", "deep-sets(width=8)", "gcn(width=8)", "mlp(width=8)")


@pytest.fixture(scope="module")
def tasks() -> dict[str, RecordedPlay]:
    return {space: task_of(space) for space in SPACES}


@pytest.mark.parametrize("space", SPACES)
def test_td3_bc_is_its_formula(space: str, tasks: dict[str, RecordedPlay]) -> None:
    bench = Bench(tasks[space], TD3BC(network=network(SMALL), batch_size=7, alpha=1.5))
    head, luck = bench.head, bench.luck
    out = bench.out(bench.pi_bar, bench.batch.after)
    if space == "discrete":
        following = head.sample(out, luck)[0]
    else:
        noise = (0.2 * luck.normal((len(out), 2))).clamp(-0.5, 0.5)
        following = (head.mode(out) + noise).clamp(-1, 1)
    f, pi = leaves(bench.f), leaves(bench.pi)
    sets = ones(bench.batch)
    targets = [bench.y(s, bench.doubtful(bench.f_bar, s.after, following[s.agents])) for s in sets]
    errors = [
        mean([(bench.q(bench.twin(f, j), s.tokens, s.actions) - y) ** 2 for s, y in zip(sets, targets, strict=True)])
        for j in range(2)
    ]
    assert_gradient(bench.after.critic, errors[0] + errors[1], f)
    scale = bench.task.reward_scale
    torch.testing.assert_close(bench.after.residual, errors[0].detach().sqrt() * scale)

    out = bench.out(pi, bench.batch.tokens)
    actions = head.sample(out, luck)[0] if space == "discrete" else out[:, :2].tanh()
    first = bench.twin(bench.after.critic.parameters, 0)
    values = [bench.q(first, s.tokens, actions[s.agents]) for s in sets]
    imitated = []
    for s in sets:
        for i in range(len(s.actions)):
            row = out[s.agents][i]
            if space == "discrete":
                distance = -row.log_softmax(-1)[s.actions[i].argmax()]
            else:
                distance = (row[:2].tanh() - s.actions[i]).square().mean()
            imitated.append(distance / len(s.actions))
    trust = 1.5 / mean([v.detach().abs() for v in values])
    assert_gradient(bench.after.actor, torch.stack(imitated).sum() / len(sets) - trust * mean(values), pi)
    torch.testing.assert_close(bench.after.value, mean(values).detach() * scale)
    for part, old, new in (("followed", bench.pi_bar, "actor"), ("target", bench.f_bar, "critic")):
        for x, y, z in zip(getattr(bench.after, part), old, getattr(bench.after, new).parameters, strict=True):
            torch.testing.assert_close(x, 0.98 * y + 0.02 * z)


def test_td3_bc_waits_with_its_policy(tasks: dict[str, RecordedPlay]) -> None:
    task, solver = tasks["discrete"], TD3BC(network=network(SMALL), batch_size=4, delay=3)
    state, stream = solver.init(task), Stream(0)
    moved = []
    for t in range(6):
        after = solver.step(t, task, state, stream.at(t))
        if t:
            moved.append(not torch.equal(after.policy[0], state.policy[0]))
        state = after
    assert moved == [False, True, False, False, True]


@pytest.mark.parametrize("space", SPACES)
def test_implicit_q_learning_is_its_formula(space: str, tasks: dict[str, RecordedPlay]) -> None:
    bench = Bench(tasks[space], ImplicitQLearning(network=network(SMALL), batch_size=7, expectile=0.8, beta=120.0))
    value = value_of(bench.task, bench.solver.network).network
    v, f, pi = leaves(bench.v), leaves(bench.f), leaves(bench.pi)
    sets = ones(bench.batch)
    held = [bench.doubtful(bench.f_bar, s.tokens, s.actions) for s in sets]
    losses = []
    for s, q in zip(sets, held, strict=True):
        u = q - invariant(value, v, s.tokens)
        losses.append((0.8 if float(u.detach()) > 0 else 0.2) * u**2)
    assert_gradient(bench.after.worth, mean(losses), v)

    new = bench.after.worth.parameters
    targets = [bench.y(s, invariant(value, new, s.after)) for s in sets]
    errors = [
        mean([(bench.q(bench.twin(f, j), s.tokens, s.actions) - y) ** 2 for s, y in zip(sets, targets, strict=True)])
        for j in range(2)
    ]
    assert_gradient(bench.after.critic, errors[0] + errors[1], f)

    log_prob = bench.head.log_prob(bench.out(pi, bench.batch.tokens), bench.batch.actions)
    weights = [
        min(math.exp(120 * float(q - invariant(value, new, s.tokens))), 100.0) for s, q in zip(sets, held, strict=True)
    ]
    assert max(weights) == 100 > min(weights)
    loss = mean([-w * log_prob[s.agents].mean() for w, s in zip(weights, sets, strict=True)])
    assert_gradient(bench.after.actor, loss, pi)


def others_of(bench: Bench, outs: list[Tensor], samples: int, moves_too: bool) -> list[tuple[Tensor, Tensor]]:
    """For each other action what all agents do, [agent, size], and log p of each."""
    head, agents = bench.head, len(bench.batch.sets.acting)
    if isinstance(head, Categorical) and moves_too:
        eye = torch.eye(5, dtype=torch.float64)
        return [(x.expand(agents, 5), torch.full((agents,), -math.log(5)).double()) for x in eye]
    even = head.uniform((samples, agents), bench.luck, outs[0] if outs else bench.batch.tokens)
    log_even = torch.tensor(1 / 5 if isinstance(head, Categorical) else 1 / 4, dtype=torch.float64).log()
    found = [(x, log_even.expand(agents)) for x in even]
    for out in outs:
        drawn, log_prob = head.sample(out.expand(samples, *out.shape), bench.luck)
        found += list(zip(drawn, log_prob, strict=True))
    return found


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("deviation", ["joint", "single"])
def test_conservative_q_learning_is_its_formula(space: str, deviation: str, tasks: dict[str, RecordedPlay]) -> None:
    given: dict[str, Any] = {"deviation": deviation, "samples": 3, "conservatism": 0.7, "alpha": 0.3, "warm_start": 0}
    bench = Bench(tasks[space], ConservativeQLearning(network=network(SMALL), batch_size=7, **given))
    batch, head, luck = bench.batch, bench.head, bench.luck
    who = None if deviation == "joint" else someone(batch.sets, (), luck)
    sets = ones(batch, who)
    here, after = (bench.out(bench.pi, x) for x in (batch.tokens, batch.after))
    following = head.sample(after, luck)[0]
    others = others_of(bench, [here, after], 3, deviation == "single")
    f, pi = leaves(bench.f), leaves(bench.pi)
    losses = []
    for s in sets:
        y = bench.y(s, bench.doubtful(bench.f_bar, s.after, following[s.agents]))
        for j in range(2):
            q = bench.q(bench.twin(f, j), s.tokens, s.actions)
            terms = []
            for actions, log_p in others:
                if deviation == "joint":
                    tried, density = actions[s.agents], log_p[s.agents].sum()
                else:
                    tried, density = s.actions.clone(), log_p[s.agents][s.who]
                    tried[s.who] = actions[s.agents][s.who]
                terms.append(bench.q(bench.twin(f, j), s.tokens, tried).exp() / density.exp())
            losses.append((q - y) ** 2 / 2 + 0.7 * (mean(terms).log() - q))
    assert_gradient(bench.after.critic, torch.stack(losses).sum() / len(sets), f)

    out, values = bench.out(pi, batch.tokens), list[Tensor]()
    if deviation == "single" and space == "discrete":  # all moves, by their chances
        log_prob = (out.softmax(-1) * out.log_softmax(-1)).sum(-1)
        actions = torch.zeros_like(out)
    else:
        actions, log_prob = head.sample(out, luck)
    for s in sets:
        if deviation == "joint":
            values.append(bench.doubtful(bench.after.critic.parameters, s.tokens, actions[s.agents]))
            continue
        chances = out[s.agents][s.who].softmax(-1) if space == "discrete" else torch.ones(1)
        each = torch.eye(5, dtype=torch.float64) if space == "discrete" else actions[s.agents][s.who, None]
        value = torch.zeros(())
        for chance, move in zip(chances, each, strict=True):
            done = torch.stack([move if i == s.who else s.actions[i] for i in range(len(s.actions))])
            value = value + chance * bench.doubtful(bench.after.critic.parameters, s.tokens, done)
        values.append(value)
    loss = 0.3 * mean([log_prob[s.agents].mean() for s in sets]) - mean(values)
    assert_gradient(bench.after.actor, loss, pi)
    torch.testing.assert_close(bench.after.value, mean(values).detach() * bench.task.reward_scale)


@pytest.mark.parametrize("space", SPACES)
def test_omar_is_its_formula(space: str, tasks: dict[str, RecordedPlay]) -> None:
    given: dict[str, Any] = {"samples": 3, "rounds": 2, "conservatism": 0.7, "guidance": 0.6}
    bench = Bench(tasks[space], OMAR(network=network(SMALL), batch_size=7, **given))
    batch, head, luck = bench.batch, bench.head, bench.luck
    who = someone(batch.sets, (), luck)
    sets = ones(batch, who)
    out = bench.out(bench.pi_bar, batch.after)
    following = head.sample(out, luck)[0] if space == "discrete" else head.mode(out)
    others = others_of(bench, [], 3, True)
    f, pi = leaves(bench.f), leaves(bench.pi)

    def alone(weights: Weights, s: One, action: Tensor) -> Tensor:
        tried = s.actions.clone()
        tried[s.who] = action
        return bench.q(weights, s.tokens, tried)

    losses = []
    for s in sets:
        y = bench.y(s, bench.doubtful(bench.f_bar, s.after, following[s.agents]))
        for j in range(2):
            w = bench.twin(f, j)
            q = bench.q(w, s.tokens, s.actions)
            terms = [alone(w, s, a[s.agents][s.who]).exp() / p[s.agents][s.who].exp() for a, p in others]
            losses.append((q - y) ** 2 / 2 + 0.7 * (mean(terms).log() - q))
    assert_gradient(bench.after.critic, torch.stack(losses).sum() / len(sets), f)

    first = bench.twin(bench.after.critic.parameters, 0)
    own = head.mode(bench.out(bench.pi, batch.tokens))
    best, agents = list[Tensor](), len(batch.sets.acting)
    noise = [luck.normal((3, agents, 2)) for _ in range(2)] if space == "continuous" else []
    for s in sets:
        tried = [a[s.agents][s.who] for a, _ in others]
        mu, sigma = torch.zeros(2).double(), torch.full((2,), 2.0).double()
        for eps in noise:
            tried = [(mu + sigma * e[s.agents][s.who]).clamp(-1, 1) for e in eps]
            weight = torch.stack([alone(first, s, a).exp() for a in tried])
            mu = sum(w * a for w, a in zip(weight / weight.sum(), tried, strict=True))  # type: ignore[assignment]
            sigma = torch.stack([(a - mu) ** 2 for a in tried]).mean(0).sqrt()
        tried += [own[s.agents][s.who]] if space == "continuous" else []
        best.append(max(tried, key=lambda a: float(alone(first, s, a).detach())))
    gain = mean([alone(first, s, a) - alone(first, s, s.actions[s.who]) for s, a in zip(sets, best, strict=True)])
    torch.testing.assert_close(bench.after.gain, gain.detach() * bench.task.reward_scale)
    if space == "discrete":
        assert float(gain.detach()) >= 0  # the data's move is one of them

    out = bench.out(pi, batch.tokens)
    actions = head.sample(out, luck)[0] if space == "discrete" else head.mode(out)
    values = mean([bench.q(first, s.tokens, actions[s.agents]) for s in sets])
    missed = []
    for s, a in zip(sets, best, strict=True):
        row = out[s.agents][s.who]
        missed.append(-row.log_softmax(-1)[a.argmax()] if space == "discrete" else (row[:2].tanh() - a).square().mean())
    assert_gradient(bench.after.actor, 0.6 * mean(missed) - 0.4 * values, pi)


# --- deviations -------------------------------------------------------------------------------------------------------


def test_everyone_is_drawn_as_often(tasks: dict[str, RecordedPlay]) -> None:
    batch = tasks["discrete"].batch(40, Stream(0))
    who = someone(batch.sets, (500,), Stream(range(500)))
    assert torch.equal(batch.sets.teams.sum(who[..., None].long())[..., 0], torch.ones(500, 40).long())
    share = batch.sets.teams.spread(1 / batch.sets.teams.sizes.double()[:, None])[:, 0]
    error = (who.double().mean(0) - share) / (share * (1 - share) / 500).sqrt()
    assert float(error.abs().max()) < 4.5
    assert float(error.square().mean()) < 1.3  # two or three agents of a set are not independent


def test_a_sum_over_samples_tends_to_the_sum_over_all(tasks: dict[str, RecordedPlay]) -> None:
    """Even draws and those of a policy, over their densities, against all 25 joint moves of two agents."""
    task = task_of("discrete", (2,))
    critic, actor = critic_of(task, network(SMALL)), actor_of(task, network(SMALL))
    f, pi = critic.network.draw((2,), Stream(1), torch.float64), actor.network.draw((), Stream(2), torch.float64)
    batch = task.batch(3, Stream(0))
    outs = [actor(pi, x, batch.sets) for x in (batch.tokens, batch.after)]
    others, density = sampled(task.head, outs, 4000, (), 6, Stream(4), outs[0])
    who = everyone(batch.sets)
    _, found = gaps(critic, f, batch, who, others, density)
    eye = torch.eye(5, dtype=torch.float64)
    for j in range(2):
        for b, s in enumerate(ones(batch)):
            w = one_of(f, critic.network, j)
            q = invariant(critic.network, w, s.tokens, s.actions)
            pairs = [torch.stack([x, y]) for x in eye for y in eye]
            total = torch.stack([invariant(critic.network, w, s.tokens, a) for a in pairs]).logsumexp(0)
            assert float(found[j, b]) == pytest.approx(float(total - q), abs=0.05)
    single = someone(batch.sets, (), Stream(5))
    exact = gaps(critic, f, batch, single, *moves(task.head, 6, outs[0]))[1]  # type: ignore[arg-type]
    rough = gaps(critic, f, batch, single, others, density)[1]
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0)


def test_one_agent_of_each_set_deviates() -> None:
    actions = torch.arange(10.0).reshape(5, 2)
    who = torch.tensor([False, True, True, False, False])
    others = -torch.arange(30.0).reshape(3, 5, 2)
    found = deviating(actions, who, others).reshape(3, 5, 2)
    for k in range(3):
        for i in range(5):
            assert torch.equal(found[k, i], others[k, i] if who[i] else actions[i])


# --- batches, resuming, symmetry --------------------------------------------------------------------------------------


def options(solver: type, **given: Any) -> Any:
    if issubclass(solver, ConservativeQLearning):
        given = {"warm_start": 1} | given
    return solver(network=network(given.pop("network", SMALL)), batch_size=given.pop("batch_size", 8), **given)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_seed_learns_the_same_alone_and_in_a_batch(solver: type, space: str) -> None:
    task = task_of(space, precision="float32")
    together = solve(task, options(solver), iterations=4, seeds=3, seed=5, every=4)
    alone = solve(task, options(solver), iterations=4, seed=6, every=4)
    for x, y in zip(together.policy, alone.policy, strict=True):
        torch.testing.assert_close(x[1], y, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(together.metric("value")[1], alone.metric("value")[0], rtol=1e-5, atol=1e-5)


HYPER = {
    TD3BC: {"alpha": [0.0, 2.5]},
    ImplicitQLearning: {"beta": [0.0, 3.0], "expectile": [0.5, 0.9]},
    ConservativeQLearning: {"conservatism": [0.0, 5.0], "actor_step_size": [1e-4, 1e-2]},
    MultiAgentCQL: {"conservatism": [0.0, 5.0], "alpha": [0.0, 1.0]},
    OMAR: {"guidance": [0.0, 0.9], "conservatism": [0.0, 5.0]},
}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_batch_of_hyper_parameters_is_one_by_one(solver: type, space: str, tasks: dict[str, RecordedPlay]) -> None:
    """With seeds before them: weights, minibatches and samples are the same for all of a seed's."""
    values = HYPER[solver] | {"step_size": [1e-3, 1e-2]}
    given = {name: torch.tensor(x, dtype=torch.float64) for name, x in values.items()}
    many = solve(tasks[space], options(solver, **given), iterations=4, seeds=3, every=4)
    assert many.metric("return").shape == (3, 2, 2)
    for i in range(2):
        one = solve(
            tasks[space], options(solver, **{n: x[i] for n, x in values.items()}), iterations=4, seed=2, every=4
        )
        for x, y in zip(many.policy, one.policy, strict=True):
            torch.testing.assert_close(
                x[2, i], y, rtol=1e-6, atol=1e-7
            )  # numbers of a batch are of the world's precision


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_resumed_run_goes_on_to_the_same_bits(solver: type, space: str, tasks: dict[str, RecordedPlay]) -> None:
    once = solve(tasks[space], options(solver), iterations=5, seeds=2, every=5)
    half = solve(tasks[space], options(solver), iterations=3, seeds=2, every=3)
    state, stream = half.state, Stream([0, 1])
    for t in range(3, 5):
        state = options(solver).step(t, tasks[space], state, stream.at(t))
    for part in ("actor", "critic"):
        x, y = getattr(once.state, part), getattr(state, part)
        assert all(map(torch.equal, x.parameters + x.mean + x.square, y.parameters + y.mean + y.square))
    assert all(map(torch.equal, once.state.target, state.target))


@pytest.mark.parametrize("text", NETWORKS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_network_serves_every_algorithm(solver: type, text: str, tasks: dict[str, RecordedPlay]) -> None:
    """Two worlds of two and of three agents in one minibatch."""
    task = tasks["discrete"]
    result = solve(task, options(solver, network=text), iterations=2, seeds=2, every=2)
    assert {"return", "return_2", "return_3", "value", "residual"} <= set(result.trace.metrics)
    assert all(bool(x.isfinite().all()) for values in result.trace.metrics.values() for x in values)
    if text.startswith("mlp"):
        return
    batch, order = task.batch(1, Stream(0)), torch.tensor([1, 0])
    n = len(batch.sets.acting)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(1))
    rows = torch.cat([order, torch.arange(n, batch.tokens.shape[-2])])
    actor, critic = actor_of(task, network(text)), critic_of(task, network(text))
    out = actor(result.policy, batch.tokens, batch.sets)
    torch.testing.assert_close(actor(result.policy, batch.tokens[rows], batch.sets), out[:, order])
    weights, shape = result.state.critic.parameters, (2, 2, 1)
    f = critic(weights, batch.tokens, batch.actions, batch.sets)
    assert f.shape == shape
    torch.testing.assert_close(critic(weights, batch.tokens[rows], batch.actions[order], batch.sets), f)


# --- what it is for ---------------------------------------------------------------------------------------------------

EDGE = 0.3
PAID = (0.0, 0.3, 0.6, -1.0, -1.0)
"""What the moves pay of which nobody has tried the last two."""


@dataclass(frozen=True)
class Cliff(SetWorld):
    """One step. A force pays its first number, and -1 beyond the edge, where nobody has been; or a move pays."""

    agents: int
    steps: int = 1
    actions: Any = "continuous"
    kinds_of_entity = ("agent",)
    features = ("x",)

    @property
    def acting(self) -> int:
        return self.agents

    @property
    def types(self) -> Tensor:
        return torch.zeros(self.agents, dtype=torch.uint8)

    @property
    def like(self) -> dict[str, Any]:
        return {"dtype": torch.float32, "device": "cpu"}

    def begin(self, front: tuple[int, ...], generator: Stream) -> Particles:
        x = 2 * generator.uniform((*front, self.agents, 1), torch.float32) - 1
        return Particles(x, torch.zeros_like(x))

    def tokens(self, state: Particles) -> Tensor:
        return state.position

    def restored(self, tokens: Tensor) -> Particles:
        return Particles(tokens, torch.zeros_like(tokens))

    def step(self, state: Particles, actions: Tensor) -> tuple[Particles, Tensor]:
        if self.actions == "discrete":
            return state, torch.tensor(PAID)[actions.long()]
        along = actions[..., 0]
        return state, torch.where(along <= EDGE, along, -1.0)


def cliff(space: str, agents: int = 2, count: int = 400) -> RecordedPlay:
    """Actions spread evenly from -1 to just before the edge, or over the first three moves; episodes end at once."""
    world, luck = Cliff(agents, actions=space), Stream(7)
    state = world.begin((count,), luck)
    actions = (3 * luck.uniform((count, agents))).long()
    if space == "continuous":
        u, v = (luck.uniform((count, agents), torch.float32) for _ in range(2))
        actions = torch.stack([u * (1 + EDGE) - 1, 2 * v - 1], -1)
    rewards = world.step(state, actions)[1]
    whole, nothing = torch.arange(count), torch.zeros(count, dtype=torch.uint8)
    data = SetData(
        tokens=world.tokens(state).repeat(2, 1, 1).flatten(0, 1),
        types=torch.zeros(2 * count * agents, dtype=torch.uint8),
        offsets=torch.arange(2 * count + 1) * agents,
        before=whole,
        after=whole + count,
        agents=torch.full((count,), agents),
        actions=actions.flatten(0, 1) if space == "continuous" else actions.flatten().to(torch.uint8),
        rewards=rewards.flatten(),
        terminated=torch.ones(count, dtype=torch.bool),
        truncated=torch.zeros(count, dtype=torch.bool),
        episode=whole,
        time=torch.zeros_like(whole),
        seed=whole,
        behaviour=nothing,
        world=nothing,
        header=make_header(
            worlds=[{"id": "tests:Cliff", "parameters": {}}],
            behaviours=["even"],
            kinds_of_entity=["agent"],
            features=["x"],
            actions=["continuous", 2] if space == "continuous" else ["discrete", 5],
        ),
    )
    return RecordedPlay(data=data, world=world, evaluation_episodes=64, force=True)


@pytest.fixture(scope="module")
def cliffs() -> dict[str, RecordedPlay]:
    return {space: cliff(space) for space in SPACES}


def learned(task: RecordedPlay, solver: type, **given: Any) -> tuple[Any, Tensor, Tensor]:
    """Three seeds: the result, what its agents do, and what f says of sets in which everyone tries an action."""
    steps = 130
    chosen = options(solver, network="deep-sets(width=24)", batch_size=32, step_size=5e-3, **given)
    result = solve(task, chosen, iterations=steps, seeds=3, every=steps)
    batch, actor = task.batch(100, Stream(99)), chosen.actor(task)
    done = actor.head.mode(actor(result.policy, batch.tokens, batch.sets))
    if not hasattr(result.state, "critic"):
        return result, done, torch.empty(0)
    actions = (
        torch.eye(5) if isinstance(task.head, Categorical) else torch.tensor([[-0.5, 0.0], [0.2, 0.0], [1.0, 0.0]])
    )
    critic, weights = critic_of(task, chosen.network), result.state.critic.parameters
    f = [critic(weights, batch.tokens, a.expand(200, -1), batch.sets).mean(-1).amin(-1) for a in actions]
    return result, done, torch.stack(f, -1) * task.reward_scale


def test_plain_values_run_over_the_cliff(cliffs: dict[str, RecordedPlay]) -> None:
    """Without conservatism the critic goes on beyond the edge as before it, and the policy follows: -1 in all seeds."""
    plain: dict[str, Any] = {"conservatism": 0.0, "alpha": 0.0, "samples": 1, "warm_start": 0, "actor_step_size": 5e-3}
    result, done, f = learned(cliffs["continuous"], ConservativeQLearning, **plain)
    assert float(done[..., 0].min()) > EDGE
    assert float(result.metric("return")[:, -1].max()) == -1
    assert float(f[:, 2].min()) > 0.1  # of what is worth -1
    _, _, f = learned(cliffs["discrete"], ConservativeQLearning, **plain)
    assert float(f[:, 3:].min()) > -0.3


QUICK: dict[str, Any] = {"actor_step_size": 5e-3, "warm_start": 0}
CAREFUL: list[tuple[str, type, dict[str, Any]]] = [
    ("continuous", ConservativeQLearning, {"alpha": 0.0, "samples": 2, **QUICK}),
    ("continuous", MultiAgentCQL, {"alpha": 0.0, "samples": 2, **QUICK}),
    ("continuous", OMAR, {"actor_step_size": 5e-3, "samples": 6}),
    ("continuous", ImplicitQLearning, {}),
    ("discrete", MultiAgentCQL, {"actor_step_size": 2e-3, "warm_start": 40}),
    ("discrete", OMAR, {"actor_step_size": 5e-3}),
    ("discrete", ImplicitQLearning, {}),
    ("discrete", ATAC, {"beta": 1.0, "actor_step_size": 2e-3, "warm_start": 40}),
]


@pytest.mark.parametrize(
    ("space", "solver", "given"), CAREFUL, ids=[f"{solver.__name__}-{space}" for space, solver, _ in CAREFUL]
)
def test_careful_ones_stay_where_somebody_has_been(
    space: str, solver: type, given: dict[str, Any], cliffs: dict[str, RecordedPlay]
) -> None:
    """And do better there than those who imitate, whose mean return is that of the data."""
    result, done, f = learned(cliffs[space], solver, **given)
    beyond = done[..., 0] > EDGE if space == "continuous" else done[..., 3:].sum(-1) > 0
    assert float(beyond.float().mean()) == 0
    data = float(cliffs[space].play.team_rewards.mean())
    assert float(result.metric("return")[:, -1].min()) > data + 0.15
    if hasattr(solver(), "conservatism"):
        unseen, seen = (f[:, 2:], f[:, :2]) if space == "continuous" else (f[:, 3:], f[:, :3])
        assert float((seen.amin(-1) - unseen.amax(-1)).min()) > 0.3


def test_td3_bc_is_between_imitation_and_plain_values(cliffs: dict[str, RecordedPlay]) -> None:
    task = cliffs["continuous"]
    places = [learned(task, TD3BC, alpha=alpha)[1][..., 0].mean(-1) for alpha in (0.0, 30.0)]
    mean_force = task.play.actions[:, 0].mean().expand(3)
    torch.testing.assert_close(places[0], mean_force, atol=0.1, rtol=0)
    assert float(places[1].min()) > EDGE


def test_nothing_follows_an_end(cliffs: dict[str, RecordedPlay]) -> None:
    task = cliffs["continuous"]
    batch = task.batch(5, Stream(0))
    assert torch.equal(target_of(task, batch, torch.full((5,), 7.0)), batch.rewards)
    going = replace(batch, terminated=torch.zeros(5))  # as where an episode was cut off
    low, high = task.bounds
    expected = (batch.rewards + task.discount * 7).clamp(low, high)
    assert torch.equal(target_of(task, going, torch.full((5,), 7.0)), expected)


def test_critics_that_run_away_end_the_run(tasks: dict[str, RecordedPlay]) -> None:
    chosen = options(ImplicitQLearning, step_size=30.0)
    with pytest.warns(Caution, match="critics run away: lower step_size"):
        result = solve(tasks["discrete"], chosen, iterations=40, every=5)
    assert result.status is Status.DIVERGED
    assert result.iterations < 40


@pytest.mark.parametrize(
    ("solver", "given", "words"),
    [
        (TD3BC, {"alpha": -1.0}, "alpha: got -1.0, expected a number of at least 0"),
        (TD3BC, {"delay": 0}, "delay: got 0"),
        (ImplicitQLearning, {"expectile": 1.0}, "expectile: got 1.0, expected a number between 0 and 1"),
        (ConservativeQLearning, {"deviation": "all"}, "deviation: got all"),
        (MultiAgentCQL, {"samples": 0}, "samples: got 0"),
        (OMAR, {"guidance": 1.5}, "guidance: got 1.5, expected a probability"),
        (OMAR, {"spread": 0.0}, "spread: got 0.0"),
        (OMAR, {"network": "cnn"}, "network: got cnn"),
    ],
)
def test_parameters_without_meaning_are_refused(solver: type, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        solver(**given)
    assert words in str(caught.value).replace("'", "")


def test_other_games_are_refused() -> None:
    with pytest.raises(InvalidInput, match="a Recorded, which TD3BC needs"):
        solve(Spread(), TD3BC(), iterations=1)

"""Exact offline pessimism: multisets against joint tables, closed forms against programs and enumeration."""

from itertools import permutations, product

import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.algorithms.bellman_consistent_pessimism import BellmanConsistentPessimism
from gamesim.algorithms.pspi import PSPI
from gamesim.envs.sets.tabular import Tabular
from gamesim.errors import InvalidInput
from gamesim.offline.exact.counted import Crowd, Luck
from gamesim.offline.exact.multisets import Multisets
from gamesim.offline.exact.pairs import Local, acting, features, forms, local_policies, worth
from gamesim.offline.exact.programs import bounded_least
from gamesim.offline.exact.tables import action_values, optimum, state_values, visits
from gamesim.offline.exact.version_space import FiniteClass, LinearClass, Projected, TabularClass, Visits, radius
from gamesim.randomness import Stream
from gamesim.schedules import Constant
from gamesim.testing import check_batch, check_game, check_solver

POLICY = torch.tensor([[0.3, 0.7], [0.6, 0.4]], dtype=torch.float64)
LUCKS: tuple[Luck, ...] = ("own", "shared")


@pytest.mark.parametrize(("size", "kinds"), [(0, 2), (1, 1), (3, 2), (4, 4), (5, 3)])
def test_multisets_are_numbered_in_their_order(size: int, kinds: int) -> None:
    found = Multisets(size, kinds)
    expected = [c for c in product(range(size + 1), repeat=kinds) if sum(c) == size]
    assert found.table.tolist() == [list(c) for c in expected]
    assert found.number(found.table).tolist() == list(range(found.count))


class Joint:
    """The same problem with all of z^N states and u^N actions, written out agent by agent."""

    def __init__(self, local: Local, agents: int, policy: Tensor) -> None:
        states, actions = policy.shape
        self.states = list(product(range(states), repeat=agents))
        self.actions = list(product(range(actions), repeat=agents))
        size = len(self.states), len(self.actions)
        self.reward, self.law = torch.zeros(size).double(), torch.zeros(*size, size[0]).double()
        self.policy = torch.ones(size).double()
        for i, s in enumerate(self.states):
            for j, a in enumerate(self.actions):
                x = [z * actions + u for z, u in zip(s, a, strict=True)]
                own = sum(float(local.own[k]) for k in x) / agents
                pair = sum(float(local.company[z, w]) for z in s for w in s) / agents**2
                self.reward[i, j] = own / 2 + pair / 2
                for z, u in zip(s, a, strict=True):
                    self.policy[i, j] *= policy[z, u]
                for k, t in enumerate(self.states):
                    drawn = dict(zip(x, t, strict=True)) if local.luck == "shared" else {}
                    if local.luck == "own":
                        self.law[i, j, k] = torch.stack([local.kernel[b, z] for b, z in zip(x, t, strict=True)]).prod()
                    elif all(drawn[b] == z for b, z in zip(x, t, strict=True)):
                        self.law[i, j, k] = torch.stack([local.kernel[b, z] for b, z in drawn.items()]).prod()


@pytest.mark.parametrize("luck", LUCKS)
def test_counts_and_quadratic_values_are_those_of_the_joint_tables(luck: Luck) -> None:
    agents, local = 3, Local.drawn((), 2, 2, luck, 0.8, Stream(3))
    joint, crowd = Joint(local, agents, POLICY), Crowd(agents, 2, 2)
    torch.testing.assert_close(joint.law.sum(-1), torch.ones(8, 8).double())
    values = state_values(joint.policy, joint.reward, joint.law, 0.8)
    q = action_values(values, joint.reward, joint.law, 0.8)

    for order in permutations(range(agents)):  # a homogeneous Markov decision process, and invariant values
        s = torch.tensor([joint.states.index(tuple(x[k] for k in order)) for x in joint.states])
        a = torch.tensor([joint.actions.index(tuple(x[k] for k in order)) for x in joint.actions])
        torch.testing.assert_close(joint.law[s][:, a][:, :, s], joint.law)
        torch.testing.assert_close(q[s][:, a], q)

    law, policy = crowd.law(local.kernel[None], luck), crowd.acting(POLICY[None])
    shares = crowd.plays.double() / agents
    reward = worth(local.reward, shares)
    counted = state_values(policy, reward, law, 0.8)
    table = action_values(counted, reward, law, 0.8)
    theta = local.values(POLICY, agents)
    for i, s in enumerate(joint.states):
        here = torch.tensor([s.count(0), s.count(1)])
        assert float(counted[crowd.states.number(here)]) == pytest.approx(float(values[i]), abs=1e-12)
        assert float(worth(acting(theta, POLICY, agents), here.double() / agents)) == pytest.approx(float(values[i]))
        for j, a in enumerate(joint.actions):
            m = torch.zeros(4, dtype=torch.int64)
            for z, u in zip(s, a, strict=True):
                m[2 * z + u] += 1
            number = crowd.number(m)
            assert float(table[number]) == pytest.approx(float(q[i, j]), abs=1e-12)
            assert float(worth(theta, m.double() / agents)) == pytest.approx(float(q[i, j]), abs=1e-12)
    # a best invariant policy is as good as the best of all joint ones
    _, best = optimum(crowd.possible, reward, law, 0.8)
    _, free = optimum(torch.ones(8, 8, dtype=torch.bool), joint.reward, joint.law, 0.8)
    assert float(best[-1]) == pytest.approx(float(free[0]), abs=1e-10)


@pytest.mark.parametrize("luck", LUCKS)
def test_thirty_agents_and_three_local_states_agree_with_the_quadratic_class(luck: Luck) -> None:
    for agents, states in ((30, 2), (5, 3)):
        local = Local.drawn((), states, 2, luck, 0.8, Stream(4))
        crowd = Crowd(agents, states, 2)
        policy = torch.softmax(torch.sin(torch.arange(2.0 * states)).double().reshape(states, 2), -1)
        shares, law = crowd.plays.double() / agents, crowd.law(local.kernel[None], luck)
        torch.testing.assert_close(law.sum(-1), crowd.possible.double())
        acted = crowd.acting(policy[None])
        torch.testing.assert_close(acted.sum(-1), torch.ones(crowd.states.count).double())
        values = state_values(acted, worth(local.reward, shares), law, 0.8)
        expected = worth(acting(local.values(policy, agents), policy, agents), crowd.states.table.double() / agents)
        torch.testing.assert_close(values, expected)


@pytest.mark.parametrize("luck", LUCKS)
def test_data_have_the_law_of_the_tables(luck: Luck) -> None:
    task = Tabular(agents=3, samples=50_000, luck=luck, seed=2)
    data, pairs = task.data, task.crowd.pairs.count
    assert int(data.samples) == 50_000
    counts = data.counts.sum(-1)[task.crowd.possible]
    assert float((counts - 50_000 / pairs).abs().max()) < 5 * (50_000 / pairs) ** 0.5  # all multisets alike
    error = ((task.law * (1 - task.law)) / data.counts.sum(-1, keepdim=True).clamp(min=1)).sqrt()
    assert bool(((data.law - task.law).abs() <= 5 * error + 1e-12).all())
    draws = sum(piece.draws for piece in task.transitions())
    share = draws / draws.sum(-1, keepdim=True)
    spread = (task.local.kernel * (1 - task.local.kernel) / draws.sum(-1, keepdim=True)).sqrt()
    assert bool(((share - task.local.kernel).abs() < 4 * spread).all())


def test_the_law_of_shares_in_groups_is_that_of_every_number_of_agents() -> None:
    local = Local.drawn((), 2, 2, "own", 0.8, Stream(3))
    moments = []
    for agents in (4, 64):
        shares = local.sampled((), 50_000, agents, "groups", Stream(1)).pairs / agents
        moments.append(features(shares).mT @ features(shares) / 50_000)
    torch.testing.assert_close(moments[0], moments[1], atol=1e-12, rtol=0)  # the same draws, too


@pytest.mark.parametrize("functions", ["tables", "pairs"])
@pytest.mark.parametrize("epsilon", [1e-4, 1e-2])
def test_least_values_are_those_of_a_convex_program(functions: str, epsilon: float) -> None:
    task = Tabular(agents=3, samples=400, seed=5)
    policy = task.crowd.acting(POLICY[None])
    linear = functions == "pairs"
    found = task.functions("pairs" if linear else "tables").least(policy, task.initial, epsilon)
    low = -100.0 if linear else 0.0
    program = bounded_least(
        task.data, policy, task.initial, epsilon, low, 100.0, features(task.shares) if linear else None
    )
    assert float(found.value) == pytest.approx(float(program.value), abs=1e-6)
    assert float(found.misfit) == pytest.approx(epsilon, rel=1e-9)
    begun = ((policy * found.function).sum(-1) * task.initial).sum()
    assert float(begun) == pytest.approx(float(found.value), abs=1e-10)


def test_pairs_without_data_are_worth_the_least_and_bounds_are_left_to_the_program() -> None:
    task = Tabular(agents=3, samples=25, seed=5)
    policy = task.crowd.acting(POLICY[None])
    assert int((task.crowd.possible & ~task.data.seen).sum()) > 3
    closed = TabularClass(task.data).least(policy, task.initial, 1e-3)
    program = bounded_least(task.data, policy, task.initial, 1e-3, 0.0, 5.0)
    assert float(closed.value) == pytest.approx(float(program.value), abs=1e-6)
    assert bool((closed.function[~task.data.seen] == 0).all())
    wide = TabularClass(task.data).least(policy, task.initial, 0.3)  # f < 0 somewhere: unbounded tables go lower
    assert float(wide.function.min()) < 0
    assert float(wide.value) <= float(bounded_least(task.data, policy, task.initial, 0.3, 0.0, 5.0).value) + 1e-7
    with pytest.raises(InvalidInput, match="epsilon"):
        bounded_least(task.data, policy, task.initial, 1e-9, 4.0, 5.0)


def test_penalised_functions_solve_the_lagrangian_and_trace_the_version_space() -> None:
    task = Tabular(agents=3, samples=400, seed=5)
    policy = task.crowd.acting(POLICY[None])
    functions = TabularClass(task.data)
    found = functions.penalized(policy, task.initial, 10.0)
    assert float(functions.least(policy, task.initial, found.misfit).value) == pytest.approx(float(found.value))
    f = found.function.clone().requires_grad_()
    loss = ((policy * f).sum(-1) * task.initial).sum() + 10 * functions.bellman_error(f, policy)
    (gradient,) = torch.autograd.grad(loss, f)
    assert float(gradient[task.data.seen].abs().max()) < 1e-10
    linear = task.functions("pairs")
    assert isinstance(linear, LinearClass)
    about = linear.about(policy, task.initial)
    theta = about.penalized(10.0).function.requires_grad_()
    (gradient,) = torch.autograd.grad((about.start * theta).sum() + 10 * about.bellman_error(theta), theta)
    assert float(gradient.abs().max()) < 1e-8


def test_the_inner_minimum_of_a_linear_class_is_a_projection() -> None:
    task = Tabular(agents=3, samples=300, seed=6)
    policy, phi = task.crowd.acting(POLICY[None]), features(task.shares)
    linear = LinearClass(task.data, phi)
    theta = torch.sin(torch.arange(10.0).double())
    f = phi @ theta
    root = task.data.share.sqrt().flatten()
    target = task.data.backed_up(f, policy).flatten()
    fitted = torch.linalg.lstsq(root[:, None] * phi.flatten(0, 1), (root * target)[:, None], driver="gelsd").solution
    inner = (root * (phi.flatten(0, 1) @ fitted[:, 0] - target)).square().sum()
    expected = task.data.loss(f, f, policy) - inner
    assert float(linear.bellman_error(theta, policy, task.initial)) == pytest.approx(float(expected), rel=1e-8)


def test_enumeration_agrees_with_loops() -> None:
    task = Tabular(agents=2, samples=20_000, seed=1)
    policies = task.crowd.acting(local_policies(2, 2, 3)[:, None])
    values = torch.stack([task.local.values(p, 2) for p in local_policies(2, 2, 3)])
    truths = worth(values[:, None, None], task.shares) * task.crowd.possible
    members = torch.cat([truths, truths + 0.3, truths - 0.2 * task.reward])
    functions, policy = FiniteClass(task.data, members), policies[4]
    errors = functions.bellman_errors(policy)
    for k in range(len(members)):
        each = [float(task.data.loss(other, members[k], policy)) for other in members]
        own = float(task.data.loss(members[k], members[k], policy))
        assert float(errors[k]) == pytest.approx(own - min(each), abs=1e-12)
    assert float(errors[4]) < 1e-4  # Q of this very policy
    begun = ((policy * members).sum(-1) * task.initial).sum(-1)
    for epsilon in (1e-4, 1e-3, 1e-2):
        found = functions.least(policy, task.initial, epsilon)
        assert float(found.value) == min(float(v) for v, e in zip(begun, errors, strict=True) if e <= epsilon)
        assert float(found.value) <= float(begun[4])
        assert float(found.misfit) <= epsilon
    assert float(functions.least(policy, task.initial, -1.0).value) == float("inf")
    batch = functions.least(policies, task.initial, 0.02)  # policies in front
    each_alone = torch.stack([functions.least(p, task.initial, 0.02).value for p in policies])
    torch.testing.assert_close(batch.value, each_alone)


@pytest.mark.parametrize("functions", ["tables", "pairs"])
def test_guarantees_hold_with_the_stated_probability(functions: str) -> None:
    """eps as in `radius` with delta = 0.1 over 9 policies: Q in F, pessimism and the bound in 95% of 60 data sets."""
    inside, pessimistic, bounded = 0, 0, 0
    policies, delta, seeds, n = local_policies(2, 2, 3), 0.1, 60, 20_000
    for seed in range(seeds):
        task = Tabular(agents=3, samples=n, seed=seed)
        acted = task.crowd.acting(policies[:, None])
        truth = task.returns((acted,))
        known = task.functions("pairs" if functions == "pairs" else "tables")
        spread = 0.8 / (1 - 0.8)
        eps = radius(known.dimension, n, spread, delta, len(policies))
        q = worth(task.local.values(policies, 3)[:, None, None], task.shares)
        if isinstance(known, LinearClass):
            theta = task.local.values(policies, 3)
            i, j = torch.triu_indices(4, 4)
            coefficients = theta[:, i, j] * torch.where(i == j, 1.0, 2.0)
            errors = known.bellman_error(coefficients, acted, task.initial)
        else:
            errors = known.bellman_error(q, acted)
        inside += bool((errors <= eps).all())
        found = known.least(acted, task.initial, eps)
        pessimistic += bool((found.value <= truth + 1e-9).all())
        # J(pi*) - J(pi_hat) <= J(pi*) - min f, and C_F bounds that through the residual
        best, chosen = int(truth.argmax()), int(found.value.argmax())
        gap, bound = float(truth[best] - truth[chosen]), float(truth[best] - found.value[best])
        met = 0.2 * visits(acted[best], task.initial, task.law, 0.8)
        coverage = (met[task.data.seen] / task.data.share[task.data.seen]).max()  # at least C_F
        bounded += gap <= bound + 1e-9 and bound <= 2 * float((coverage * eps).sqrt()) / 0.2
    assert inside >= 0.95 * seeds
    assert pessimistic >= 0.95 * seeds
    assert bounded >= 0.95 * seeds


def test_residuals_explain_what_a_function_promises_too_little() -> None:
    """J(pi) - f(S0, pi) = sum d (T f - f), the identity behind the bound, for any f."""
    task = Tabular(agents=3, seed=8)
    policy = task.crowd.acting(POLICY[None])
    f = torch.sin(torch.arange(task.reward.numel()).double()).reshape(task.reward.shape) * task.crowd.possible
    backed = task.reward + 0.8 * (task.law * (policy * f).sum(-1)).sum(-1)
    d = visits(policy, task.initial, task.law, 0.8)
    begun = ((policy * f).sum(-1) * task.initial).sum()
    assert float(d.sum()) == pytest.approx(5.0)
    assert float(task.returns((policy,)) - begun) == pytest.approx(float((d * (backed - f)).sum()), abs=1e-12)


def test_batches_of_data_and_policies_agree_with_one_by_one() -> None:
    local = Local.drawn((3,), 2, 2, "shared", 0.8, Stream(range(3)))
    seen = local.sampled((3,), 500, 4, "spread", Stream(range(3), 1))
    shares, after = seen.pairs / 4, seen.after / 4
    phi, policies = features(shares), local_policies(2, 2, 3)
    start = torch.tensor([1.0, 0.0]).double()

    def about(k: slice | int, policy: Tensor) -> Projected:
        ahead = acting(forms(4)[:, None], policy, 4)  # [d, policy, z, z']
        follow = torch.einsum("...nd,...nz,...ny,epzy->...pde", phi[k], after[k], after[k], ahead) / 500
        gram, rewards = phi[k].mT @ phi[k] / 500, worth(local.reward[k][..., None, :, :], shares[k])
        paid = (phi[k] * rewards[..., None]).mean(-2)
        return Projected(gram[..., None, :, :], paid[..., None, :], follow, worth(ahead, start).mT, 0.8)

    whole = about(slice(None), policies).least(0.01)
    assert whole.value.shape == (3, 9)
    for seed in range(3):
        for p in range(9):
            one = about(seed, policies[p : p + 1]).least(0.01)
            assert float(one.value[0]) == pytest.approx(float(whole.value[seed, p]), abs=1e-9)
    alone = Local.drawn((), 2, 2, "shared", 0.8, Stream(1))
    torch.testing.assert_close(alone.kernel, local.kernel[1])
    torch.testing.assert_close(alone.sampled((), 500, 4, "spread", Stream(1, 1)).pairs, seen.pairs[1])


@pytest.mark.parametrize("functions", ["tables", "pairs"])
def test_pspi_reaches_the_saddle_point_that_enumeration_bounds(functions: str) -> None:
    task, weight = Tabular(agents=3, samples=3000, seed=3), 10.0
    solver = PSPI(step_size=Constant(2.0), weight=weight, functions="pairs" if functions == "pairs" else "tables")
    run = gs.solve(task, solver, iterations=400, every=400)
    known = task.functions(solver.functions)

    def worst(policy: Tensor) -> Tensor:
        found = known.penalized(policy, task.initial, weight)
        return found.value + weight * found.misfit

    reached = worst(run.policy[0])
    local = worst(task.crowd.acting(local_policies(2, 2, 11)[:, None])).max()
    assert float(reached) >= float(local) - 1e-3  # plays may be anything, agents who act alone may not
    assert float(run.metric("suboptimality")[0, -1]) < float(run.metric("suboptimality")[0, 0])
    assert float(run.metric("lower")[0, -1]) <= float(run.metric("return")[0, -1])


def test_exact_pessimism_prefers_what_was_seen() -> None:
    """The best play of a state is made a pair without data: a greedy fit cannot know it, and pessimism stays away."""
    task = Tabular(agents=3, samples=50_000, seed=3)
    best = task.best[0].bool()
    hidden = Visits(task.data.counts * ~best[..., None], task.reward, 0.8)
    acted = task.crowd.acting(local_policies(2, 2, 3)[:, None])
    found = TabularClass(hidden).least(acted, task.initial, 1e-6)
    onto = (acted[:, -1] * best[-1]).sum(-1)
    assert float(onto[found.value.argmax()]) < 0.5
    assert bool((found.value <= task.returns((acted,)) + 0.1).all())


def test_solvers_and_the_game_conform() -> None:
    task = Tabular(samples=500)
    check_game(task)
    check_batch(task)
    for solver in (PSPI(), PSPI(functions="pairs"), BellmanConsistentPessimism()):
        check_solver(solver, task)
    many = gs.solve(task, PSPI(weight=torch.tensor([1.0, 10.0, 100.0])), iterations=5, every=5, seeds=2)
    assert many.metric("suboptimality").shape == (2, 3, 2)
    alone = gs.solve(task, PSPI(weight=10.0), iterations=5, every=5)
    torch.testing.assert_close(many.metric("lower")[1, 1], alone.metric("lower")[0])
    radii = gs.solve(task, BellmanConsistentPessimism(radius=torch.tensor([0.0, 0.1])), iterations=1)
    one = gs.solve(task, BellmanConsistentPessimism(radius=0.1), iterations=1)
    torch.testing.assert_close(radii.metric("lower")[1], one.metric("lower")[0])


def test_bad_input_is_refused_with_a_name() -> None:
    with pytest.raises(InvalidInput, match="agents"):
        Tabular(agents=200)
    with pytest.raises(InvalidInput, match="agents"):
        Tabular(agents=0)
    with pytest.raises(InvalidInput, match="luck"):
        _ = Tabular(agents=2, local_states=5, local_actions=4, luck="shared").law
    with pytest.raises(InvalidInput, match="discount"):
        Tabular(discount=1.0)
    with pytest.raises(InvalidInput, match="samples"):
        Tabular(agents=3, samples=3).functions("pairs").least(*_policy_of(Tabular(agents=3)), 0.1)
    task = Tabular(agents=3)
    with pytest.raises(InvalidInput, match="no such play"):
        task.require((torch.full_like(task.reward, 1 / task.reward.shape[-1]),))
    with pytest.raises(InvalidInput, match="delta"):
        radius(10, 100, 1.0, 1.0)
    with pytest.raises(InvalidInput, match="levels"):
        BellmanConsistentPessimism(levels=101).policies(Tabular(agents=30))
    with pytest.raises(InvalidInput, match="one at a time"):
        bounded_least(task.data, task.start()[0][None], task.initial, 0.1, 0.0, 5.0)
    lonely = Tabular(agents=1, samples=50)
    check_solver(PSPI(), lonely)


def _policy_of(task: Tabular) -> tuple[Tensor, Tensor]:
    return task.start()[0], task.initial

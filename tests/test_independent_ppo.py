"""Independent PPO held to plain versions of its parts, to torch's Adam, and to games whose best value is known."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.algorithms.independent_ppo import IndependentPPO, actor_loss, critic_loss, values
from gamesim.envs.stochastic.families import Team, ZeroSumStochastic
from gamesim.errors import InvalidInput
from gamesim.feedback.perceptrons import network
from gamesim.feedback.temporal import following
from gamesim.games import StochasticGame
from gamesim.games.simulator import Moment, Simulator
from gamesim.loop import solve
from gamesim.networks.adam import Trained, adam
from gamesim.randomness import Stream
from gamesim.schedules import Constant, Geometric, Power
from gamesim.testing import check_solver

TEAM = Team(state_count=3, action_count=2, discount=0.7)
UNEVEN = ZeroSumStochastic(state_count=3, action_count=(2, 3), discount=0.7, seed=2)
"""Two players whose networks cannot stand in one tensor."""


def parameters(seed: int, *sizes: int, front: tuple[int, ...] = ()) -> tuple[Tensor, ...]:
    """Random layers of these sizes."""
    stream, found = Stream(seed), list[Tensor]()
    for into, out in pairwise(sizes):
        found += [stream.normal((*front, into, out)), stream.normal((*front, 1, out))]
    return tuple(found)


# --- the parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut_off", [False, True])
def test_advantages_are_those_of_the_recursion(cut_off: bool) -> None:
    """Every other episode is cut off in state 1 or 2, or all come to an end of their own."""
    solver = IndependentPPO(discount=0.9, trace=0.8)
    episodes = UNEVEN.rollout(UNEVEN.start(), 6, Stream(1))
    v, alive = Stream(2).normal((1, 3)), episodes.alive[None]
    observed, rewards = (x[..., 0][None] for x in (episodes.observations, episodes.rewards))
    cut = torch.arange(6) % 2 < int(cut_off)
    end = 1 + torch.arange(6) // 4
    after = following(v, observed, alive, cut[None], end[None])
    found, returns = solver._advantages(v, observed, rewards, alive, after)
    plain, earned = torch.zeros_like(rewards), torch.zeros_like(rewards)
    for m, length in enumerate(episodes.lengths.tolist()):
        following_value, advantage = float(v[0, end[m]]) if cut[m] else 0.0, 0.0
        for k in reversed(range(length)):
            here = float(v[0, observed[0, m, k]])
            advantage = float(rewards[0, m, k]) + 0.9 * following_value - here + 0.9 * 0.8 * advantage
            plain[0, m, k], earned[0, m, k], following_value = advantage, advantage + here, here
    torch.testing.assert_close(returns[alive], earned[alive], rtol=1e-12, atol=1e-12)
    played = plain[alive]
    wanted = (played - played.mean()) / played.std(correction=0)
    torch.testing.assert_close(found[alive], wanted, rtol=1e-6, atol=1e-8)
    assert bool((found[~alive] == 0).all())


def test_sums_by_state_and_action_give_the_gradients_of_the_losses_step_by_step() -> None:
    """Both losses written out over the steps of a minibatch, far enough from the old policy that some are clipped."""
    solver = IndependentPPO(minibatches=2, clip=0.2)
    states, actions, m = 3, 2, 9
    episodes = TEAM.rollout(TEAM.start(), m, Stream(4))
    observed, played, alive = episodes.observations[..., 0][None], episodes.actions[..., 0][None], episodes.alive[None]
    advantages, returns = (torch.where(alive, Stream(s).normal(tuple(alive.shape)), 0.0) for s in (5, 6))
    old = Stream(7).normal((1, states, actions)).log_softmax(-1)
    part = (torch.arange(m) % 2)[None, :, None]
    both = solver._minibatches(old, observed * actions + played, part, advantages, returns, alive)
    actor, critic = parameters(8, states, 5, actions, front=(1,)), parameters(9, states, 5, 1, front=(1,))
    clipped = 0
    for b, sums in enumerate(both):
        chosen = alive & (part == b)
        s, a, A, G = (x[chosen] for x in (observed, played, advantages, returns))
        for weights, quick in (
            (actor, lambda p, sums=sums: actor_loss(p, torch.zeros(()), old, sums, 0.2, 0.05).sum()),
            (critic, lambda p, sums=sums: critic_loss(p, sums).sum()),
        ):
            leaves = tuple(x.clone().requires_grad_() for x in weights)
            if weights is actor:
                log_policy = network(leaves)[0].log_softmax(-1)
                ratio = (log_policy[s, a] - old[0, s, a]).exp()
                clipped += int(((ratio - 1).abs() > 0.2).sum())
                surrogate = torch.minimum(ratio * A, ratio.clamp(0.8, 1.2) * A).mean()
                entropy = -(log_policy.exp() * log_policy).sum(-1)[s].mean()
                slow = -surrogate - 0.05 * entropy
            else:
                slow = ((network(leaves)[0, s, 0] - G) ** 2).mean() / 2
            wanted = torch.autograd.grad(slow, leaves)
            found = torch.autograd.grad(quick(leaves), leaves)
            for x, y in zip(found, wanted, strict=True):
                torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-12)
    assert clipped > 3


def test_adam_is_that_of_torch() -> None:
    start = parameters(3, 4, 6, 2)
    theirs = [x.clone().requires_grad_() for x in start]
    optimiser = torch.optim.Adam(theirs, lr=0.01, eps=1e-5)
    ours = Trained(start, *(tuple(map(torch.zeros_like, start)) for _ in range(2)))

    def loss(p: Any) -> Tensor:
        return (network(tuple(p)) - torch.arange(8.0).reshape(4, 2)) ** 2

    for k in range(20):
        optimiser.zero_grad()
        loss(theirs).sum().backward()
        optimiser.step()
        ours = adam(ours, loss, 0.01, k + 1)
    for x, y in zip(ours.parameters, theirs, strict=True):
        torch.testing.assert_close(x, y.detach(), rtol=1e-10, atol=1e-12)


# --- what it learns --------------------------------------------------------------------------------------------------


def best_of(game: Team) -> float:
    """What a team can earn from the initial law at best: one decision maker who chooses all actions."""
    reward, law, v = game.reward[0].flatten(1), game.law.dense(), torch.zeros(game.state_count).double()
    for _ in range(200):
        v = (reward + (law * v).sum(-1)).amax(-1)
    return float((game.initial * v).sum())


def test_a_team_learns_to_play_almost_as_well_as_it_can() -> None:
    """All of 12 seeds go at least 95% of the way from uniform play to the best, and 98% in the mean."""
    result = solve(TEAM, IndependentPPO(), iterations=60, every=60, seeds=12)
    uniform, best = float(TEAM.payoffs_of(TEAM.start())[0]), best_of(TEAM)
    way = (TEAM.payoffs_of(result.policy)[:, 0] - uniform) / (best - uniform)
    assert 0.95 < float(way.min()) <= float(way.max()) <= 1 + 1e-12
    assert float(way.mean()) > 0.98


def test_values_become_those_of_the_policy() -> None:
    """With one action there is nothing to learn but values: those of the two players, 2 and -2 per step for ever."""
    reward = torch.tensor([2.0, -2.0]).double().reshape(2, 1, 1, 1).expand(2, 2, 1, 1)
    game = StochasticGame(reward, torch.full((2, 1, 1, 2), 0.25).double())
    solver = IndependentPPO(step_size=Power(0.1, 0.8), episodes=128)
    state = solve(game, solver, iterations=60, every=60, seeds=4).state
    wanted = torch.tensor([[4.0, 4.0], [-4.0, -4.0]]).double()
    error = values(state.crews[0]) - wanted
    assert float(error.abs().max()) < 0.4, error


def test_a_table_and_deep_networks_learn_dominant_actions() -> None:
    game = gs.make("stochastic/two-state")
    for hidden in ((), (8, 8)):
        result = solve(game, IndependentPPO(hidden=hidden, step_size=0.05), iterations=25, every=25, seeds=3)
        assert float(result.policy[0][..., 0].min()) > 0.9
        assert float(result.policy[1][..., 0].min()) > 0.9


class Relay(Simulator):
    """Five rounds: both earn 1 if the first player names the round's parity, which it sees, and the second says 1."""

    action_counts = (2, 3)
    observation_counts = (5, 1)

    def reset(self, seeds: Sequence[int]) -> Tensor:
        self.round = torch.zeros(len(seeds), dtype=torch.long)
        return self._seen()

    def step(self, actions: Tensor) -> Moment:
        won = (actions[:, 0] == self.round % 2) & (actions[:, 1] == 1)
        self.round = self.round + 1
        never = torch.zeros_like(won)
        return Moment(self._seen(), won[:, None].double().expand(-1, 2), self.round == 5, never)

    def _seen(self) -> Tensor:
        return torch.stack([self.round.clamp(max=4), torch.zeros_like(self.round)], -1)


def test_a_black_box_is_learned_from_its_episodes_alone() -> None:
    result = solve(Relay(), IndependentPPO(step_size=0.03), iterations=40, every=40)
    before, after = result.metric("return")[0].tolist()
    assert before < 1.5
    assert after > 4.5
    check_solver(IndependentPPO(), Relay())


# --- what it promises ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", [TEAM, UNEVEN], ids=["alike", "uneven"])
def test_conformance(game: Any) -> None:
    check_solver(IndependentPPO(), game)


@pytest.mark.parametrize("game", [TEAM, UNEVEN], ids=["alike", "uneven"])
def test_a_seed_learns_in_a_batch_what_it_learns_alone(game: Any) -> None:
    together = solve(game, IndependentPPO(), iterations=4, seeds=5, seed=11)
    for k in range(5):
        alone = solve(game, IndependentPPO(), iterations=4, seed=11 + k)
        for x, y in zip(together.policy, alone.policy, strict=True):
            assert torch.equal(x[k], y)
    first, second = (x[:2] for x in together.policy[0].unbind(-1))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(second[0], second[1])


def test_a_batch_of_parameters_is_each_of_them() -> None:
    two = {
        "step_size": torch.tensor([0.01, 0.03]).double(),
        "entropy": torch.tensor([0.0, 0.1]).double(),
        "clip": torch.tensor([0.1, 0.3]).double(),
        "trace": torch.tensor([0.5, 1.0]).double(),
        "discount": torch.tensor([0.8, 1.0]).double(),
    }
    schedules = ("step_size", "entropy")
    batch = replace(IndependentPPO(), **{n: Constant(x) if n in schedules else x for n, x in two.items()})
    together = solve(UNEVEN, batch, iterations=3, seeds=2)
    for k in range(2):
        each = {n: Constant(float(x[k])) if n in schedules else float(x[k]) for n, x in two.items()}
        alone = solve(UNEVEN, replace(IndependentPPO(), **each), iterations=3, seeds=2)
        for x, y in zip(together.policy, alone.policy, strict=True):
            torch.testing.assert_close(x[:, k], y, rtol=1e-10, atol=1e-12)


def test_learning_begins_at_the_start_that_is_given() -> None:
    start = tuple(torch.tensor([0.8, 0.2]).double().expand(3, 2) for _ in range(2))
    nothing = IndependentPPO(step_size=1e-12)
    result = solve(TEAM, nothing, iterations=2, start=start)
    for x, y in zip(result.policy, start, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=0)


def test_a_resumed_run_goes_on_as_if_nothing_had_been() -> None:
    once = solve(UNEVEN, IndependentPPO(), iterations=6, seeds=2)
    half = solve(UNEVEN, IndependentPPO(), iterations=3, seeds=2)
    state, stream = half.state, Stream([0, 1])
    for t in range(3, 6):
        state = IndependentPPO().step(t, UNEVEN, state, stream.at(t))
    for x, y in zip(once.policy, state.policy, strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"minibatches": 64}, "minibatches: got 64, expected at most episodes, 32"),
        ({"clip": 0.0}, "clip: got 0.0, expected a number above 0"),
        ({"trace": 1.2}, "trace: got 1.2"),
        ({"hidden": "[0]"}, "hidden[0]: got 0, expected a whole number from 1"),
        ({"hidden": "wide"}, "hidden: got 'wide', expected a list"),
        ({"step_size": -0.1}, "step_size: got constant(-0.1)"),
        ({"entropy": Power(-1.0, 0.5)}, "entropy: got power(-1, 0.5, 1)"),
        ({"epochs": 0}, "epochs: got 0"),
    ],
)
def test_parameters_without_meaning_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        gs.make_solver("gamesim.algorithms.independent_ppo:IndependentPPO", **given)
    assert words.replace("'", "") in str(caught.value).replace("'", "")


def test_what_it_cannot_begin_with_is_refused() -> None:
    pure = tuple(torch.tensor([1.0, 0.0]).double().expand(3, 2) for _ in range(2))
    with pytest.raises(InvalidInput, match=r"start\[0\]: .* probabilities above 0"):
        solve(TEAM, IndependentPPO(), start=pure)
    with pytest.raises(InvalidInput, match="EpisodicGame, which IndependentPPO needs; for this game take"):
        solve(gs.make("matrix/matching-pennies"), IndependentPPO())
    assert str(IndependentPPO(entropy=Geometric(0.1, 0.9)).entropy) == "geometric(0.1, 0.9, 0)"

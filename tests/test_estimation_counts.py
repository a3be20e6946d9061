"""Counts of moves against loops over the data; groups, weights and resamples against counting again."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gamesim.data import AgentData
from gamesim.errors import InvalidInput
from gamesim.estimation import counts as module
from gamesim.estimation.counts import Counts, count
from gamesim.estimation.observed import Observed
from gamesim.randomness import Stream


def drawn(e: int = 6, h: int = 4, n: int = 3, s: int = 3, a: int = 2, seed: int = 0) -> AgentData:
    stream = Stream(seed)
    paths = (stream.uniform((e, h + 1, n)) * s).long()
    actions = (stream.uniform((e, h, n)) * a).long()
    rewards = stream.normal((e, h, n))
    return AgentData(paths[:, :-1], actions, rewards, paths[:, 1:], state_count=s, action_count=a)


def same(one: Counts, other: Counts) -> None:
    for x, y in zip(one.parts, other.parts, strict=True):
        torch.testing.assert_close(x, y)


def looped(data: AgentData, weight: Tensor | None = None) -> Counts:
    s, a = data.state_count or 0, data.action_count or 0
    level = torch.zeros(s, a, dtype=torch.float64)
    for i in range(s):
        for j in range(a):
            level[i, j] = data.rewards[(data.states == i) & (data.actions == j)].mean()
    moves = torch.zeros(data.horizon, data.agents, s, a, s, dtype=torch.float64)
    earned, squared = torch.zeros_like(moves[..., 0]), torch.zeros_like(moves[..., 0])
    for e in range(data.episodes):
        w = 1.0 if weight is None else float(weight[e])
        for h in range(data.horizon):
            for n in range(data.agents):
                at = h, n, int(data.states[e, h, n]), int(data.actions[e, h, n])
                moves[(*at, int(data.next_states[e, h, n]))] += w
                above = float(data.rewards[e, h, n] - level[at[2:]])
                earned[at] += w * above
                squared[at] += w * above**2
    return Counts(moves, earned, squared, level)


def test_counts_are_those_of_a_loop() -> None:
    data = drawn()
    found = count(data)
    same(found, looped(data))
    assert float(found.total) == len(data)
    torch.testing.assert_close(found.flow, data.flow)


def test_weighted_counts_are_a_batch_of_loops_and_of_repeated_episodes() -> None:
    data = drawn()
    weights = torch.tensor([[1.0, 1, 1, 1, 1, 1], [2, 0, 1, 0, 3, 0], [0.5, 0, 0, 0, 0, 2]], dtype=torch.float64)
    found = count(data, weights)
    for i, weight in enumerate(weights):
        same(found[i], looped(data, weight))
    same(found[0], count(data))
    again = count(data.subset(episodes=[0, 0, 2, 4, 4, 4]))
    torch.testing.assert_close(found[1].moves, again.moves)
    earned = again.earned + again.visits * (again.level - found.level)  # counted from another level
    torch.testing.assert_close(found[1].earned, earned)


def test_groups_add_up_their_agents() -> None:
    data = drawn(n=4)
    labels = torch.tensor([[0, 1, 1, 0], [2, 2, 2, 2]])
    found = count(data).grouped(one_hot(labels, 3).mT.double())
    each = count(data)
    torch.testing.assert_close(found.moves[0, :, 1], each.moves[:, 1] + each.moves[:, 2])
    torch.testing.assert_close(found.earned[1, :, 2], each.earned.sum(1))
    assert float(found.moves[1, :, :2].sum()) == 0
    torch.testing.assert_close(found.flow[0, :, 0], (data.flow[:, 0] + data.flow[:, 3]) / 2)
    assert bool((found.flow[1, :, 0] == 0).all())  # nobody there


def test_more_cells_than_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELLS", 4 * 3 * 3 * 2 * 3)
    count(drawn())
    with pytest.raises(InvalidInput, match="data: got '2 x 4 x 3 x 3 x 2 x 3'"):
        count(drawn(), torch.ones(2, 6, dtype=torch.float64))


def test_places_are_steps_and_agents() -> None:
    data = drawn()
    seen = Observed.of(count(data))
    assert seen.moves.shape == (12, 3, 2, 3)
    torch.testing.assert_close(seen.moves[1 * 3 + 2], count(data).moves[1, 2])
    assert float(seen.total) == len(data)
    pooled = seen.moves.sum(0) / seen.visits.sum(0)[..., None]
    torch.testing.assert_close(seen.weights[5], 1 / (1 - pooled.square().sum(-1)))


def test_rewards_tell_only_if_they_vary_within_a_pair() -> None:
    data = drawn(e=30)
    table = torch.tensor([[1.0, 2.0], [0.0, -3.0], [5.0, 5.0]], dtype=torch.float64)
    fixed = table[data.states.long(), data.actions.long()]

    def tells(rewards: Tensor) -> bool:
        parts = data.states, data.actions, rewards, data.next_states
        return Observed.of(count(AgentData(*parts, state_count=3, action_count=2))).rewards_tell

    assert tells(data.rewards)
    assert not tells(fixed)
    assert not tells(0 * fixed)
    assert not tells(0 * fixed + 1e12)
    assert not tells(1e12 * fixed)
    assert not tells(-0.0 * fixed.abs())
    assert tells(fixed + 0.01 * data.rewards)
    assert tells(1e12 * (fixed + 0.01 * data.rewards))
    assert tells(1e9 + 0.01 * data.rewards)

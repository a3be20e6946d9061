"""Latent worlds, and any game in words, as other libraries meet them: their own checks, and the laws behind."""

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env, data_equivalence
from pettingzoo.test import parallel_api_test, parallel_seed_test

import gamesim as gs
from gamesim.envs.latent.many_actors import ManyActors
from gamesim.envs.latent.needle import Needle
from gamesim.envs.latent.trap import Trap
from gamesim.envs.sets.spread import Spread
from gamesim.envs.wrappers.latent import Actors, Planning
from gamesim.envs.wrappers.simulators import as_simulator
from gamesim.envs.wrappers.talking import Talking
from gamesim.envs.wrappers.text import Spoken, as_text, as_text_aec
from gamesim.envs.wrappers.walking import Walking
from gamesim.errors import InvalidInput
from gamesim.games import MatrixGame, StochasticGame
from gamesim.games.hierarchy import Hierarchy
from gamesim.games.latent import LatentWorld
from gamesim.planning import Bail
from gamesim.planning.language.reading import read_back
from gamesim.planning.planner import Planner
from gamesim.randomness import Stream

NEEDLE = Needle(boxes=4)
TEAM = ManyActors(actors=3, boxes=2)
DILEMMA = MatrixGame.bimatrix([[3, 0], [5, 1]], [[3, 5], [0, 1]], actions=[["cooperate", "defect"]] * 2)


def walk() -> StochasticGame:
    stream = Stream(0)
    table = stream.uniform((3, 2, 3, 3))
    p = 0.9 * table / table.sum(-1, keepdim=True)
    return StochasticGame(
        stream.normal((2, 3, 2, 3)), p, torch.tensor([0.2, 0.3, 0.5]), states=("home", "wood", "hill")
    )


class Corridor(gymnasium.Env[Any, Any]):
    """Right pays at the end."""

    observation_space = gymnasium.spaces.Discrete(3)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.at = 0
        return 0, {}

    def step(self, action: Any) -> Any:
        self.at = min(2, self.at + int(action))
        return self.at, float(self.at == 2), self.at == 2, False, {}


@pytest.mark.parametrize("episodes", [1, 3])
@pytest.mark.parametrize("name", ["needle", "team"])
def test_gymnasium_checks_planning(name: str, episodes: int) -> None:
    check_env(Planning({"needle": NEEDLE, "team": TEAM}[name], episodes), skip_render_check=True)


@pytest.mark.parametrize("style", [None, "raw", "counts"])
def test_gymnasium_checks_talking(style: Any) -> None:
    check_env(Talking(NEEDLE, 3, style), skip_render_check=True)


def test_pettingzoo_checks_actors(capsys: Any) -> None:
    parallel_api_test(Actors(TEAM, 3), num_cycles=50)
    parallel_seed_test(lambda: Actors(TEAM, 3), num_cycles=50)
    assert "Passed" in capsys.readouterr().out


SPOKEN: dict[str, Any] = {
    "dilemma": lambda: as_text(DILEMMA, rounds=5),
    "chicken": lambda: as_text(gs.make("matrix/chicken")),
    "walk": lambda: as_text(walk(), longest=20),
    "spread": lambda: as_text(Spread(agents=2, steps=5)),
    "corridor": lambda: as_text(as_simulator(Corridor), longest=20),
    "team": lambda: as_text(TEAM, episodes=3),
    "team told": lambda: as_text(TEAM, episodes=3, style="summary"),
}


@pytest.mark.parametrize("name", SPOKEN)
def test_pettingzoo_checks_what_is_spoken(name: str, capsys: Any) -> None:
    parallel_api_test(SPOKEN[name](), num_cycles=30)
    parallel_seed_test(SPOKEN[name], num_cycles=30)
    assert "Passed" in capsys.readouterr().out


def test_taking_turns() -> None:
    # api_test wants observations with a dtype, which text has not
    env = as_text_aec(DILEMMA, rounds=3, agents=["player_1", "player_2"])
    env.reset(seed=0)
    said = list[str]()
    for agent in env.agent_iter():
        observed, _, over, _, _ = env.last()
        assert env.observation_space(agent).contains(observed)
        said.append(observed)
        env.step(None if over else "cooperate" if agent == "player_1" else "I defect")
    assert len(said) == 8
    assert said[2] == (
        "Round 1. You chose cooperate, player 2 chose defect; you were paid 0. Round 2: choose cooperate or defect."
    )
    assert said[-1].endswith("you were paid 5. The game is over.")


@pytest.mark.parametrize("world", [NEEDLE, Trap()], ids=["needle", "trap"])
def test_an_expert_gets_what_it_is_worth(world: LatentWorld) -> None:
    env = Planning(world)
    paid, regret = [], 0.0
    for seed in range(400):
        env.reset(seed=seed)
        over, total = False, 0.0
        while not over:
            expert = world.experts(env.run.h, env.run.task, env.run.belief)[env.run.latent]
            _, reward, over, _, info = env.step(int(expert))
            total += float(reward)
        paid.append(total)
        regret += info["regret"]
    assert regret == 0
    mean = float((world.truth_law * world.value).sum())
    assert abs(np.mean(paid) - mean) < 4 * np.std(paid) / math.sqrt(len(paid)) + 1e-9


def test_one_latent_for_all_episodes_of_a_run() -> None:
    env = Planning(Needle(boxes=4, prize=1.0), episodes=6)
    for seed in range(20):
        env.reset(seed=seed)
        right = int(env.run.latent)
        reports = [env.step(right)[0] for _ in range(6)]
        n = len(env.run.world.observations)
        prize = env.run.world.observations.index(f"box {right + 1} holds the prize")
        # the report that ended an episode is seen beside the first of the next one, and the last by itself
        assert [r.tolist() for r in reports] == [[0, 0, 0, prize]] * 5 + [[0, 1, prize, prize]]
        assert env.reset()[0].tolist() == [0, 0, 0, n]
    assert {int(Planning(NEEDLE).reset(seed=s)[0]) for s in range(3)} == {0}


def test_what_is_hidden_is_told_at_the_end_alone() -> None:
    env = Planning(Needle(boxes=4, truth="box 3"), episodes=2)
    assert env.reset(seed=0)[1] == {"task": "find the prize", "report": "nothing yet"}
    assert env.step(0)[4] == {"task": "find the prize", "report": "nothing yet"}
    info = env.step(2)[4]
    assert (info["latent"], info["regret"]) == ("box 3", 0.5)
    with pytest.raises(InvalidInput, match="reset\\(\\) first"):
        env.step(0)
    env.reset()
    with pytest.raises(InvalidInput, match="action: got 9"):
        env.step(9)


def test_a_planner_reads_what_is_told() -> None:
    """The text view, read back, gives the exact planner the belief that the run has."""
    env, planner = Talking(NEEDLE, 6, "raw"), Bail()
    said, _ = env.reset(seed=5)
    for episode in range(6):
        told = read_back(NEEDLE, said[said.index("History: ") :])
        assert len(told.ended) == episode
        memory = belief_after(planner, told.history)
        torch.testing.assert_close(memory.belief.log, env.run.belief.log)
        said = env.step(NEEDLE.subgoals[episode % 5])[0]
    assert said.endswith("This was the last decision.")


def belief_after(planner: Planner, past: Any) -> Any:
    memory = planner.begin(NEEDLE, ())
    for i in range(past.kept):
        memory = planner.meet(NEEDLE, memory, past.tasks[i], past.first[i], Stream(0))
        if i < past.kept - 1:
            memory = planner.hear(NEEDLE, 0, memory, past.subgoals[i, 0], past.observations[i, 0])
    return memory


def test_words_that_name_nothing_are_replaced_and_told() -> None:
    env = Talking(NEEDLE, 40)
    env.reset(seed=0)
    for reply in ("", "the moon", "open box 1 or open box 2", "x" * 20_000, "\udc80"):
        said, _, _, _, info = env.step(reply)
        assert info["invalid"]
        assert said.startswith("That names no subgoal; instead: read the sign\nReport: the sign points at box")
    said, _, _, _, info = env.step("**Open box 2**")
    assert not info["invalid"]
    assert said.startswith("Report: box 2")


def test_a_repeated_game_word_for_word() -> None:
    env = as_text(DILEMMA, rounds=2)
    first, infos = env.reset(seed=0)
    assert first["1"] == (
        "You are player 1, one of 2 players who all choose at the same time, for 2 rounds. "
        "If you choose cooperate and player 2 chooses cooperate, you are paid 3. "
        "If you choose cooperate and player 2 chooses defect, you are paid 0. "
        "If you choose defect and player 2 chooses cooperate, you are paid 5. "
        "If you choose defect and player 2 chooses defect, you are paid 1. "
        "Round 1: choose cooperate or defect."
    )
    assert infos == {"1": {"invalid": False}, "2": {"invalid": False}}
    said, paid, *_ = env.step({"1": "cooperate", "2": "defect"})
    assert (
        said["2"]
        == "Round 1. You chose defect, player 1 chose cooperate; you were paid 5. Round 2: choose cooperate or defect."
    )
    assert paid == {"1": 0.0, "2": 5.0}
    said, _, ended, _, infos = env.step({"1": "defect", "2": "what?"})
    assert said["1"].startswith("Round 2. You chose defect, player 2 chose ")
    assert "That names no action, and one was drawn." in said["2"]
    assert (infos["2"]["invalid"], infos["1"]["invalid"]) == (True, False)
    assert said["1"].endswith("The game is over.")
    assert ended == {"1": True, "2": True}
    assert env.agents == []
    with pytest.raises(InvalidInput, match="reset\\(\\) first"):
        env.step({})


def test_states_and_numbers_are_said() -> None:
    first = as_text(walk()).reset(seed=0)[0]["1"]
    assert any(f"State: {name}." in first for name in ("home", "wood", "hill"))
    assert "choose nothing, left, right, down or up." in SPOKEN["spread"]().reset(seed=0)[0]["agent_0"]
    env = SPOKEN["corridor"]()
    assert "You see 1." in env.reset(seed=0)[0]["1"]
    env.step({"1": "action 2"})
    said, paid, ended, *_ = env.step({"1": "action 2"})
    assert said["1"] == "Step 2. You chose action 2; you were paid 1. You see 3. The game is over."
    assert (paid, ended) == ({"1": 1.0}, {"1": True})


def test_the_same_seed_says_the_same() -> None:
    for make in (lambda: Talking(NEEDLE, 5), lambda: Planning(TEAM, 4)):
        plays = []
        for _ in range(2):
            env = make()
            env.action_space.seed(3)
            plays.append([env.reset(seed=7), *(env.step(env.action_space.sample()) for _ in range(4))])
        assert data_equivalence(*plays)


def corridor() -> Hierarchy:
    """Four cells in a row; an actor that goes to either end, and slips in a quarter of its steps."""
    eye = torch.eye(4, dtype=torch.float64)
    left, right = eye[[0, 0, 1, 2]], eye[[1, 2, 3, 3]]
    kernel = torch.stack([0.75 * left + 0.25 * right, 0.25 * left + 0.75 * right])
    actor = torch.zeros(3, 4, 2, dtype=torch.float64)
    actor[0, :, 0] = actor[1, :, 1] = actor[2, :, 0] = 1
    return Hierarchy(kernel=kernel, actor=actor, steps=5, subgoals=("left end", "right end", "nowhere"))


def test_an_actor_reaches_its_goal_as_often_as_the_compiled_level_says() -> None:
    hierarchy, goals = corridor(), torch.tensor([0, 3, -1])
    env = Walking(hierarchy, goals)
    check_env(env, skip_render_check=True)
    reached: dict[tuple[int, int], list[float]] = {}
    for seed in range(1500):
        observed, info = env.reset(seed=seed)
        subgoal, first = observed.tolist()
        assert info["subgoal"] != "nowhere"
        over = False
        while not over:
            observed, paid, over, _, _ = env.step(int(hierarchy.actor[subgoal, observed[1]].argmax()))
        reached.setdefault((subgoal, first), []).append(paid)
    chances = hierarchy.reaches(goals.clamp(min=0))[0]
    assert len(reached) == 8
    for (subgoal, first), paids in reached.items():
        p = float(chances[first, subgoal])
        assert abs(np.mean(paids) - p) < 4 * math.sqrt(p * (1 - p) / len(paids))
    with pytest.raises(InvalidInput, match="reset\\(\\) first"):
        env.step(0)
    for bad in (torch.tensor([0, 4, -1]), torch.tensor([-1, -1, -1]), torch.tensor([0, 1])):
        with pytest.raises(InvalidInput, match="goals"):
            Walking(hierarchy, bad)
    with pytest.raises(InvalidInput, match="initial"):
        Walking(hierarchy, goals, torch.tensor([0.5, 0.5, 0.5, 0.5]))


def test_what_cannot_be_worn_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a latent world"):
        Planning(DILEMMA)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="an agent for each actor"):
        Talking(TEAM)
    with pytest.raises(InvalidInput, match="3 different names"):
        Actors(TEAM, agents=["a", "a", "b"])
    with pytest.raises(InvalidInput, match="rounds: got 3"):
        as_text(NEEDLE, rounds=3)
    with pytest.raises(InvalidInput, match="episodes, style"):
        as_text(DILEMMA, episodes=2)
    with pytest.raises(InvalidInput, match="style: got 'long'"):
        Talking(NEEDLE, style="long")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="actions=discrete"):
        as_text(Spread(agents=2, actions="continuous"))
    assert isinstance(as_text(DILEMMA), Spoken)

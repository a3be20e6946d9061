"""Tournaments: closed forms of automata against each other, learners told what they should be, and the command."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from gamesim import make, make_solver
from gamesim.cli import main
from gamesim.cli import tournament as _  # noqa: F401  the command
from gamesim.envs.latent.automata import automaton
from gamesim.envs.latent.opponents import Opponents
from gamesim.errors import InvalidInput
from gamesim.experiments.bail_opponents import BailOpponents
from gamesim.games import MatrixGame
from gamesim.planning import MAP, Bail
from gamesim.planning.learners import Learner
from gamesim.planning.seats import Entrant, Machine, Planned, turned
from gamesim.planning.tournament import Standings, play, tournament
from gamesim.randomness import Stream

DILEMMA = make("matrix/prisoners-dilemma")


def machines(names: Sequence[str], **more: Any) -> list[Entrant]:
    return [Machine(name, partial(automaton, name), **more) for name in names]


def supposing(**parameters: Any) -> Any:
    return lambda game: Opponents(game=game, **parameters)


def held(game: Any, entrants: Sequence[Entrant], **more: Any) -> Standings:
    return tournament(game, entrants, **({"rounds": 20, "seeds": 2} | more))


def test_automata_get_of_each_other_what_their_rules_say() -> None:
    found = held(DILEMMA, machines(["TFT", "ALLD", "ALLC", "GRIM"]))
    tft, alld, allc = (9 * 1 + 0) / 10, (9 * 1 + 5) / 10, 0.0
    wanted = torch.tensor([[3, tft, 3, 3], [alld, 1, 5, alld], [3, allc, 3, 3], [3, tft, 3, 3]]).double()
    assert torch.allclose(found.payoffs, wanted[..., None].expand(4, 4, 2))
    assert [found.names[i] for i in found.ranking] == ["TFT", "GRIM", "ALLC", "ALLD"]
    # always defecting would have got 5 of who cooperated throughout, and 1.4 of tit for tat's play against ALLD
    assert torch.allclose(found.regrets[2, 0], torch.tensor([2.0, 2.0]).double())
    assert torch.allclose(found.regrets[0, 1], torch.tensor([0.1, 0.1]).double())
    assert float(found.regrets[1].abs().max()) == 0


def test_one_match_remembers_and_the_next_begins_anew() -> None:
    together = held(DILEMMA, machines(["TFT", "ALLD"]), rounds=20, match=20)
    apart = held(DILEMMA, machines(["TFT", "ALLD"]), rounds=20, match=1)
    assert float(together.payoffs[0, 1, 0]) == pytest.approx(19 / 20)
    assert float(apart.payoffs[0, 1, 0]) == 0


def test_seats_matter_where_the_game_says_so() -> None:
    game = MatrixGame.bimatrix([[1, 2, 3], [4, 5, 6]], [[10, 20, 30], [40, 50, 60]])
    found = held(game, machines(["always 1", "always 2"]))
    # (always 1) against (always 2): 2 in the first seat, and 40 in the second, where the other plays the second row
    assert float(found.payoffs[0, 1, 0]) == (2 + 40) / 2
    assert float(found.payoffs[1, 0, 0]) == (4 + 20) / 2
    assert float(found.payoffs[0, 0, 0]) == (1 + 10) / 2
    assert torch.equal(turned(turned(game)).payoffs, game.payoffs)


def test_planners_earn_what_the_expert_does_of_a_type_that_they_know() -> None:
    sure = Planned("sure", Bail(), supposing(types=("TFT",)))
    found = held(DILEMMA, [sure, *machines(["TFT"])], rounds=40)
    assert torch.allclose(found.payoffs[0, 1], torch.tensor([3.2, 3.2]).double())
    assert torch.allclose(found.payoffs[1, 0], torch.tensor([2.7, 2.7]).double())


def test_planners_find_out_who_they_meet_from_either_seat() -> None:
    game = make("matrix/matching-pennies")
    types = ("always heads", "always tails")
    found = held(game, [Planned("map", MAP(), supposing(types=types)), *machines(types)], rounds=100)
    assert bool((found.payoffs[0, 1:] > 0.9).all())


@pytest.mark.parametrize(
    ("solver", "wanted"),
    [
        (make_solver("ftrl", step_size=0.1), torch.softmax(torch.tensor([0.6, 1.0]).double(), -1)),
        (make_solver("policy-gradient", step_size=0.1), torch.tensor([0.3, 0.7]).double()),
    ],
    ids=["ftrl", "policy-gradient"],
)
def test_full_information_learners_are_told_payoffs_against_what_was_played(solver: Any, wanted: torch.Tensor) -> None:
    """Against who cooperates twice scores move by twice the payoff vector (3, 5), whatever they play themselves."""
    seat = Learner("it", solver).seated(DILEMMA)
    state = seat.begin((1,))
    for t in range(2):
        own = seat.act(t, t, state, Stream([0], t))
        state = seat.learn(t, t, state, own, torch.zeros(1, dtype=torch.long), Stream([0], t))
    assert torch.allclose(state.policy[0].flatten(), wanted)


@pytest.mark.parametrize(
    "solver",
    [
        make_solver("ftrl", feedback="realised"),
        make_solver("ftrl", feedback="bandit(0.2)"),
        make_solver("ftrl", leader="optimistic"),
        make_solver("policy-gradient"),
        make_solver("policy-gradient", feedback="reinforce(0.3)"),
        make_solver("online-mirror-descent"),
        make_solver("exp3"),
        make_solver("ucb"),
        make_solver("thompson"),
        make_solver("independent-q-learning", episodes=1, exploration=0.2),
    ],
    ids=lambda s: f"{type(s).__name__}-{type(getattr(s, 'feedback', None)).__name__}",
)
def test_what_a_learner_plays_is_what_it_learns_from(solver: Any) -> None:
    """The step that learns draws the very action that was played: asked twice, it says the same."""
    seat: Any = Learner("it", solver).seated(DILEMMA)
    state, other = seat.begin((16,)), torch.arange(16) % 2
    for t in range(6):
        luck = Stream(list(range(16)), t)
        own = seat.act(t, t, state, luck.at(t))
        view = seat.facing(other)
        state = solver.step(t, view, state, luck.at(t).aside())
        assert own.shape == (16,)
        if view.played:
            assert torch.equal(view.played[-1], own)
    assert bool(state.policy[0].isfinite().all())


def test_learners_have_little_regret_against_a_coin() -> None:
    game, many = MatrixGame.zero_sum([[2, 0], [0, 1]]), {"rounds": 300, "match": 300, "seeds": 4}
    ftrl, exp3 = (Learner(name, make_solver(name)) for name in ("ftrl", "exp3"))
    coin, stubborn = machines(["RAND", "always 2"])
    for learner in (ftrl, exp3):
        found = held(game, [learner, coin], **many)
        assert float(found.regrets[0, 1].mean()) < 0.15
    blind = held(game, [stubborn, coin], **many)
    assert float(blind.regrets[0, 1].mean()) > 0.2  # 0.5 in the first seat, nothing in the second


def test_a_seed_alone_gets_what_it_gets_among_others() -> None:
    entrants = [Planned("bail", Bail(), supposing()), Learner("exp3", make_solver("exp3")), *machines(["RAND"])]
    many = held(DILEMMA, entrants, seeds=3, seed=4)
    alone = held(DILEMMA, entrants, seeds=1, seed=6)
    assert torch.equal(many.payoffs[..., 2:], alone.payoffs)


def test_intervals_are_those_of_student() -> None:
    payoffs = torch.tensor([1.0, 2.0, 3.0, 6.0]).double().expand(1, 1, 4)
    found = Standings(("it",), payoffs, payoffs, 10, 10).plain()["entrants"][0]["payoff"]
    from scipy.stats import t

    assert found["mean"] == 3.0
    assert found["half"] == pytest.approx(t.ppf(0.975, 3) * payoffs[0, 0].std() / 2)


def test_what_is_no_tournament_is_refused() -> None:
    with pytest.raises(InvalidInput, match="names that differ"):
        held(DILEMMA, machines(["TFT", "TFT"]))
    with pytest.raises(InvalidInput, match="multiple of match"):
        held(DILEMMA, machines(["TFT"]), rounds=15)
    with pytest.raises(InvalidInput, match="two players"):
        held(make("matrix/jordan"), machines(["TFT"]))
    with pytest.raises(InvalidInput, match="learns from what was played"):
        Learner("nash-q", make_solver("nash-q")).seated(DILEMMA)
    with pytest.raises(InvalidInput, match="episodes=1"):
        Learner("q", make_solver("independent-q-learning")).seated(DILEMMA)


def test_play_is_of_two_seats() -> None:
    defector, cooperator = machines(["ALLD", "ALLC"])
    first, second = defector.seated(DILEMMA), cooperator.seated(turned(DILEMMA))
    assert play(DILEMMA, first, second, 4, 2, 1).payoffs.tolist() == [[5.0, 0.0]]


COMMAND = ["tournament", "matrix/prisoners-dilemma", "--rounds", "20", "--seeds", "3"]


def test_the_command_prints_writes_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entrants = ["bail", "ftrl(step_size=0.2)", "tit-for-tat", "always defect"]
    typed = [part for name in entrants for part in ("--entrant", name)]
    outs = [str(tmp_path / f"table.{ending}") for ending in ("json", "csv", "svg")]
    assert main([*COMMAND, *typed, *[part for path in outs for part in ("--out", path)], "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in said["entrants"]] == entrants
    assert sorted(each["rank"] for each in said["entrants"]) == [1, 2, 3, 4]
    assert said["entrants"][3]["against"][2]["mean"] == pytest.approx(1.4)
    assert json.loads(Path(outs[0]).read_text())["entrants"] == said["entrants"]
    assert len(Path(outs[1]).read_text().splitlines()) == 1 + 4 * 4 * 3
    assert "<svg" in Path(outs[2]).read_text()
    assert main([*COMMAND, *typed]) == 0
    assert "tit-for-tat" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--entrant", "bial"], "did you mean"),
        (["--entrant", "bail(x=1)"], "parameter of bail"),
        (["--entrant", "nash-q"], "learns from what was played"),
        (["--entrant", "bail", "--type", "TOFT"], "types"),
        (["--entrant", "TFT", "--match", "7"], "multiple of match"),
        (["--entrant", "TFT", "--out", "table.gif"], "ends in"),
        (["--entrant", "TFT", "--out", "nowhere/table.png"], "exists"),
    ],
    ids=["name", "parameter", "family", "type", "match", "ending", "folder"],
)
def test_the_command_refuses_in_a_line(more: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, *more]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_the_experiment_in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    from gamesim.experiments import bail_opponents

    monkeypatch.setitem(bail_opponents.EFFORT, "quick", ((4, 8, 16), 8))  # type: ignore[arg-type]
    monkeypatch.setattr(bail_opponents, "TRUTHS", ("ALLC", "TFT"))
    monkeypatch.setattr(
        bail_opponents,
        "SOLVERS",
        {k: bail_opponents.SOLVERS[k] for k in ("naive", "argmax", "deluded", "argmax, exploring")},
    )
    study = BailOpponents().run("quick", lambda text: None)
    verdicts = {claim.id: claim.verdict for claim in study.claims}
    assert verdicts["experts"] == verdicts["bail-equilibrium"] == verdicts["map-exploitable"] == "holds"
    assert verdicts["bail-exploitable"] == "holds"
    assert len(study.data) == 2 * 4 * 3 * 8

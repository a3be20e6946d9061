"""Opponents as latents: automata, exact best responses, the filter, and what who knows the planner gains."""

import itertools
from typing import Any

import pytest
import torch

from gamesim import make
from gamesim.algorithms.bail import BAIL
from gamesim.envs.latent.automata import Automaton, automaton, usual
from gamesim.envs.latent.opponents import Opponents
from gamesim.errors import InvalidInput
from gamesim.games import MatrixGame
from gamesim.games.latent_tables import TabularWorld
from gamesim.loop import solve
from gamesim.planning import MAP, Bail, PosteriorSampling
from gamesim.planning.exploiting import Match, exploit, laws, machine_policy
from gamesim.randomness import Stream

PURE = ("always rock", "always paper", "always scissors")


def roshambo(**more: Any) -> Opponents:
    return Opponents(game="matrix/rock-paper-scissors", types=PURE, **more)


def certain(world: Opponents, y: int) -> Opponents:
    """The same world for who is sure of type y."""
    chances = [0.0] * len(world.latents)
    chances[y] = 1.0
    return Opponents(game=world.game, types=world.types, rounds=world.rounds, chances=tuple(chances))


def test_experts_of_the_prisoners_dilemma_get_the_known_values() -> None:
    world = Opponents()
    assert world.latents == ("ALLC", "ALLD", "TFT", "GRIM", "WSLS", "RAND")
    cooperating = 9 * 0.98 * 0.6 + 0.98 + 0.02 * 0.2  # and the last round to oneself
    exact = [10 * (0.98 + 0.02 * 0.2), 10 * (0.98 * 0.2 + 0.02), cooperating, cooperating, 10 * 0.6]
    assert world.value[[0, 1, 2, 3, 5]].tolist() == pytest.approx(exact, abs=1e-12)
    assert world.value.tolist() == pytest.approx([9.84, 2.16, 6.28, 6.28, 6.36, 6.0], abs=0.005)
    assert world.prior.tolist() == pytest.approx([0.1, 0.15, 0.3, 0.3, 0.1, 0.05])
    assert world.coverage == pytest.approx(6.0)


def by_hand(world: Opponents, z: int, y: int) -> float:
    """What the expert of y gets of machine z, over all sequences of what machine z does."""
    total = 0.0
    for moves in itertools.product(range(world.law.shape[-1]), repeat=world.rounds):
        chance, paid, q, r = 1.0, 0.0, 0, 0
        for h, b in enumerate(moves):
            a = int(world.replies[h, y, r])
            chance *= float(world.law[z, q, b])
            paid += float(world.payment[a, b])
            q, r = int(world.successor[z, q, a, b]), int(world.successor[y, r, a, b])
        total += chance * paid
    return total


def test_crossed_values_are_those_of_all_sequences_and_no_reply_beats_the_expert() -> None:
    world = Opponents(rounds=4, tremble=0.1)
    cross = world.cross()
    for z, y in itertools.product(range(6), repeat=2):
        assert float(cross[z, y]) == pytest.approx(by_hand(world, z, y), abs=1e-12)
    assert torch.allclose(cross.diagonal(), world.value)
    assert bool((cross <= world.value[:, None] + 1e-12).all())


def test_eta_is_that_of_all_histories() -> None:
    world = Opponents(rounds=3, tremble=0.1)
    chances = torch.zeros(6, 4**3, dtype=torch.float64)
    for z in range(6):
        for i, moves in enumerate(itertools.product(range(2), range(2), repeat=3)):
            chance, q = 1.0, 0
            for a, b in zip(moves[::2], moves[1::2], strict=True):
                chance *= 0.5 * float(world.law[z, q, b])
                q = int(world.successor[z, q, a, b])
            chances[z, i] = chance
    assert torch.allclose(chances.sum(-1), torch.ones(6).double())
    apart = 1 - (chances[:, None] * chances).sqrt().sum(-1)
    assert world.distinguishability() == pytest.approx(float((apart + torch.eye(6)).min()), abs=1e-12)


def test_the_filter_is_bayes_rule_over_histories() -> None:
    world, luck = Opponents(tremble=0.1), Stream([5, 6, 7])
    latent = torch.tensor([2, 3, 5])
    belief, weights, states = world.believe((3,)), world.prior.expand(3, 6).clone(), torch.zeros(3, 6).long()
    for t in range(3):
        hidden, report = world.open(latent, luck.at(t).uniform((3, 2)))
        belief, states = world.meet(belief, report), torch.zeros_like(states)
        for h in range(world.horizon):
            u = luck.at(100 * t + h).uniform((3, 3))
            subgoal = (u[:, :1] < 0.5).long()
            hidden, report = world.move(h, latent, hidden, subgoal, u[:, 1:])
            belief = world.update(h, belief, subgoal, report)
            for run, z in itertools.product(range(3), range(6)):
                a, b = divmod(int(report[run]) - 1, 2)
                assert a == int(subgoal[run, 0])
                weights[run, z] *= world.law[z, states[run, z], b]
                states[run, z] = world.successor[z, states[run, z], a, b]
            assert torch.allclose(belief.posterior, weights / weights.sum(-1, keepdim=True), atol=1e-10)
            assert torch.equal(belief.inside[0], states)
            assert torch.equal(hidden, states.gather(1, latent[:, None])[:, 0])


def test_losses_add_up_to_what_experts_miss() -> None:
    """The performance difference: on average over play of z, the losses of y's expert are J_z(z) - J_z(y)."""
    world = Opponents(rounds=5)
    y, z, many = 4, 2, 4000
    sure, task = certain(world, y), torch.zeros(many).long()
    latent, luck = torch.full((many,), z), Stream(3)
    belief = sure.meet(sure.believe((many,)), task)
    hidden, _ = world.open(latent, luck.uniform((many, 2)))
    lost, paid = torch.zeros(many).double(), torch.zeros(many).double()
    for h in range(5):
        subgoal = world.experts(h, task, belief)[:, y]
        lost += world.losses(h, task, latent, belief, subgoal)
        hidden, report = world.move(h, latent, hidden, subgoal, luck.uniform((many, 2)))
        paid += world.rewards(h, task, report)
        belief = sure.update(h, belief, subgoal, report)
    wanted = float(world.value[z] - world.cross()[z, y])
    assert abs(float(lost.mean()) - wanted) < 4 * float(lost.std()) / many**0.5
    assert abs(float(paid.mean()) - float(world.cross()[z, y])) < 4 * float(paid.std()) / many**0.5


def test_the_same_world_by_its_tables_has_the_same_experts() -> None:
    """What tables of states and reports give, by the general filter and dynamic programme, is what machines give."""
    world = Opponents(rounds=5, tremble=0.1)
    assert torch.allclose(world.transition.sum(-1), torch.ones(()).double())
    assert torch.allclose(TabularWorld.value.func(world), world.value)  # type: ignore[attr-defined]
    assert TabularWorld.distinguishability(world) == pytest.approx(world.distinguishability(), abs=1e-12)
    luck, task, latent = Stream(8), torch.zeros(64).long(), torch.arange(64) % 6
    start = torch.zeros(64).long()
    mine, theirs = world.meet(world.believe((64,)), start), TabularWorld.meet(world, world.believe((64,)), start)
    hidden, _ = world.open(latent, luck.uniform((64, 2)))
    for h in range(5):
        assert torch.equal(world.experts(h, task, mine), TabularWorld.experts(world, h, task, theirs))
        subgoal = (luck.uniform((64, 1)) < 0.5).long()
        wanted = TabularWorld.losses(world, h, task, latent, theirs, subgoal)
        assert torch.allclose(world.losses(h, task, latent, mine, subgoal), wanted, atol=1e-12)
        hidden, report = world.move(h, latent, hidden, subgoal, luck.uniform((64, 2)))
        mine = world.update(h, mine, subgoal, report)
        theirs = TabularWorld.update(world, h, theirs, subgoal, report)
        assert torch.allclose(mine.log, theirs.log, atol=1e-10)


def test_classics_do_what_their_names_say() -> None:
    game = make("matrix/prisoners-dilemma")
    says = {
        "TFT": ([0, 1, 0, 0], [0, 0, 1, 0]),
        "GRIM": ([0, 1, 0, 0], [0, 0, 1, 1]),
        "WSLS": ([0, 1, 1, 0], [0, 0, 1, 0]),
        "ALLD": ([0, 1, 0, 1], [1, 1, 1, 1]),
        "ALLC": ([1, 1, 1, 1], [0, 0, 0, 0]),
        "best-reply": ([0, 1, 0, 1], [1, 1, 1, 1]),
    }
    for name, (other, own) in says.items():
        machine, state = automaton(name, game), 0
        for a, b in zip(other, own, strict=True):
            assert float(machine.output[state, b]) == 1.0, name
            state = int(machine.successor[state, a, b])


def test_types_of_any_game() -> None:
    game = make("matrix/rock-paper-scissors")
    assert usual(game)[:4] == (*PURE, "uniform")
    myopic = automaton("best-reply", game)
    assert float(myopic.output[int(myopic.successor[0, 0, 0]), 1]) == 1.0  # paper after rock
    assert automaton("mirror", game).states == ("rock", "paper", "scissors")
    pursuit = make("matrix/chicken")
    assert torch.allclose(automaton("equilibrium", pursuit).output, torch.tensor([[2 / 3, 1 / 3]]).double())
    skew = MatrixGame.zero_sum([[3, -1], [-1, 1]])  # the column player mixes 1/3, 2/3
    assert torch.allclose(automaton("equilibrium", skew).output, torch.tensor([[1 / 3, 2 / 3]]).double())
    wide = MatrixGame.bimatrix([[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 5, 6]])
    world = Opponents(game=wide, rounds=3)
    assert "mirror" not in world.latents
    assert world.law.shape[-1] == 3
    assert float(world.value[2]) == pytest.approx(3 * (0.98 * 1.0 + 0.01 * (0.8 + 0.6)))  # always 3, of 6 at most


def test_experts_beat_pure_types_but_for_slips() -> None:
    world = roshambo(rounds=4, tremble=0.3)
    assert world.value.tolist() == pytest.approx([4 * (0.7 + 0.15 * 0.5)] * 3)
    assert world.replies[0, :, 0].tolist() == [1, 2, 0]


def test_automata_of_users_take_part() -> None:
    alternating = Automaton("alternating", [[1, 0], [0, 1]], [[[1, 1], [1, 1]], [[0, 0], [0, 0]]])
    world = Opponents(types=("TFT", alternating), tremble=0.0, rounds=6, chances=(0.5, 0.5))
    assert world.latents == ("TFT", "alternating")
    assert float(world.value[1]) == pytest.approx(3 * 1.0 + 3 * 0.2)
    found = solve(world, BAIL(), iterations=12, seeds=4)
    assert bool((found.metric("posterior_on_truth")[:, -1] > 1 - 1e-9).all())


def test_greedy_planners_never_find_out_who_only_cooperates() -> None:
    world = Opponents(truth="ALLC")
    greedy = solve(world, BAIL(temperature=0.0), iterations=20, seeds=32, every=20).metric("regret")[:, -1]
    drawn = solve(world, BAIL(), iterations=20, seeds=32, every=20).metric("regret")[:, -1]
    assert float(greedy.mean()) > 20 * 2.5
    assert float(drawn.mean()) < 4


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"game": "matrix/jordan"}, "one game of two players"),
        ({"game": "graphon/sis"}, "a normal-form game"),
        ({"types": ("TFT", "FTT")}, "did you mean"),
        ({"types": ("TFT", "tft")}, "names that differ"),
        ({"types": ()}, "at least one type"),
        ({"chances": (0.5, 0.5)}, "6 numbers"),
        ({"chances": (0.5, 0.5, 0.5, 0.0, 0.0, 0.0)}, "sum to 1"),
        ({"truth": "GRIMM"}, "truth"),
        ({"tremble": 1.5}, "tremble"),
        ({"rounds": 0}, "rounds"),
        ({"game": "matrix/rock-paper-scissors", "types": (Automaton("a", [[1, 0]], [[[0, 0], [0, 0]]]),)}, "3 x 3"),
    ],
    ids=lambda x: "" if isinstance(x, str) else "-".join(x),
)
def test_refusals(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Opponents(**wrong)


@pytest.mark.parametrize(
    ("output", "successor", "words"),
    [
        ([[0.5, 0.4]], [[[0, 0], [0, 0]]], "sum to 1"),
        ([[1.0, 0.0]], [[[0, 1], [0, 0]]], "states, 0 to 0"),
        ([[1.0, float("nan")]], [[[0, 0], [0, 0]]], "sum to 1"),
        ([1.0, 0.0], [[[0, 0], [0, 0]]], "state, b"),
        ([[1.0, 0.0]], [[0, 0]], "a, 2"),
    ],
    ids=["sums", "states", "nan", "flat", "shape"],
)
def test_automata_that_are_none_are_refused(output: Any, successor: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Automaton("mine", output, successor)


def test_the_law_at_every_history_is_that_of_play() -> None:
    """Payoffs of who is sure of type y against machine z, through the stochastic game, are the crossed values."""
    world = Opponents(rounds=4)
    for z, y in ((0, 2), (3, 4), (4, 4), (2, 0), (5, 1)):
        sigma = machine_policy(world.law[z], world.successor[z], 4)
        found = exploit(Bail(), certain(world, y), opponent=sigma)
        assert float(found.payoffs[0, 0]) == pytest.approx(5 * float(world.cross()[z, y]), abs=1e-9)
        assert float(found.gains[0, 0]) == pytest.approx(5 * float(world.value[z] - world.cross()[z, y]), abs=1e-9)


def test_the_mixture_of_pure_types_is_at_equilibrium_until_it_has_learned() -> None:
    once = exploit(Bail(), roshambo(rounds=3), rounds=1)
    assert torch.allclose(once.policy[0], torch.full((1, 1, 3), 1 / 3).double())
    assert float(once.exploitability) == pytest.approx(0, abs=1e-12)
    likeliest = exploit(MAP(), roshambo(rounds=3), rounds=1)
    assert float(likeliest.worst) == -1.0
    assert float(likeliest.exploitability) == pytest.approx(1)
    # what wins the second round against the posterior (1 - e, e/2, e/2) after rock: its law is (e/2, 1 - e, e/2)
    e = 0.2
    twice = exploit(Bail(), roshambo(rounds=3, tremble=e), rounds=2)
    assert float(twice.exploitability) == pytest.approx((1 - e) - e / 2)
    assert torch.allclose(twice.policy[0][0, 1], torch.tensor([e / 2, 1 - e, e / 2]).double())
    assert float(twice.worst) == pytest.approx(-float(twice.exploitability))


def test_one_round_as_a_match_is_the_game_itself() -> None:
    game = make("matrix/chicken")
    policy = torch.tensor([[[0.3, 0.7]]]).double(), torch.tensor([[[0.9, 0.1]]]).double()
    once = Match(game, 1).exploitability(policy)
    assert torch.allclose(once, game.exploitability(tuple(x[:, 0] for x in policy)))


def test_exploitability_in_a_batch_is_that_of_each_run() -> None:
    world = Opponents(truth="TFT", rounds=3)
    result = solve(world, BAIL(planner=PosteriorSampling()), iterations=3, seeds=3)
    together = exploit(PosteriorSampling(), world, result.state.memory, front=(3,), generator=Stream([0, 1, 2], 9))
    from gamesim.states import mapped

    for seed in range(3):
        memory = mapped(result.state.memory, lambda _, x: x[seed : seed + 1])  # noqa: B023
        alone = exploit(PosteriorSampling(), world, memory, generator=Stream([seed], 9))
        assert torch.allclose(alone.gains[0], together.gains[seed], atol=1e-12)
        assert torch.equal(alone.policy[0][0], together.policy[0][seed])


def test_who_knows_a_planner_gains_more_than_any_machine() -> None:
    world = Opponents(rounds=4)
    best = exploit(Bail(), world, opponent=machine_policy(world.law[1], world.successor[1], 4))
    reached = float(best.payoffs[0, 1] + best.gains[0, 1])
    for z in range(6):
        other = exploit(Bail(), world, opponent=machine_policy(world.law[z], world.successor[z], 4))
        assert float(other.payoffs[0, 1]) <= reached + 1e-9
        assert float(other.payoffs[0, 0]) >= float(other.worst) - 1e-9


def test_what_cannot_be_exploited_is_refused() -> None:
    with pytest.raises(InvalidInput, match="latent/opponents"):
        exploit(Bail(), make("matrix/chicken"))
    with pytest.raises(InvalidInput, match="from 1 to 3"):
        exploit(Bail(), Opponents(rounds=3), rounds=4)
    with pytest.raises(InvalidInput, match="histories"):
        exploit(Bail(), Opponents())
    with pytest.raises(InvalidInput, match="opponent"):
        exploit(Bail(), Opponents(rounds=2), opponent=torch.ones(3) / 3)
    with pytest.raises(InvalidInput, match="front"):
        laws(MAP(), Opponents(rounds=2), front=())

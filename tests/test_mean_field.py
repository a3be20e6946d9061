"""Plain mean-field games: figures of other implementations, equilibria by hand, and the libraries themselves.

Where a figure comes from:
  MFGLib      mfglib 0.3.0 in float64 itself, and an independent numpy engine that agrees with it to 1.2e-13
  OpenSpiel   open_spiel 2.0.2 itself, and the same engine to 1e-13
  numpy       the independent numpy engine alone: the library plays another game (docs/games/mean-field.md)
"""

import re
import warnings

import pytest
import torch

from gamesim.algorithms import OnlineMirrorDescent
from gamesim.envs import BeachBar, CrowdModelling, LeftRight, LinearQuadratic, RockPaperScissors, SusceptibleInfected
from gamesim.errors import InvalidInput
from gamesim.loop import solve

FOUR_ROOMS = CrowdModelling(layout="four-rooms")


def labels(game):
    """The state's number in the source: cells count from the corner, walls included."""
    if isinstance(game, CrowdModelling):
        return torch.tensor([x * game.places + y for x, y in game.cells])
    return torch.arange(game.shape[-2])


def handmade(game):
    """pi_h(a | s) = softmax_a sin(1 + h + 2 s + 3 a) over the legal actions."""
    (start,) = game.start()
    h, _, _, a = (torch.arange(n, dtype=torch.float64) for n in start.shape)
    scores = torch.sin(1 + h[:, None, None, None] + 2 * labels(game)[:, None] + 3 * a)
    return (torch.softmax(torch.where(start > 0, scores, -torch.inf), -1),)


def never_moves(game, stay):
    policy = torch.zeros_like(game.start()[0])
    policy[..., stay] = 1
    return (policy,)


# --- figures --------------------------------------------------------------------------------------------------------

# game: exploitability of the uniform and of the handmade policy, and after 1, 2, 5 steps of mirror descent at 0.1;
# expected return of the uniform policy
FIGURES = {
    # numpy: the true game; OpenSpiel itself has 2.81353655438704, 2.79835501633027, 2.23173194621238
    "beach-bar openspiel": (BeachBar(), 2.78668241629834, 2.73501417437961,
                            2.26038799118943, 1.86026370184289, 1.12833357448331, 27.42585092994),
    # numpy: the true game; OpenSpiel itself has 1.85479583484657, 1.86581847436219, 1.75480499325241
    "beach-bar openspiel 100": (BeachBar(places=100, horizon=15), 1.81644444446536, 1.82128147650093,
                                1.71811542566113, 1.63125996831037, 1.41821639933382, 76.48421945649),
    # numpy
    "beach-bar perrin": (BeachBar(variant="perrin"), 1.82311111113204, 1.82738680462563,
                         1.72477986973531, 1.63792218905212, 1.42487194564553, 76.47755278982),
    "beach-bar perrin 10": (BeachBar(variant="perrin", places=10, horizon=10), 2.853349082965, 2.7964380115769,
                            2.32683206650321, 1.92648445254232, 1.19388002829973, 27.35918426327),
    # MFGLib
    "beach-bar mfglib": (BeachBar(variant="mfglib"), 1.22126225529653, 0.961921722911764,
                         1.12577289082478, 1.03995729856354, 0.832305105686635, 0.5562216296367),
    "beach-bar mfglib 100": (BeachBar(variant="mfglib", places=100, horizon=16), 105.873644527581, 106.123305006068,
                             43.5503057159552, 19.0524187941111, 4.22077917291722, -326.5255061497),
    "beach-bar mfglib 100, bar 2": (BeachBar(variant="mfglib", places=100, horizon=16, bar=2),
                                    102.883791681495, 103.095965619176,
                                    42.4293403422626, 18.5795564629565, 4.1352772571351, -326.3952272541),
    # MFGLib
    "left-right": (LeftRight(), 0.25, 0.412004759202138,
                   0.22547376178823, 0.203646090114635, 0.151403110549955, -0.75),
    "rock-paper-scissors": (RockPaperScissors(), 1 / 3, 1.04077449176742,
                            0.362094959433198, 0.377251777411722, 0.349817964543152, 2 / 3),
    "rock-paper-scissors 5": (RockPaperScissors(horizon=5), 4 / 3, 2.70067623642196,
                              1.44837983773279, 1.50900710964689, 1.39927185817261, 8 / 3),
    "susceptible-infected": (SusceptibleInfected(), 5.46687391322852, 5.90876998756574,
                             5.36184621514959, 5.25810663834396, 4.95863457314483, -27.9698191194),
    # numpy: OpenSpiel plays another game (21.4981815995519; its true form has 29.52257930596)
    "linear-quadratic textbook": (LinearQuadratic(), 34.72734005157, 34.5865779751833,
                                  27.7101649096939, 21.2059995477737, 9.81484423929219, -44.75),
    "linear-quadratic without end": (LinearQuadratic(terminal=False, horizon=10), 31.5838939877554, 31.470875233074,
                                     25.648724151687, 20.0802489316826, 9.77917750449444, -40.625),
    # numpy: MFGLib uses the volatility twice
    "linear-quadratic mfglib": (LinearQuadratic(variant="mfglib"), 1.79665563499302, 1.62177901277072,
                                1.69042797682679, 1.58221156612129, 1.26076014758162, -5.04786570422),
    # MFGLib's own formula at volatility 1, where both agree, in numpy; MFGLib itself below
    "linear-quadratic mfglib 1": (LinearQuadratic(variant="mfglib", volatility=1, delta=0.11),
                                  1.28191815376117, 1.27370372218119,
                                  1.22583029735915, 1.17153736052959, 1.0207568511305, -3.793880232239),
    # numpy: the true game; OpenSpiel itself has 5.442853323264, 5.45553816737407, 4.24087040162666
    "crowd-modelling open": (CrowdModelling(), 5.35477724518399, 5.38027592875877,
                             4.14938054418244, 3.2598778041558, 1.70497767530625, 55.33170185988),
    # OpenSpiel; after 2 and 5 steps numpy, since OpenSpiel's mirror descent reads the table that it is writing
    "crowd-modelling four-rooms": (FOUR_ROOMS, 167.660446471428, 169.927334729664,
                                   34.0144830699452, 15.0806127538098, 8.91075649874992, 139.0940289302),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_figures_of_others(name):
    game, uniform, by_hand, *mirror_descent, value = FIGURES[name]
    start = game.start()
    assert float(game.exploitability(start)) == pytest.approx(uniform, rel=1e-9)
    assert float(game.exploitability(handmade(game))) == pytest.approx(by_hand, rel=1e-9)
    assert game.returns(start, game.flow(start)).tolist() == pytest.approx([value], rel=1e-10)
    found = solve(game, OnlineMirrorDescent(step_size=0.1), iterations=5).exploitability[0]
    assert found[[1, 2, 5]].tolist() == pytest.approx(mirror_descent, rel=1e-9)


def test_the_law_in_the_last_step():
    # MFGLib's marginals under the handmade policy
    expected = {
        LeftRight(): [0, 0.83177694, 0.16822306],
        RockPaperScissors(): [0, 0.49169567, 0.09944319, 0.40886114],
    }
    for game, law in expected.items():
        assert game.flow(handmade(game))[-1, 0].tolist() == pytest.approx(law, abs=1e-8)


# --- equilibria by hand ---------------------------------------------------------------------------------------------


def first_choice(game, *law):
    """The policy that draws its first action from a law and is uniform afterwards."""
    policy = game.start()[0].clone()
    policy[0, 0, 0] = torch.tensor(law, dtype=policy.dtype)
    return (policy,)


@pytest.mark.parametrize(("left", "right", "share"), [(1, 2, 2 / 3), (1, 3, 3 / 4), (5, 1, 1 / 6)])
def test_left_right_equilibrium(left, right, share):
    # both sides cost the same where left mu = right (1 - mu): mu = right / (left + right)
    game = LeftRight(left=left, right=right)
    equilibrium = first_choice(game, share, 1 - share)
    assert float(game.exploitability(equilibrium)) == pytest.approx(0, abs=1e-14)
    value = -left * right / (left + right)
    assert float(game.returns(equilibrium, game.flow(equilibrium))) == pytest.approx(value, abs=1e-14)
    result = solve(game, OnlineMirrorDescent(step_size=0.3), iterations=200, every=50)
    assert float(result.exploitability[0, -1]) < 1e-12
    assert float(result.policy[0][0, 0, 0, 0]) == pytest.approx(share, abs=1e-9)


def test_rock_paper_scissors_equilibrium():
    # 2S - P = 4R - 2S = 6P - 3R and R + P + S = 1: R = 1.3 P, S = 1.55 P, P = 1 / 3.85
    game = RockPaperScissors()
    law = (26 / 77, 20 / 77, 31 / 77)
    equilibrium = first_choice(game, *law)
    assert float(game.exploitability(equilibrium)) == pytest.approx(0, abs=1e-14)
    assert float(game.returns(equilibrium, game.flow(equilibrium))) == pytest.approx(6 / 11, abs=1e-14)
    result = solve(game, OnlineMirrorDescent(step_size=0.1), iterations=1500, every=500)
    assert float(result.exploitability[0, -1]) < 1e-8
    assert result.policy[0][0, 0, 0].tolist() == pytest.approx(law, abs=1e-7)


def test_rock_paper_scissors_turns_away_from_its_equilibrium_at_long_steps():
    # linearised at the equilibrium, replicator dynamics has eigenvalues -3/11 +- 1.6262 i: |1 + eta x| < 1 below 0.2006
    game, law = RockPaperScissors(), torch.tensor([26.0, 20.0, 31.0], dtype=torch.float64) / 77
    payoff = game.reward(1, torch.eye(4, **game.like))[1:, 1:, 0].T
    replicator = torch.diag(law) @ (payoff - law @ payoff) - torch.outer(law, payoff @ law)
    turning = torch.linalg.eigvals(replicator)
    turning = turning[turning.imag > 0]
    assert float(-2 * turning.real / turning.abs() ** 2) == pytest.approx(0.20062, abs=1e-5)
    assert float(turning.real) == pytest.approx(-3 / 11)
    result = solve(game, OnlineMirrorDescent(step_size=0.3), iterations=300, every=100)
    assert float(result.exploitability[0, -1]) > 0.3


# --- parameters -----------------------------------------------------------------------------------------------------


def test_what_is_left_out_is_the_variants():
    game = BeachBar(variant="perrin", places=30)
    assert (game.places, game.horizon, game.still) == (30, 15, 1 / 3)
    assert float(game.near.argmax()) == 15
    assert (LinearQuadratic(variant="mfglib").delta, LinearQuadratic(delta=0.5).delta) == (0.1, 0.5)
    assert (FOUR_ROOMS.places, FOUR_ROOMS.horizon, len(FOUR_ROOMS.cells)) == (13, 40, 104)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BeachBar(variant="perin"), "variant: got 'perin'"),
        (lambda: BeachBar(places=1), "places: got 1"),
        (lambda: BeachBar(bar=10), "bar: got 10, expected a place from 0 to 9"),
        (lambda: BeachBar(horizon=0), "horizon: got 0"),
        (lambda: LinearQuadratic(delta=0.0), "delta: got 0.0"),
        (lambda: CrowdModelling(layout="maze"), "layout: got 'maze'"),
        (lambda: CrowdModelling(layout="four-rooms", places=4), "places: got 4"),
        (lambda: SusceptibleInfected(infection=1.2), "infection: got 1.2"),
        (lambda: SusceptibleInfected(graphon="power-law"), "graphon: "),
    ],
)
def test_refusals_name_the_field(make, message):
    with pytest.raises(InvalidInput, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    ("kind", "fixed", "name"),
    [
        (BeachBar, {}, "still"),
        (LeftRight, {}, "left"),
        (SusceptibleInfected, {"horizon": 5}, "infection"),
        (SusceptibleInfected, {"horizon": 5}, "infected"),
        (LinearQuadratic, {}, "kappa"),
        (LinearQuadratic, {"variant": "mfglib"}, "delta"),
        (LinearQuadratic, {"variant": "mfglib"}, "reversion"),
        (LinearQuadratic, {"variant": "mfglib"}, "volatility"),
        (CrowdModelling, {"horizon": 3}, "noise"),
    ],
)
def test_a_batch_of_games(kind, fixed, name):
    numbers = torch.tensor([0.2, 0.7], dtype=torch.float64)
    both, alone = kind(**fixed, **{name: numbers}), [kind(**fixed, **{name: x}) for x in numbers.tolist()]
    found = solve(both, OnlineMirrorDescent(step_size=0.1), iterations=2).exploitability
    expected = [solve(game, OnlineMirrorDescent(step_size=0.1), iterations=2).exploitability[0] for game in alone]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-10, atol=0)


@pytest.mark.parametrize("game", [BeachBar, CrowdModelling, LeftRight, LinearQuadratic, RockPaperScissors])
def test_another_graphon(game):
    game = game(graphon="uniform-attachment", positions=5, horizon=3)
    game.validate()
    assert game.gains(handmade(game)).shape == (5,)


def test_linear_quadratic_does_not_hang_on_rounding_noise():
    # at delta 0.1 and m = 0, (x, a) = (+-5, 0) aims half-way between two places
    game = LinearQuadratic(variant="mfglib")
    z = game.initial[None]
    noise = 1e-9 * game.line
    assert torch.equal(game.transition(0, z), game.transition(0, z + noise))
    assert torch.equal(game.transition(0, z), game.transition(0, z - noise))


def test_a_move_into_a_wall_stays():
    corner, left_of_door = FOUR_ROOMS.cells.index((1, 1)), FOUR_ROOMS.cells.index((5, 3))
    calm = CrowdModelling(layout="four-rooms", noise=0)
    assert FOUR_ROOMS.start()[0][0, 0, corner].tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3])
    assert calm.transition(0, calm.initial[None])[corner, :2, corner].tolist() == [1, 1]
    through = calm.transition(0, calm.initial[None])[left_of_door, 3]
    assert FOUR_ROOMS.cells[int(through.argmax())] == (6, 3)


# --- the libraries themselves, where they are right -----------------------------------------------------------------


@pytest.fixture
def mfglib():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("mfglib.alg", reason="mfglib is not installed")  # before scoring: its imports are circular
        import mfglib.env
        import mfglib.scoring
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # noqa: TID251  MFGLib computes in the default dtype
    yield mfglib
    torch.set_default_dtype(before)  # noqa: TID251


MFGLIB = {
    "left_right": (LeftRight(), {}),
    "rock_paper_scissors": (RockPaperScissors(horizon=4), {"T": 3}),
    "beach_bar": (BeachBar(variant="mfglib", places=7, horizon=5, bar=1, still=0.3),
                  {"T": 4, "n": 7, "bar_loc": 1, "p_still": 0.3}),
    "susceptible_infected": (SusceptibleInfected(horizon=11), {"T": 10}),
    "linear_quadratic": (LinearQuadratic(variant="mfglib", volatility=1, delta=0.11), {"sigma": 1, "delta": 0.11}),
}  # fmt: skip


@pytest.mark.parametrize("name", MFGLIB)
def test_mfglib(mfglib, name):
    game, parameters = MFGLIB[name]
    peer = getattr(mfglib.env.Environment, name)(**parameters)
    for policy in (game.start(), handmade(game)):
        theirs = mfglib.scoring.exploitability_score(peer, policy[0][:, 0])
        assert float(game.exploitability(policy)) == pytest.approx(theirs, rel=1e-10)
    solver = mfglib.alg.OnlineMirrorDescent(alpha=0.1)
    policies, scores, _ = solver.solve(peer, max_iter=3, atol=None, rtol=None)
    ours = solve(game, OnlineMirrorDescent(step_size=0.1), iterations=3)
    assert ours.exploitability[0].tolist() == pytest.approx([float(x) for x in scores], rel=1e-10)
    torch.testing.assert_close(ours.policy[0][:, 0], policies[3], rtol=0, atol=1e-12)


@pytest.fixture
def spiel():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pytest.importorskip("pyspiel", reason="open_spiel is not installed")
        from open_spiel.python.mfg import games  # noqa: F401  registers the games written in Python
    return found


def as_spiel(game, policy, peer):
    """A policy of ours as OpenSpiel asks for it: by the text of a state, "(x, h)" or "(x, y, h)"."""
    from open_spiel.python import policy as spiel_policy

    index = {label: s for s, label in enumerate(labels(game).tolist())}

    class Ours(spiel_policy.Policy):
        def action_probabilities(self, state, player_id=None):
            *place, h = (int(number) for number in re.findall(r"-?\d+", str(state)))
            s = index[place[0] * game.places + place[1] if len(place) == 2 else place[0]]
            row = policy[0][h, 0, s]
            return {a: float(row[a]) for a in state.legal_actions() if row[a] > 0}

    return Ours(peer, [0])


def spiel_flow(game, peer, policy):
    """OpenSpiel's law of the states of ours at the decision nodes, [h, s]."""
    from open_spiel.python.mfg.algorithms import distribution

    found = distribution.DistributionPolicy(peer, as_spiel(game, policy, peer))
    flow = torch.zeros(game.horizon, game.shape[-2], dtype=torch.float64)
    index = {label: s for s, label in enumerate(labels(game).tolist())}
    for text, mass in found.distribution.items():
        match = re.fullmatch(r"\((\d+), (?:(\d+), )?(\d+)\)", text)
        if match and int(match[3]) < game.horizon:
            x, y, h = match.groups()
            flow[int(h), index[int(x) if y is None else int(x) * game.places + int(y)]] += mass
    return found, flow


FOUR_ROOMS_OF_SPIEL = "crowd_modelling_2d_four_rooms"
SPIEL = {
    "mfg_crowd_modelling": (BeachBar(), 1),
    "python_mfg_crowd_modelling": (BeachBar(), 1),
    "mean_field_lin_quad": (LinearQuadratic(terminal=False, horizon=10), 3),
    "mfg_crowd_modelling_2d": (CrowdModelling(), 2),
}


@pytest.mark.parametrize("name", SPIEL)
def test_open_spiel_moves_and_rewards(spiel, name):
    """Where OpenSpiel charges the wrong move, its flows are right, and so are its values when nobody moves."""
    from open_spiel.python.mfg.algorithms import policy_value

    game, stay = SPIEL[name]
    peer = spiel.load_game(name)
    policy = handmade(game)
    _, flow = spiel_flow(game, peer, policy)
    torch.testing.assert_close(game.flow(policy)[:, 0], flow, rtol=0, atol=1e-12)

    policy = never_moves(game, stay)
    law, _ = spiel_flow(game, peer, policy)
    value = policy_value.PolicyValue(peer, law, as_spiel(game, policy, peer)).eval_state(peer.new_initial_states()[0])
    assert float(game.returns(policy, game.flow(policy))) == pytest.approx(value, rel=1e-11)


def test_open_spiel_four_rooms(spiel):
    from open_spiel.python.mfg.algorithms import mirror_descent, nash_conv
    from open_spiel.python.mfg.games import factory

    peer = factory.create_game_with_setting("mfg_crowd_modelling_2d", FOUR_ROOMS_OF_SPIEL)
    for policy in (FOUR_ROOMS.start(), handmade(FOUR_ROOMS)):
        theirs = nash_conv.NashConv(peer, as_spiel(FOUR_ROOMS, policy, peer)).nash_conv()
        assert float(FOUR_ROOMS.exploitability(policy)) == pytest.approx(theirs, rel=1e-11)
    solver = mirror_descent.MirrorDescent(peer, lr=0.1)
    solver.iteration()  # only the first is right: later ones read the table that they are writing
    theirs = nash_conv.NashConv(peer, solver.get_policy()).nash_conv()
    ours = solve(FOUR_ROOMS, OnlineMirrorDescent(step_size=0.1), iterations=1).exploitability[0, -1]
    assert float(ours) == pytest.approx(theirs, rel=1e-11)

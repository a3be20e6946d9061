"""Action values estimated from sampled play: against loops, closed forms, exact backups, and statistics over seeds."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.envs import SIS, Beach
from gamesim.errors import InvalidInput
from gamesim.feedback import Feedback, Noisy, Sampled, draws, exact
from gamesim.games import GraphonGame
from gamesim.games.game import probe
from gamesim.graphons import Exponential, PowerLaw, StochasticBlock, UniformAttachment
from gamesim.loop import solve
from gamesim.populations import sample_play
from gamesim.randomness import Stream
from gamesim.schedules import Power
from gamesim.states import tensors
from gamesim.testing import check_solver
from gamesim.traces import Snapshot

SOLVERS = ("gmfg-ppo", "online-mirror-descent", "policy-mirror-descent")


def sampled(*given: Any, **named: Any) -> Any:
    """A feedback whose parameters are text or objects."""
    return Sampled(*given, **named)


def beach(**parameters: Any) -> Beach:
    return Beach(**{"states": 4, "bar": 2, "horizon": 3, "positions": 5, "graphon": Exponential(3.0), **parameters})


def sis(**parameters: Any) -> SIS:
    return SIS(**{"horizon": 3, "positions": 4, "graphon": Exponential(3.0), **parameters})


def many(policy: tuple[Tensor, ...], seeds: int) -> tuple[Tensor, ...]:
    return tuple(p.expand(seeds, *p.shape) for p in policy)


# --- against loops over single samples ------------------------------------------------------------------------------


def samples(game: GraphonGame, pi: Tensor, agents: int, episodes: int, seed: int) -> tuple[Tensor, Tensor, Any]:
    """Positions, policy there, and play: the same draws as the feedback's, in the game's own words."""
    stream = Stream(seed)
    x = stream.uniform((agents,)).sort().values
    (at,) = game.at((pi,), x)
    z = game.felt(game.flow((pi,)), x)
    uniform = torch.full_like(at, 1 / at.shape[-1])
    initial = game.initial.expand(agents, -1)
    return x, at, sample_play(game, z, uniform, initial, episodes, stream)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("game", [beach(), sis()])
def test_tabular_is_the_mean_over_single_samples(game: GraphonGame, known: bool) -> None:
    pi, lam, agents, episodes = probe(game.start())[0], 0.7, 3, 40
    x, at, play = samples(game, pi, agents, episodes, seed=5)
    z = game.felt(game.flow((pi,)), x)
    S, A = game.shape[-2:]
    q = np.zeros((game.horizon, agents, S, A))
    value, filled = np.zeros((agents, S)), 0
    for h in reversed(range(game.horizon)):
        r = game.reward(h, z[h]).expand(agents, S, A)
        following = value.copy()
        for n in range(agents):
            data = {(s, a): [] for s in range(S) for a in range(A)}  # type: dict[tuple[int, int], list[float]]
            rewards = {pair: [] for pair in data}  # type: dict[tuple[int, int], list[float]]
            for e in range(episodes):
                s, a, t = (int(part[e, h, n]) for part in (play.states, play.actions, play.next_states))
                data[s, a].append(following[n, t])
                rewards[s, a].append(float(play.rewards[e, h, n]))
            every = [one for pair in rewards.values() for one in pair]
            for (s, a), seen in data.items():
                filled += not seen
                mean = float(np.mean(seen)) if seen else float(following[n].mean())
                shown = float(np.mean(rewards[s, a] or every))
                q[h, n, s, a] = mean + (float(r[n, s, a]) if known else shown)
            p = at[h, n].numpy()
            value[n] = (p * (q[h, n] - lam * np.log(p))).sum(-1)
    words = "known" if known else "observed"
    found = sampled(agents, episodes, rewards=words).estimate(game, (pi,), lam, Stream(5))
    place = [int((x - y).abs().argmin()) for y in game.grid.positions]
    torch.testing.assert_close(found.q, torch.from_numpy(q)[:, place], rtol=0, atol=1e-12)
    torch.testing.assert_close(found.positions, x)
    assert int(found.visits.sum()) == game.horizon * agents * episodes
    assert float(found.unvisited) == pytest.approx(filled / found.visits.numel())


@pytest.mark.parametrize("known", [True, False])
def test_linear_is_ridge_regression_on_single_samples(known: bool) -> None:
    """scikit-like least squares by numpy, a row for every step of every episode and sqrt(ridge) I below them."""
    game, lam, agents, episodes, degree, ridge = beach(), 0.7, 4, 30, 2, 0.3
    pi = probe(game.start())[0]
    x, at, play = samples(game, pi, agents, episodes, seed=8)
    flow = game.flow((pi,))
    z, grid_z = game.felt(flow, x), game.aggregate(flow)
    S, A = game.shape[-2:]

    def phi(x: float, s: int, a: int) -> Any:
        row = np.zeros((S, A, degree + 1))
        row[s, a] = [np.polynomial.Legendre.basis(d)(2 * x - 1) * math.sqrt(2 * d + 1) for d in range(degree + 1)]
        return row.ravel()

    def table(positions: Tensor) -> Any:
        return np.array([[[phi(float(y), s, a) for a in range(A)] for s in range(S)] for y in positions])

    found = sampled(agents, episodes, f"legendre({degree})", rewards="known" if known else "observed", ridge=ridge)
    q = found(game, (pi,), lam, Stream(8))[0]
    value = np.zeros((agents, S))
    for h in reversed(range(game.horizon)):
        rows, targets = [], []
        for n in range(agents):
            for e in range(episodes):
                s, a, t = (int(part[e, h, n]) for part in (play.states, play.actions, play.next_states))
                rows.append(phi(float(x[n]), s, a))
                targets.append(value[n, t] + (0.0 if known else float(play.rewards[e, h, n])))
        centre = float(np.mean(targets))
        design = np.vstack([rows, math.sqrt(ridge) * np.eye(len(rows[0]))])
        w = np.linalg.lstsq(design, np.append(np.array(targets) - centre, np.zeros(len(rows[0]))), rcond=None)[0]
        here, there = (centre + table(y) @ w for y in (x, game.grid.positions))
        if known:
            here, there = here + game.reward(h, z[h]).numpy(), there + game.reward(h, grid_z[h]).numpy()
        np.testing.assert_allclose(q[h].numpy(), there, atol=1e-10)
        p = at[h].numpy()
        value = (p * (here - lam * np.log(p))).sum(-1)


# --- exactness ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", ["tabular", "legendre(4)"])
@pytest.mark.parametrize(("model", "episodes"), [("episodes", 400), ("generative", 1)])
def test_deterministic_moves_are_learned_exactly(features: str, model: str, episodes: int) -> None:
    game = beach(noise=0.0)
    policy = probe(game.start())
    found = sampled(5, episodes, features, model, placing="grid", ridge=1e-9).estimate(game, policy, 0.5, Stream(0))
    assert float(found.unvisited) == 0
    torch.testing.assert_close(
        found.q, exact(game, policy, 0.5)[0], rtol=0, atol=1e-12 if features == "tabular" else 1e-7
    )


@pytest.mark.parametrize("model", ["episodes", "generative"])
@pytest.mark.parametrize("rewards", ["known", "observed"])
def test_a_polynomial_through_every_position_is_tabular(model: str, rewards: str) -> None:
    game = beach()
    policy = many(probe(game.start()), 3)

    def values(features: str) -> Tensor:
        feedback = sampled(5, 300, features, model, placing="grid", rewards=rewards, ridge=1e-9)
        found: Tensor = feedback(game, policy, 0.5, Stream([0, 1, 2]))[0]
        return found

    torch.testing.assert_close(values("legendre(4)"), values("tabular"), rtol=0, atol=1e-7)
    assert (values("legendre(3)") - values("tabular")).abs().max() > 1e-3


def test_features_of_ones_own() -> None:
    """The default features written by hand, one group of all, give the default's values."""
    game = beach()
    policy = many(probe(game.start()), 2)

    def features(x: Tensor, s: Tensor, a: Tensor) -> Tensor:
        y = 2 * x - 1
        basis = torch.stack([torch.ones_like(y), 3**0.5 * y, 5**0.5 * (3 * y**2 - 1) / 2], -1)
        cell = torch.nn.functional.one_hot(s * 3 + a, 12).double()
        return (cell[..., None] * basis[..., None, :]).flatten(-2)

    own, built_in = (sampled(6, 50, f)(game, policy, 0.5, Stream([3, 4]))[0] for f in (features, "legendre(2)"))
    torch.testing.assert_close(own, built_in, rtol=0, atol=1e-9)
    assert str(sampled(6, 50, features)) == "sampled(6, 50, features=features)"


# --- statistics over seeds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("game", "feedback"),
    [
        (beach(), sampled(5, 3, model="generative", placing="grid")),
        (sis(), sampled(4, 300, placing="grid")),
        (sis(), sampled(4, 300, placing="grid", behaviour=0.5)),
    ],
    ids=["generative", "episodes", "mixed behaviour"],
)
def test_values_are_unbiased(game: GraphonGame, feedback: Sampled) -> None:
    """Fresh draws at each step make the backward products unbiased: over 600 seeds the mean is the exact backup.

    The largest |z| of so many correlated entries stays below 4.5, and their mean square is that of a standard normal.
    """
    seeds = 600
    policy = probe(game.start())
    found = feedback.estimate(game, many(policy, seeds), 0.5, Stream(range(seeds)))
    assert float(found.unvisited.max()) == 0
    error = found.q - exact(game, policy, 0.5)[0]
    mean, spread = error.mean(0), error.std(0)
    certain = spread < 1e-12  # the last step with its known reward, and who stays in and cannot be infected
    assert bool(certain[-1].all())
    assert 2 * int((~certain[:-1]).sum()) > certain[:-1].numel()
    assert mean[certain].abs().max() < 1e-12
    z = mean[~certain] / (spread[~certain] / math.sqrt(seeds))
    assert z.abs().max() < 4.5
    assert float((z**2).mean()) < 1 + 6 * (2 / z.numel()) ** 0.5


@pytest.mark.parametrize("features", ["tabular", "legendre(4)"])
def test_the_error_falls_like_one_over_the_root_of_the_episodes(features: str) -> None:
    """The slope of log RMSE in log K, seed by seed: its 99% interval over 20 seeds is within 0.06 of -1/2."""
    from scipy.stats import t

    game, seeds, sizes = beach(), 20, [100, 400, 1600, 6400]
    policy = probe(game.start())
    right = exact(game, policy, 0.5)[0]
    errors = []
    for K in sizes:
        feedback = sampled(5, K, features, placing="grid")
        q = feedback(game, many(policy, seeds), 0.5, Stream(range(seeds), K))[0]
        errors.append((q - right).square().mean((-4, -3, -2, -1)).sqrt().log())
    u = torch.tensor(sizes).double().log()
    slopes = ((u - u.mean())[:, None] * torch.stack(errors)).sum(0) / (u - u.mean()).square().sum()
    half = float(t.ppf(0.995, seeds - 1) * slopes.std() / math.sqrt(seeds))
    assert half < 0.04
    assert abs(float(slopes.mean()) + 0.5) + half < 0.06


def test_positions_share_what_they_saw_through_linear_features() -> None:
    """Where values are smooth in the position, pooling ten positions beats ten tables: paired over 20 seeds."""
    game, seeds = Beach(horizon=8, positions=30, graphon=UniformAttachment()), 20
    policy = game.start()
    right = exact(game, policy, 1.0)[0]

    def error(features: str) -> Tensor:
        q = sampled(10, 100, features)(game, many(policy, seeds), 1.0, Stream(range(seeds)))[0]
        return (q - right).square().mean((-4, -3, -2, -1)).sqrt()

    gain = error("tabular") - error("legendre(2)")
    assert float(gain.mean() - 3 * gain.std() / math.sqrt(seeds)) > 0


def test_more_episodes_reach_a_lower_exploitability() -> None:
    """Policy mirror descent, 8 seeds: ten times the episodes, less than half the regularised exploitability."""
    game, seeds = Beach(horizon=8, positions=10, crowd=8.0, graphon=UniformAttachment()), 8
    final = []
    for K in (30, 300):
        solver = gs.make_solver("policy-mirror-descent", temperature=1.0, feedback=f"sampled(10, {K}, placing=grid)")
        final.append(solve(game, solver, iterations=15, seeds=seeds, every=15).regularized_exploitability[:, -1].log())
    ratio = final[1] - final[0]
    upper = float(ratio.mean() + 2.998 * ratio.std() / math.sqrt(seeds))  # one-sided 99% with 7 degrees of freedom
    assert upper < math.log(0.5)


# --- names of draws: batches, resuming, schedules ---------------------------------------------------------------------


@pytest.mark.parametrize("features", ["tabular", "legendre(1)"])
@pytest.mark.parametrize("model", ["episodes", "generative"])
def test_a_batch_of_seeds_is_the_runs_one_by_one(features: str, model: str) -> None:
    game = beach(horizon=4)
    feedback = sampled(3, 20, features, model)
    policy = torch.softmax(
        torch.randn(3, *game.start()[0].shape, generator=torch.Generator().manual_seed(0)), -1
    ).double()
    together = feedback.estimate(game, (policy,), 0.5, Stream([4, 9, 2], 7))
    for i, seed in enumerate([4, 9, 2]):
        alone = feedback.estimate(game, (policy[i],), 0.5, Stream(seed, 7))
        torch.testing.assert_close(together.q[i], alone.q, rtol=0, atol=1e-12)
        assert torch.equal(together.visits[i], alone.visits)
        assert torch.equal(together.positions[i], alone.positions)
    assert not torch.equal(together.positions[0], together.positions[1])


def test_blocks_of_episodes_draw_the_same_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "AT_ONCE", 50)
    game = beach()
    for model in ("episodes", "generative"):
        feedback = sampled(2, 33, model=model)
        together = feedback.estimate(game, many(game.start(), 2), 0.0, Stream([0, 1]))
        alone = feedback.estimate(game, game.start(), 0.0, Stream(1))
        torch.testing.assert_close(together.q[1], alone.q, rtol=0, atol=1e-12)
        pairs = 1 if model == "episodes" else 12
        assert bool((alone.visits.sum((-2, -1)) == 33 * pairs).all())


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("feedback", ["sampled(2, 5)", "sampled(power(2, -0.5), 5, features=legendre(1))"])
def test_solvers_stay_pure(solver: str, feedback: str) -> None:
    """Reruns and resumes bit for bit; seeds in a batch as alone; no global generator."""
    for game in (sis(), beach()):
        made = gs.make_solver(solver, feedback=feedback)
        check_solver(made, game)
        batch = solve(game, made, iterations=3, seeds=3, seed=2)
        alone = solve(game, made, iterations=3, seed=3)
        torch.testing.assert_close(batch.policy[0][1], alone.policy[0], rtol=0, atol=1e-12)
        half = solve(game, made, iterations=1, seeds=3, seed=2)
        rest = solve(game, made, iterations=3, seeds=3, seed=2, resume=Snapshot(1, tensors(half.state), half.trace))
        assert torch.equal(rest.policy[0], batch.policy[0])


def test_a_batch_of_hyperparameters_and_seeds() -> None:
    """Temperatures [b] and seeds: every row is the run with its own seed and temperature."""
    game = sis()
    temperatures = torch.tensor([0.3, 1.0], dtype=torch.float64)
    policy = many(probe(game.start()), 2)
    for features in ("tabular", "legendre(1)"):
        feedback = sampled(3, 20, features)
        together = feedback(game, policy, temperatures[:, None, None, None, None], Stream([5, 6]))[0]
        for i in range(2):
            alone = feedback(game, probe(game.start()), float(temperatures[i]), Stream(5 + i))[0]
            torch.testing.assert_close(together[i], alone, rtol=0, atol=1e-12)
    solver = gs.make_solver("policy-mirror-descent", temperature=temperatures, feedback="sampled(3, 20)")
    assert solve(game, solver, iterations=2, seeds=4).policy[0].shape == (4, 2, 3, 4, 2, 2)


def test_the_schedule_is_a_function_of_the_iteration() -> None:
    game = sis()
    feedback = sampled("power(5, -0.5)", "power(8, 1)")
    for t, agents, episodes in ((0, 5, 8), (3, 10, 2), (8, 15, 1)):
        found = feedback.estimate(game, game.start(), 0.0, Stream(0, t))
        assert found.visits.shape[-3] == agents == found.positions.shape[-1]
        assert bool((found.visits.sum((-2, -1)) == episodes).all())
    assert feedback == gs.make_solver("gmfg-ppo", feedback="sampled(power(5, -0.5), power(8, 1))").feedback
    assert feedback.positions == Power(5.0, -0.5)
    tenth = sampled("power(0.1, -1)", 1)  # 0.1 x 70 is 7.000000000000001 to a machine, and seven to us
    assert tenth.estimate(game, game.start(), 0.0, Stream(0, 69)).positions.shape == (7,)


@pytest.mark.parametrize(
    "text",
    [
        "sampled(10, 100)",
        "sampled(5, power(2, -1, 1), features=legendre(3), model=generative, behaviour=0.5, ridge=0.1)",
    ],
)
def test_text_and_back(text: str) -> None:
    made = gs.make_solver("policy-mirror-descent", feedback=text).feedback
    assert str(made) == text
    assert gs.make_solver("policy-mirror-descent", feedback=str(made)).feedback == made
    assert Feedback.kinds["sampled"] is Sampled


# --- whose values ---------------------------------------------------------------------------------------------------


def test_values_in_another_flow() -> None:
    """With a flow given, the estimate is of the values in that flow, as GMFG-PPO asks for."""
    game = beach(crowd=8.0)
    policy = probe(game.start())
    other = game.flow(game.best_response(game.flow(policy)))
    feedback = sampled(5, 20_000, model="generative", placing="grid")
    right, own = exact(game, policy, 0.5, other)[0], exact(game, policy, 0.5)[0]
    found = feedback(game, policy, 0.5, Stream(1), flow=other)[0]
    assert (found - right).abs().max() < 0.05 < 0.2 < (own - right).abs().max()


def test_the_behaviour_is_what_is_played() -> None:
    game = beach(states=1, bar=0, horizon=1, positions=1)
    policy = (torch.tensor([[[[0.7, 0.2, 0.1]]]], dtype=torch.float64),)
    for share in (1.0, 0.25):
        visits = sampled(1, 40_000, behaviour=share).estimate(game, policy, 0.0, Stream(3)).visits.flatten()
        law = (1 - share) * policy[0].flatten() + share / 3
        assert ((visits / 40_000 - law).abs() < 4 * (law * (1 - law) / 40_000).sqrt()).all()


class Settled(GraphonGame):
    """Who begins where depends on the position, and everybody stays."""

    @property
    def initial(self) -> Tensor:
        return torch.eye(3, **self.like)

    def reward(self, h: int, z: Tensor) -> Tensor:
        return torch.arange(6, **self.like).reshape(3, 2)

    def transition(self, h: int, z: Tensor) -> Tensor:
        return torch.eye(3, **self.like)[:, None, :].expand(3, 2, 3)


def test_first_states_are_those_of_the_position() -> None:
    game = Settled(horizon=2, positions=3)
    found = sampled(6, 5, placing="grid").estimate(game, many(game.start(), 2), 0.0, Stream([0, 1]))
    for n in range(6):
        assert bool((found.visits[:, :, n].sum(-1)[..., n // 2] == 5).all())


def test_what_nobody_visited_is_filled_and_counted() -> None:
    """One episode: all next states alike where nothing was seen, which at H = 2 is the mean over t of V_1(t)."""
    game = beach(horizon=2, positions=1)
    policy = game.start()
    found = sampled(1, 1).estimate(game, policy, 0.0, Stream(0))
    assert float(found.unvisited) == pytest.approx(1 - 1 / 12)
    last = found.q[1, 0]
    unseen = found.visits[0, 0] == 0
    z = game.felt(game.flow(policy), found.positions)
    expected = game.reward(0, z[0])[0] + last.mean()
    torch.testing.assert_close(found.q[0, 0][unseen], expected[unseen], rtol=0, atol=1e-12)
    assert (found.q[0, 0] - expected)[~unseen].abs() > 1e-3


@pytest.mark.parametrize(
    "game",
    [
        sis(graphon=PowerLaw(0.3), normalize=True),
        sis(graphon=PowerLaw(0.7), clip=True),
        sis(graphon=(Exponential(3.0), StochasticBlock(), UniformAttachment())),
        SIS(graph="karate-club", horizon=3),
        sis(graphon=StochasticBlock(), positions=None, quadrature="block"),
        beach(quadrature="gauss-legendre", positions=7),
        beach(quadrature="endpoint", positions=7),
    ],
    ids=["normalize", "clip", "varying", "network", "blocks", "gauss-legendre", "endpoint"],
)
def test_positions_of_their_own_for_each_seed(game: GraphonGame) -> None:
    """What seeds feel at their positions is what the game says of each; and values come out on the game's grid."""
    policy = probe(game.start())
    flow = game.flow(policy)
    x = torch.tensor([[0.01, 0.3, 0.9], [0.5, 0.6, 1.0]], dtype=torch.float64)
    z = game.felt(flow.expand(2, *flow.shape), x)
    for i in range(2):
        torch.testing.assert_close(z[i], game.felt(flow, x[i]))
    for features in ("tabular", "legendre(1)"):
        q = sampled(3, 30, features)(game, many(policy, 2), 0.5, Stream([0, 1]))[0]
        assert q.shape == (2, *policy[0].shape)
        assert bool(q.isfinite().all())


def test_a_batch_of_games() -> None:
    game = sis(infection=torch.tensor([0.2, 0.9], dtype=torch.float64))
    policy = probe(game.start())
    for features in ("tabular", "legendre(3)"):
        feedback = sampled(4, 4000, features, "generative", placing="grid")
        error = feedback(game, policy, 0.5, Stream(0))[0] - exact(game, policy, 0.5)[0]
        assert error.abs().max() < 0.2
    few = beach(crowd=torch.tensor([1.0, 9.0], dtype=torch.float64))
    assert sampled(2, 3)(few, few.start(), 0.0, Stream(0))[0].shape == (2, 3, 5, 4, 3)


def test_single_precision_stays_so() -> None:
    game = beach(dtype="float32")
    for features in ("tabular", "legendre(1)"):
        (q,) = sampled(3, 20, features)(game, game.start(), 0.5, Stream(0))
        assert q.dtype == torch.float32


def test_one_of_everything() -> None:
    game = beach(states=1, bar=0, horizon=1, positions=1)
    for features in ("tabular", "legendre(0)", "legendre(3)"):
        for model in ("episodes", "generative"):
            (q,) = sampled(1, 1, features, model, placing="grid")(game, game.start(), 0.5, Stream(0))
            torch.testing.assert_close(q, exact(game, game.start(), 0.5)[0])


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"positions": 0}, "positions: got constant(0), expected a whole number from 1"),
        ({"positions": math.nan}, "positions: got nan, expected a finite number"),
        ({"positions": -3}, "positions: got constant(-3)"),
        ({"positions": 2.5}, "positions: got constant(2.5), expected a whole number"),
        ({"positions": True}, "positions: got True"),
        ({"positions": torch.tensor([1.0, 2.0])}, "positions: got constant(2 values)"),
        ({"episodes": "0"}, "episodes: got constant(0)"),
        ({"episodes": math.inf}, "episodes: got inf"),
        ({"episodes": 1e12}, "episodes: got constant(1e+12)"),
        ({"episodes": Power(5.0, -2.0)}, "at every iteration up to a million"),
        ({"episodes": Power(torch.tensor([5.0, 6.0]))}, "expected a whole number from 1"),
        ({"positions": 10, "episodes": 10**9}, "at most 100000000 with positions"),
        ({"features": "legendre(-1)"}, "features.degree: got -1, expected a whole number from 0 to 100"),
        ({"features": "fourier"}, "features: got 'fourier', expected one of legendre, tabular"),
        ({"features": 3}, "features: got 3"),
        ({"model": "exact"}, "model: got 'exact', expected one of episodes, generative"),
        ({"behaviour": 0.0}, "behaviour: got 0.0, expected a number above 0 and at most 1"),
        ({"ridge": 0.0}, "ridge: got 0.0"),
        ({"rewards": "no"}, "rewards: got 'no', expected one of known, observed"),
    ],
)
def test_bad_parameters_are_refused_up_front(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        Sampled(**given)
    assert words in str(error.value)


class Pennies:
    """A game of three methods."""

    def start(self) -> tuple[Tensor, ...]:
        return (torch.tensor([0.5, 0.5]),)

    def feedback(self, policy: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return policy

    def exploitability(self, policy: tuple[Tensor, ...]) -> Tensor:
        return torch.tensor(1.0)


def test_what_is_no_graphon_game_is_refused_by_name() -> None:
    for solver in ("policy-mirror-descent", "online-mirror-descent"):
        with pytest.raises(
            InvalidInput, match="game: got 'Pennies', expected a GraphonGame, which feedback=sampled needs"
        ):
            solve(Pennies(), gs.make_solver(solver, feedback="sampled(2, 3)"), iterations=1)
    assert solve(Pennies(), gs.make_solver("online-mirror-descent", feedback=Noisy(0.0)), iterations=1)


def test_bad_features_are_refused_by_name() -> None:
    game = beach()

    def bent(x: Tensor, s: Tensor, a: Tensor) -> Tensor:
        return torch.ones(7, 7, 2)

    def flat(x: Tensor, s: Tensor, a: Tensor) -> Tensor:
        return torch.tensor(1.0)

    def infinite(x: Tensor, s: Tensor, a: Tensor) -> Tensor:
        return ((s + 0 * a) / (0 * x))[..., None]

    def nothing(x: Tensor, s: Tensor, a: Tensor) -> Any:
        return None

    for features, words in (
        (bent, r"features bent: got 'shape \[7, 7, 2\]', expected a tensor \[..., n, s, a, f\] = \[2, 4, 3, 'f'\]"),
        (flat, r"features flat: got 'shape \[\]'"),
        (infinite, "features infinite: not finite"),
        (nothing, "features nothing: got 'NoneType'"),
    ):
        with pytest.raises(InvalidInput, match=words):
            sampled(2, 3, features)(game, game.start(), 0.5, Stream(0))


def test_more_than_memory_holds_is_refused() -> None:
    game = beach(positions=5)
    for N, K in ((1, 10**9), (10**8, 1)):
        with pytest.raises(
            InvalidInput, match=r"feedback: got sampled\(.*\), expected fewer positions, episodes or seeds"
        ):
            sampled(N, K)(game, game.start(), 0.0, Stream(0))

"""FTRL in the many-seeds loops, compiled and in numpy, against the plain solver, step by step."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gamesim.algorithms.ftrl import FTRL, Leader
from gamesim.errors import InvalidInput
from gamesim.feedback import Bandit, Exact, Feedback, Realised
from gamesim.games import Policy
from gamesim.games.matrix import MatrixGame
from gamesim.kernels import learning, learning_loops
from gamesim.kernels.learning import Learned, Watch, learn
from gamesim.randomness import Stream
from gamesim.regularizers import Entropic, Euclidean, LogBarrier, Regularizer, Tsallis
from gamesim.schedules import Power

GAMMA, EPS = Power(0.3, 0.8, 2.0), Power(0.5, 0.4)
STEPS = 40
REGULARIZERS: dict[str, Regularizer] = {
    "entropic": Entropic(),
    "euclidean": Euclidean(),
    "tsallis": Tsallis(0.5),
    "tsallis(0.3)": Tsallis(0.3),
    "log-barrier": LogBarrier(),
}
FEEDBACKS: dict[str, Feedback] = {"exact": Exact(), "realised": Realised(), "bandit": Bandit(EPS)}
PATHS = pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "numpy"])


def drawn(counts: tuple[int, ...], batch: int, games: int = 1, dtype: torch.dtype = torch.float64) -> Any:
    """Payoffs and scores."""
    generator = torch.Generator().manual_seed(batch)
    payoffs = torch.randn(games, len(counts), *counts, generator=generator, dtype=torch.float64)
    scores = tuple(2 * torch.randn(batch, a, generator=generator, dtype=torch.float64) for a in counts)
    return payoffs.to(dtype), tuple(y.to(dtype) for y in scores)


def keys(seeds: Any) -> Tensor:
    return Stream(list(seeds)).take()[0]


def run(payoffs: Tensor, scores: Policy, seeds: Any, steps: int = STEPS, first: int = 0, **options: Any) -> Learned:
    name = options.pop("regularizer", "entropic")
    regularizer = REGULARIZERS[name]
    gamma, eps = ([schedule(t) for t in range(first, first + steps)] for schedule in (GAMMA, EPS))
    options = {"parameter": getattr(regularizer, "q", 0.0), "first_iteration": first, "feedback": "bandit"} | options
    return learn(payoffs, scores, keys(seeds), gamma, eps, regularizer=name.split("(")[0], **options)


def plain(
    payoffs: Tensor, scores: Policy, seeds: Any, steps: int = STEPS, first: int = 0, **options: str
) -> list[Leader]:
    """The states of the plain solver after 0, 1, ... steps."""
    regularizer = REGULARIZERS[options.get("regularizer", "entropic")]
    game = MatrixGame(payoffs, player_count=len(scores))
    solver = FTRL(GAMMA, regularizer, feedback=FEEDBACKS[options.get("feedback", "bandit")])
    states = [Leader(scores, tuple(map(regularizer.choose, scores)))]
    for t in range(first, first + steps):
        states.append(solver.step(t, game, states[-1], Stream(list(seeds), t)))
    return states


def same(one: Learned, other: Learned, lanes: Any = slice(None)) -> bool:
    """Bit for bit."""
    fields = ("scores", "policy", "total")
    pairs = [(x, y[lanes]) for f in fields for x, y in zip(getattr(one, f), getattr(other, f), strict=True)]
    if one.watched and other.watched:
        pairs += [(x, getattr(other.watched, f)[lanes]) for f, x in vars(one.watched).items()]
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("counts", [(3, 2), (5, 2), (2, 3, 2)], ids=str)
@pytest.mark.parametrize("feedback", FEEDBACKS)
@pytest.mark.parametrize("regularizer", REGULARIZERS)
@PATHS
def test_equals_the_plain_solver(counts: tuple[int, ...], feedback: str, regularizer: str, compiled: bool) -> None:
    payoffs, scores = drawn(counts, 7)
    options = {"regularizer": regularizer, "feedback": feedback}
    found = run(payoffs, scores, range(7), compiled=compiled, record=range(STEPS + 1), **options)
    states = plain(payoffs[0], scores, range(7), **options)
    for n, state in enumerate(states):
        assert_close(tuple(x[n] for x in found.records), state.policy, rtol=0, atol=1e-12)
    assert_close(found.scores, states[-1].scores, rtol=0, atol=1e-12)
    assert_close(found.policy, states[-1].policy, rtol=0, atol=1e-12)


@pytest.mark.parametrize("counts", [(3, 2), (5, 2), (2, 3, 2)], ids=str)
@pytest.mark.parametrize("feedback", FEEDBACKS)
@pytest.mark.parametrize("batch", [1, 7, 257])
@PATHS
def test_a_game_for_each_lane(counts: tuple[int, ...], feedback: str, batch: int, compiled: bool) -> None:
    payoffs, scores = drawn(counts, batch, games=5)
    game = torch.arange(batch) * 3 % 5
    found = run(payoffs, scores, range(batch), game=game, feedback=feedback, compiled=compiled, steps=9)
    state = plain(payoffs[game], scores, range(batch), feedback=feedback, steps=9)[-1]
    assert_close(found.scores, state.scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize("counts", [(4,), (1, 6), (2, 2, 2, 2, 2)], ids=str)
@pytest.mark.parametrize("feedback", FEEDBACKS)
@PATHS
def test_any_number_of_players(counts: tuple[int, ...], feedback: str, compiled: bool) -> None:
    payoffs, scores = drawn(counts, 3)
    found = run(payoffs, scores, range(3), feedback=feedback, compiled=compiled)
    state = plain(payoffs[0], scores, range(3), feedback=feedback)[-1]
    assert_close(found.scores, state.scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize("feedback", FEEDBACKS)
@pytest.mark.parametrize("regularizer", REGULARIZERS)
@PATHS
def test_single_precision(feedback: str, regularizer: str, compiled: bool) -> None:
    """The draws are those of float32, so the reference is the plain solver in float32; two roundings apart."""
    payoffs, scores = drawn((3, 2), 20, dtype=torch.float32)
    options = {"regularizer": regularizer, "feedback": feedback}
    found = run(payoffs, scores, range(20), compiled=compiled, steps=8, **options)
    state = plain(payoffs[0], scores, range(20), steps=8, **options)[-1]
    assert_close(found.policy, state.policy, rtol=0, atol=1e-5)
    assert found.policy[0].dtype == torch.float32
    if feedback == "exact":
        exact = plain(payoffs[0].double(), tuple(y.double() for y in scores), range(20), steps=8, **options)[-1]
        assert_close(tuple(x.double() for x in found.policy), exact.policy, rtol=0, atol=1e-5)


@pytest.mark.parametrize("counts", [(3, 2), (5, 2), (2, 3, 2)], ids=str)
@pytest.mark.parametrize("feedback", FEEDBACKS)
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_alone_or_together_at_once_or_in_parts_bit_for_bit(
    counts: tuple[int, ...], feedback: str, regularizer: str
) -> None:
    payoffs, scores = drawn(counts, 70, games=3)
    game, steps = torch.arange(70) % 3, 30
    options: dict[str, Any] = {"regularizer": regularizer, "feedback": feedback, "total": True}
    options["watch"] = Watch(tuple(torch.eye(a, dtype=torch.float64)[0] for a in counts), 0.7)
    whole = run(payoffs, scores, range(70), steps, game=game, **options)
    alone = run(payoffs, tuple(y[65:66] for y in scores), [65], steps, game=game[65:66], **options)
    assert same(alone, whole, slice(65, 66))
    begun = run(payoffs, scores, range(70), 11, game=game, **options)
    ended = run(payoffs, begun.scores, range(70), steps - 11, first=11, game=game, past=begun, **options)
    assert same(ended, whole)


@PATHS
def test_watched_and_total_against_every_policy(compiled: bool) -> None:
    payoffs, scores = drawn((3, 2), 50)
    target = (torch.tensor([1.0, 0.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double())
    found = run(payoffs, scores, range(50), watch=Watch(target, 0.8), total=True, compiled=compiled)
    states = plain(payoffs[0], scores, range(50))
    far = torch.stack([sum((x - y).abs().sum(-1) for x, y in zip(s.policy, target, strict=True)) for s in states]) / 2
    assert isinstance(far, Tensor)
    far, watched = far[1:], found.watched
    assert watched is not None
    assert_close(watched.distance, far[-1])
    assert_close(watched.closest, far.amin(0))
    assert_close(watched.farthest, far.amax(0))
    for first, inside in ((watched.entered, far <= 0.8), (watched.left, far > 0.8)):
        ever = inside.any(0)
        assert 0 < ever.sum() < 50  # both happen
        assert torch.equal(first, torch.where(ever, inside.long().argmax(0) + 1, -1))
    for i, total in enumerate(found.total):
        assert_close(total, torch.stack([s.policy[i] for s in states[:-1]]).sum(0))


@PATHS
def test_records_of_scores_and_schedules_of_lanes(compiled: bool) -> None:
    payoffs, scores = drawn((3, 2), 10)
    schedule = torch.arange(10) % 2
    gamma = [[0.1] * 6, [0.4] * 6]
    options: dict[str, Any] = {"feedback": "bandit", "compiled": compiled, "record": [2, 6], "record_scores": True}
    found = learn(payoffs, scores, keys(range(10)), gamma, 0.2, schedule=schedule, **options)
    for i in range(2):
        one = learn(payoffs, scores, keys(range(10)), gamma[i], 0.2, **options)
        for y, z in zip(one.records, found.records, strict=True):
            assert y.shape == (2, 10, y.shape[-1])
            assert_close(y[:, i::2], z[:, i::2], rtol=0, atol=0)
        assert_close(tuple(z[1] for z in one.records), one.scores, rtol=0, atol=0)


@pytest.mark.parametrize("regularizer", REGULARIZERS)
@pytest.mark.parametrize("counts", [(3, 2), (2, 3, 2)], ids=str)
@PATHS
def test_what_is_not_a_number_stays_in_its_lane(counts: tuple[int, ...], regularizer: str, compiled: bool) -> None:
    payoffs, scores = drawn(counts, 9)
    spoilt = tuple(y.clone() for y in scores)
    spoilt[0][3, 1], spoilt[0][5] = torch.nan, torch.inf
    with np.errstate(invalid="ignore"):
        one = run(payoffs, scores, range(9), regularizer=regularizer, compiled=compiled)
        two = run(payoffs, spoilt, range(9), regularizer=regularizer, compiled=compiled)
    others = [0, 1, 2, 4, 6, 7, 8]
    for x, y in zip(one.policy, two.policy, strict=True):
        assert torch.equal(x[others], y[others])
    assert two.policy[0][[3, 5]].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("regularizer", REGULARIZERS)
@PATHS
def test_extreme_scores(regularizer: str, dtype: torch.dtype, compiled: bool) -> None:
    """A gap at which probabilities underflow is kept in the scores; one that is infinite is no obstacle."""
    first = torch.tensor([[0.0, -200.0, -1e4], [1e30, 0.0, -1e30], [-torch.inf, 5.0, 5.0], [3.0, 3.0, 3.0]])
    scores = (first.to(dtype), torch.zeros(4, 2, dtype=dtype))
    payoffs = torch.zeros(1, 2, 3, 2, dtype=dtype)
    found = run(payoffs, scores, range(4), 5, regularizer=regularizer, compiled=compiled)
    wanted = REGULARIZERS[regularizer].choose(first.double())
    assert_close(found.policy[0].double(), wanted, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-12)
    assert_close(found.scores[0][0], scores[0][0], rtol=0, atol=0)


@pytest.mark.parametrize("counts", [(12, 3), (3, 40)], ids=str)
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_many_actions(counts: tuple[int, ...], regularizer: str) -> None:
    payoffs, scores = drawn(counts, 5)
    for feedback in FEEDBACKS:
        options = {"regularizer": regularizer, "feedback": feedback}
        found = run(payoffs, tuple(10 * y for y in scores), range(5), 5, **options)
        state = plain(payoffs[0], tuple(10 * y for y in scores), range(5), 5, **options)[-1]
        assert_close(found.policy, state.policy, rtol=0, atol=1e-12)


@pytest.mark.parametrize("single", [True, False], ids=["single", "double"])
def test_exponential_and_logarithm(single: bool) -> None:
    """Within two units in the last place, and zero where the exponential would be subnormal."""
    dtype = np.float32 if single else np.float64
    exp, log = learning_loops.numbers
    z = -np.geomspace(1e-12, 80.0 if single else 700.0, 20_001).astype(dtype)
    for function, x in ((exp, z), (log, 1 - z), (log, np.geomspace(1, 1e30, 20_001).astype(dtype))):
        found, wanted = function(x), getattr(np, function.__name__)(x.astype(np.longdouble))
        units = np.abs(found - wanted) / np.spacing(np.maximum(np.abs(wanted), np.finfo(dtype).tiny).astype(dtype))
        assert units.max() < 2
    ends = exp(np.array([0.0, -1e4, -np.inf, np.nan], dtype))
    assert ends[0] == 1
    assert (ends[1:3] == 0).all()
    assert np.isnan(ends[3])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("payoffs", torch.zeros(2, 3, 2)),
        ("scores", (torch.zeros(4, 3).float(), torch.zeros(4, 2).double())),
        ("keys", torch.zeros(3, 2, dtype=torch.int64)),
        ("game", torch.tensor([0, 0, 0, 1])),
        ("schedule", torch.tensor([0, 0, -1, 0])),
        ("eps", 0.0),
        ("regularizer", "quadratic"),
        ("feedback", "noisy"),
        ("record", [3, 2]),
        ("parameter", 1.0),
        ("first_iteration", -1),
        ("watch.target", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusals(name: str, value: Any) -> None:
    payoffs, scores = drawn((3, 2), 4)
    given = {"payoffs": payoffs, "scores": scores, "keys": keys(range(4)), "gamma": [0.1] * 5, "eps": 0.1}
    options = {"feedback": "bandit", "regularizer": "tsallis"}
    changed = {"watch": Watch(scores[::-1], 0.1)} if name == "watch.target" else {name: value}
    with pytest.raises(InvalidInput, match=name):
        learn(**(given | options | changed))


def test_serves_what_it_can() -> None:
    payoffs, scores = drawn((3, 2), 4)
    assert learning.serves(payoffs, scores)
    assert not learning.serves(payoffs.half(), scores)
    assert not learning.serves(payoffs.requires_grad_(), scores)


def test_no_steps_at_all() -> None:
    payoffs, scores = drawn((3, 2), 4)
    found = learn(payoffs, scores, keys(range(4)), [], record=[0])
    assert_close(found.policy, tuple(torch.softmax(y, -1) for y in scores))
    assert_close(tuple(x[0] for x in found.records), found.policy)
    assert replace(found).watched is None

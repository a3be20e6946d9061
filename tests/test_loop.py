"""The loop: batches equal runs one by one, statuses, observers, refusals; and conformance over the whole catalogue."""

import inspect
import math
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim import catalog
from gamesim.averaging import Averaged
from gamesim.errors import InvalidInput
from gamesim.games import Game, Policy
from gamesim.loop import Observer, Run, Status, solve
from gamesim.states import Played, Scored, tensors
from gamesim.testing import check_batch, check_game, check_solver
from gamesim.traces import Snapshot, Trace
from small_games import GAMES, PAIRS, SOLVERS, small, small_solver

NOISY = ("gmfg-ppo", "online-mirror-descent", "policy-mirror-descent", "ftrl")
OF_GRAPHONS = [solver for solver in SOLVERS if ("graphon/sis", solver) in PAIRS]


class Pennies:
    """Matching pennies in three methods; imports nothing of gamesim, takes batches."""

    A = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)

    def start(self) -> tuple[Tensor, ...]:
        return (torch.tensor([0.7, 0.3], dtype=torch.float64), torch.tensor([0.4, 0.6], dtype=torch.float64))

    def feedback(self, policy: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, y = policy
        return (y @ self.A.T, -x @ self.A)

    def exploitability(self, policy: tuple[Tensor, ...]) -> Tensor:
        return sum(
            (q.amax(-1) - (p * q).sum(-1) for p, q in zip(policy, self.feedback(policy), strict=True)),
            torch.tensor(0.0),
        )


class Alone(Pennies):
    """The same, written for one policy at a time; a batch of two is answered wrongly, of three not at all."""

    def feedback(self, policy: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, y = policy
        return (self.A @ y, -self.A.T @ x)

    def exploitability(self, policy: tuple[Tensor, ...]) -> Tensor:
        x, y = policy
        return (self.A @ y).max() - (self.A.T @ x).min()


# --- batches --------------------------------------------------------------------------------------------------------


def assert_same(a: Policy, b: Policy, atol: float = 0.0, rtol: float = 0.0) -> None:
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, atol=atol, rtol=rtol)


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize(("game", "tolerance"), [("graphon/sis", 0.0), ("mean-field/beach-bar", 1e-13)])
def test_a_batch_of_noisy_seeds_is_the_separate_runs(game: str, tolerance: float, name: str) -> None:
    """Bit for bit, but for the matrix products of PyTorch, whose rounding depends on the size of the batch."""
    played, solver = small(game), gs.make_solver(name, feedback="noisy(0.3)")
    many = solve(played, solver, iterations=4, seeds=3, seed=5)
    assert many.exploitability.shape == (3, 5)
    for i in range(3):
        one = solve(played, solver, iterations=4, seed=5 + i)
        assert_same(tuple(p[i] for p in many.policy), one.policy, atol=tolerance, rtol=0)
        for metric in many.trace.metrics:
            torch.testing.assert_close(many.metric(metric)[i], one.metric(metric)[0], atol=tolerance, rtol=0)
    assert not torch.equal(many.policy[0][0], many.policy[0][1])


def test_a_batch_of_noisy_seeds_of_a_game_with_several_players() -> None:
    solver = gs.make_solver("online-mirror-descent", feedback="noisy(0.3)")
    many = solve(Pennies(), solver, iterations=4, seeds=2)
    for i in range(2):
        assert_same(tuple(p[i] for p in many.policy), solve(Pennies(), solver, iterations=4, seed=i).policy)


@pytest.mark.parametrize(
    ("name", "field", "values"),
    [
        ("gmfg-ppo", "temperature", [0.1, 1.0]),
        ("gmfg-ppo", "averaging", [0.1, 0.9]),
        ("gmfg-ppo", "mixing", [0.0, 0.3]),
        ("policy-mirror-descent", "temperature", [0.1, 1.0]),
        ("policy-mirror-descent", "step_size", [0.1, 0.5]),
        ("online-mirror-descent", "step_size", [0.1, 2.0]),
        ("fictitious-play", "temperature", [0.1, 1.0]),
        pytest.param("fictitious-play", "averaging", [0.3, 0.9]),
        ("fixed-point", "temperature", [0.2, 1.0]),
    ],
)
@pytest.mark.parametrize("average", [False, True])
def test_a_batch_of_hyper_parameters_is_one_by_one(name: str, field: str, values: list[float], average: bool) -> None:
    game = small()
    together = gs.make_solver(name, **{field: torch.tensor(values, dtype=torch.float64)})
    many = solve(game, together, iterations=4, average=average)
    assert many.exploitability.shape == (2, 5)
    for i, value in enumerate(values):
        one = solve(game, gs.make_solver(name, **{field: value}), iterations=4, average=average)
        assert_same(tuple(p[i] for p in many.policy), one.policy, atol=1e-12, rtol=0)
        torch.testing.assert_close(many.exploitability[i], one.exploitability[0], atol=1e-12, rtol=0)


def test_seeds_and_hyper_parameters_at_once() -> None:
    game = small()
    sizes = torch.tensor([0.1, 0.5], dtype=torch.float64)
    many = solve(
        game, gs.make_solver("policy-mirror-descent", step_size=sizes, feedback="noisy(0)"), iterations=3, seeds=3
    )
    assert many.exploitability.shape == (3, 2, 4)
    one = solve(game, gs.make_solver("policy-mirror-descent", step_size=0.5), iterations=3)
    torch.testing.assert_close(many.exploitability[2, 1], one.exploitability[0], atol=1e-12, rtol=0)


def test_two_tensors_of_one_length_go_together() -> None:
    game = small()
    steps, lams = torch.tensor([0.1, 0.5]).double(), torch.tensor([2.0, 0.3]).double()
    many = solve(game, gs.make_solver("policy-mirror-descent", step_size=steps, temperature=lams), iterations=3)
    for i in range(2):
        one = solve(
            game,
            gs.make_solver("policy-mirror-descent", step_size=float(steps[i]), temperature=float(lams[i])),
            iterations=3,
        )
        assert_same(tuple(p[i] for p in many.policy), one.policy, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("game", "field", "values"),
    [
        ("graphon/sis", "infection", [0.2, 0.9]),
        ("graphon/sis", "reward_scale", [1.0, 5.0]),
        ("graphon/beach", "crowd", [1.0, 8.0]),
        ("graphon/investment", "cost", [0.5, 2.0]),
    ],
)
@pytest.mark.parametrize("solver", OF_GRAPHONS)
def test_a_batch_of_games_is_one_by_one(game: str, field: str, values: list[float], solver: str) -> None:
    smooth = (
        {"temperature": 0.5} if solver in ("fictitious-play", "fixed-point") else {}
    )  # greed breaks ties by rounding
    made = gs.make_solver(solver, **smooth)
    many = solve(small(game, **{field: torch.tensor(values, dtype=torch.float64)}), made, iterations=3)
    assert many.exploitability.shape == (2, 4)
    for i, value in enumerate(values):
        one = solve(small(game, **{field: value}), made, iterations=3)
        assert_same(tuple(p[i] for p in many.policy), one.policy, atol=1e-12, rtol=0)
        torch.testing.assert_close(many.exploitability[i], one.exploitability[0], atol=1e-12, rtol=0)


def test_seeds_of_a_batch_of_games() -> None:
    game = small(infection=torch.tensor([0.2, 0.9], dtype=torch.float64))
    many = solve(game, gs.make_solver("gmfg-ppo", feedback="noisy(0.1)"), iterations=2, seeds=3)
    assert many.exploitability.shape == (3, 2, 3)


# --- what solve reports ---------------------------------------------------------------------------------------------


class Watch(Observer):
    """Notes what it is told; asks to stop at an iteration."""

    def __init__(self, stop: int | None = None) -> None:
        self.said, self.policies, self.stop = list[str](), list[Policy](), stop

    def begin(self, run: Run) -> None:
        self.said.append("begin")
        self.policies.append(run.policy)

    def measured(self, run: Run) -> Status | None:
        self.said.append(f"measured {run.iteration}")
        assert run.trace.iterations[-1] == run.iteration
        return None

    def iterated(self, run: Run) -> Status | None:
        self.said.append(f"iterated {run.iteration}")
        self.policies.append(run.policy)
        return Status.STOPPED if run.iteration == self.stop else None

    def end(self, run: Run) -> None:
        self.said.append(f"end {run.status.name}")


def test_observers_hear_everything_in_order() -> None:
    watch = Watch()
    solve(small(), gs.make_solver("fixed-point"), iterations=3, every=2, observers=[watch])
    assert watch.said == [
        *("begin", "measured 0", "iterated 1", "measured 2", "iterated 2", "measured 3", "iterated 3"),
        "end OUT_OF_ITERATIONS",
    ]


def test_an_observer_stops_the_run() -> None:
    result = solve(small(), gs.make_solver("fixed-point"), iterations=10, observers=[Watch(stop=4)])
    assert (result.status, result.iterations) == (Status.STOPPED, 4)


def test_observers_are_told_the_end_when_something_fails() -> None:
    class Breaks(Observer):
        def iterated(self, run: Run) -> Status | None:
            raise RuntimeError("broken observer")

    first, last = Watch(), Watch()
    with pytest.raises(RuntimeError, match="broken observer"):
        solve(small(), gs.make_solver("fixed-point"), observers=[first, Breaks(), last])
    assert first.said[-1] == last.said[-1] == "end RUNNING"


@pytest.mark.parametrize("name", ["policy-mirror-descent", "gmfg-ppo", "online-mirror-descent"])
def test_the_average_is_the_mean_of_the_iterates(name: str) -> None:
    game, solver, watch = small(), gs.make_solver(name), Watch()
    last = solve(game, solver, iterations=5, observers=[watch])
    mean = solve(game, solver, iterations=5, average=True)
    for i, p in enumerate(mean.policy):
        torch.testing.assert_close(p, torch.stack([policy[i] for policy in watch.policies]).mean(0), atol=1e-14, rtol=0)
    assert_same(mean.state.inner.policy, last.policy)
    assert float(mean.exploitability[0, -1]) == float(gs.exploitability(game, mean.policy))
    if name == "gmfg-ppo":
        assert mean.state.flow[0].shape == last.state.flow.shape
    assert Averaged(solver).measures == getattr(solver, "measures", {})


@pytest.mark.parametrize(
    ("iterations", "every", "rows"), [(6, 2, [0, 2, 4, 6]), (5, 2, [0, 2, 4, 5]), (0, 3, [0]), (2, 9, [0, 2])]
)
def test_every(iterations: int, every: int, rows: list[int]) -> None:
    result = solve(small(), gs.make_solver("fixed-point"), iterations=iterations, every=every)
    assert result.trace.iterations == rows
    assert result.exploitability.shape == (1, len(rows))
    assert {row[0] for row in result.trace.rows()} == set(rows)


def test_measuring_at_log_spaced_iterations_gives_the_rows_of_measuring_each() -> None:
    game, solver = small(), gs.make_solver("ftrl", feedback="noisy(0.3)")
    sparse, dense = solve(game, solver, iterations=30, every="log"), solve(game, solver, iterations=30)
    assert sparse.trace.iterations == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 26, 30]
    assert torch.equal(sparse.exploitability, dense.exploitability[:, sparse.trace.iterations])


class Leaping:
    """Counts: two steps at a time where it may."""

    leapt: ClassVar[list[tuple[int, int]]] = []

    def init(self, game: Game) -> Played:
        return Played(game.start())

    def step(self, t: int, game: Game, state: Played, generator: Any) -> Played:
        return Played(tuple(torch.lerp(p, p.flip(-1), 0.1 * (t + 1) % 1) for p in state.policy))

    def leap(self, t: int, until: int, game: Game, state: Played, generator: Any) -> tuple[Played, int] | None:
        if t < 2:
            return None
        self.leapt.append((t, until))
        for s in range(t, min(t + 2, until)):
            state = self.step(s, game, state, generator.at(s))
        return state, min(t + 2, until)


def test_leaps_land_where_steps_do_and_stop_at_what_is_measured() -> None:
    class Walking(Leaping):
        leap = None

    leaping, walking = (solve(Pennies(), kind(), iterations=9, every=5) for kind in (Leaping, Walking))
    assert leaping.trace.iterations == [0, 5, 9]
    assert Leaping.leapt == [(2, 5), (4, 5), (5, 9), (7, 9)]
    assert_same(leaping.policy, walking.policy)
    assert torch.equal(leaping.exploitability, walking.exploitability)


def test_cautions_are_warnings_and_the_run_goes_on() -> None:
    solver = gs.make_solver("ftrl", step_size="power(1, 2)")
    with pytest.warns(gs.Caution, match=r"step_size: power\(1, 2, 1\) sums to a finite number"):
        assert solve(Pennies(), solver, iterations=2).iterations == 2


def test_a_state_may_have_metrics_of_its_own() -> None:
    @dataclass(frozen=True)
    class Counted(Played):
        count: Tensor

        @property
        def metrics(self) -> dict[str, Tensor]:
            return {"count": self.count}

    class Counter(Leaping):
        leap = None

        def init(self, game: Game) -> Counted:
            return Counted(game.start(), torch.zeros(()))

        def step(self, t: int, game: Game, state: Counted, generator: Any) -> Counted:
            return Counted(state.policy, state.count + 1)

    assert solve(Pennies(), Counter(), iterations=3, seeds=2).metric("count").tolist() == [[0, 1, 2, 3]] * 2


def test_no_iterations_measure_the_start() -> None:
    game = small()
    result = solve(game, gs.make_solver("gmfg-ppo"), iterations=0)
    assert result.status is Status.OUT_OF_ITERATIONS
    assert_same(result.policy, game.start())
    assert float(result.exploitability[0, 0]) == float(gs.exploitability(game, game.start()))


def test_the_tolerance_stops_at_the_worst_of_the_batch() -> None:
    game, solver = small(), gs.make_solver("policy-mirror-descent", step_size=0.5)
    full = solve(game, solver, iterations=60).regularized_exploitability[0]
    tolerance = float(full[20])
    stopped = solve(game, solver, iterations=60, tolerance=tolerance)
    assert (stopped.status, stopped.iterations) == (Status.CONVERGED, 20)
    assert stopped.target == "regularized_exploitability"
    sizes = torch.tensor([0.5, 0.2], dtype=torch.float64)
    both = solve(game, gs.make_solver("policy-mirror-descent", step_size=sizes), iterations=60, tolerance=tolerance)
    assert both.iterations > 20
    assert float(both.regularized_exploitability[:, -1].max()) <= tolerance


def test_the_target_is_what_the_game_knows() -> None:
    assert solve(small(), gs.make_solver("online-mirror-descent"), iterations=1).target == "exploitability"
    plain = solve(Pennies(), gs.make_solver("policy-mirror-descent"), iterations=1000, tolerance=0.05, average=True)
    assert plain.target == "exploitability"
    assert plain.status is Status.CONVERGED


class Poison(Pennies):
    """Values that are not numbers from the third call on."""

    def __init__(self) -> None:
        self.calls = 0

    def feedback(self, policy: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.calls += 1
        bad = math.nan if self.calls > 3 else 0.0
        return tuple(q + bad for q in super().feedback(policy))

    def exploitability(self, policy: tuple[Tensor, ...]) -> Tensor:
        return Pennies().exploitability(policy)


def test_a_run_whose_values_are_no_longer_numbers_diverges() -> None:
    result = solve(Poison(), gs.make_solver("online-mirror-descent"), iterations=50)
    assert result.status is Status.DIVERGED
    assert result.iterations == 4
    assert "lower the step size" in result.status.value
    assert bool(result.exploitability[0, :-1].isfinite().all())


def test_a_batch_diverges_when_one_of_it_does() -> None:
    sizes = torch.tensor([0.1, 1e308], dtype=torch.float64)
    result = solve(small(reward_scale=100.0), gs.make_solver("online-mirror-descent", step_size=sizes), iterations=5)
    assert result.status is Status.DIVERGED


def test_frame_is_tidy() -> None:
    frame = solve(small(), gs.make_solver("gmfg-ppo"), iterations=2, seeds=2).frame()
    assert list(frame.columns) == ["iteration", "seed", "metric", "value"]
    assert len(frame) == 3 * 2 * frame["metric"].nunique()


def test_results_of_a_resumed_run() -> None:
    """A trace read from a file is flat; the result is shaped as ever."""
    game, solver = small(), gs.make_solver("gmfg-ppo", feedback="noisy(0.2)")
    for seeds in (None, 2):
        whole = solve(game, solver, iterations=6, seeds=seeds)
        half = solve(game, solver, iterations=3, seeds=seeds)
        flat = Trace(half.trace.iterations, {k: [x.reshape(-1) for x in v] for k, v in half.trace.metrics.items()})
        rest = solve(game, solver, iterations=6, seeds=seeds, resume=Snapshot(3, tensors(half.state), flat))
        assert rest.trace.rows() == whole.trace.rows()
        assert torch.equal(rest.exploitability, whole.exploitability)
        assert_same(rest.policy, whole.policy)


def test_a_run_stopped_before_it_could_measure_measures_when_it_goes_on() -> None:
    game, solver = small(), gs.make_solver("gmfg-ppo")
    whole, half = solve(game, solver, iterations=6), solve(game, solver, iterations=3)
    unmeasured = Snapshot(3, tensors(half.state), half.trace.only(lambda t: t < 3))
    assert solve(game, solver, iterations=6, resume=unmeasured).trace.rows() == whole.trace.rows()


def test_a_longer_run_does_not_keep_the_extra_row_of_the_shorter_one() -> None:
    game, solver = small(), gs.make_solver("gmfg-ppo")
    whole, half = solve(game, solver, iterations=8, every=4), solve(game, solver, iterations=6, every=4)
    assert half.trace.iterations == [0, 4, 6]
    rest = solve(game, solver, iterations=8, every=4, resume=Snapshot(6, tensors(half.state), half.trace))
    assert rest.trace.rows() == whole.trace.rows()


def test_a_state_of_another_solver_is_refused() -> None:
    half = solve(small(), gs.make_solver("fictitious-play"), iterations=1)
    with pytest.raises(InvalidInput, match="other settings or another version made it"):
        solve(small(), gs.make_solver("gmfg-ppo"), resume=Snapshot(1, tensors(half.state), half.trace))


def test_global_generators_are_left_alone() -> None:
    before = torch.get_rng_state()
    solve(small(), gs.make_solver("gmfg-ppo", feedback="noisy(1)"), iterations=3, seeds=4)
    assert torch.equal(torch.get_rng_state(), before)


def test_statuses_are_advice_and_labels() -> None:
    assert Status.OUT_OF_ITERATIONS.label == "out-of-iterations"
    assert all(status.value for status in Status)


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [n for n in SOLVERS if inspect.isclass(getattr(catalog.find("solvers", n), "requires", None))]
)
def test_a_solver_that_needs_a_richer_family_says_so(name: str) -> None:
    solver = gs.make_solver(name)
    needs = f"an? {solver.requires.__name__}, which {type(solver).__name__} needs"
    with pytest.raises(InvalidInput, match=f"game: got 'Pennies', expected {needs}"):
        solve(Pennies(), solver)


def test_optimal_values_need_a_graphon_game() -> None:
    with pytest.raises(InvalidInput, match="a GraphonGame, which OnlineMirrorDescent needs"):
        solve(Pennies(), gs.make_solver("online-mirror-descent", optimal_values=True))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"iterations": -1}, "iterations: got -1"),
        ({"iterations": 1.5}, "iterations: got 1.5"),
        ({"iterations": True}, "iterations: got True"),
        ({"seeds": 0}, "seeds: got 0, expected a whole number of at least 1"),
        ({"seeds": 10**9}, "seeds: got 1000000000"),
        ({"seed": -1}, "seed: got -1"),
        ({"every": 0}, "every: got 0"),
        ({"tolerance": math.nan}, "tolerance: got nan"),
        ({"tolerance": -1.0}, "tolerance: got -1.0, expected a number of at least 0"),
        ({"tolerance": "small"}, "tolerance: got 'small'"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        solve(small(), gs.make_solver("gmfg-ppo"), **arguments)
    assert str(caught.value).startswith(words)


def test_a_class_instead_of_an_instance() -> None:
    with pytest.raises(InvalidInput, match=r"got 'Pennies', expected an instance: Pennies\(\)"):
        solve(Pennies, gs.make_solver("online-mirror-descent"))
    with pytest.raises(InvalidInput, match=r"an instance: GMFGPPO\(\)"):
        solve(small(), catalog.find("solvers", "gmfg-ppo"))


def test_things_that_are_no_game_or_solver() -> None:
    with pytest.raises(InvalidInput, match=r"feedback is missing|start is missing"):
        solve(object(), gs.make_solver("online-mirror-descent"))
    with pytest.raises(InvalidInput, match="solver: got 'int', expected an object with init"):
        solve(Pennies(), 3)


def test_an_unknown_metric() -> None:
    result = solve(small(), gs.make_solver("online-mirror-descent"), iterations=0)
    with pytest.raises(InvalidInput, match="metric: got 'regret', expected one of exploitability"):
        result.metric("regret")
    with pytest.raises(InvalidInput, match="regularized_exploitability"):
        _ = result.regularized_exploitability


def test_metrics_must_have_the_shape_of_the_batch() -> None:
    class Vector(Pennies):
        def metrics(self, policy: Policy, temperature: float = 0.0) -> dict[str, Tensor]:
            return {"exploitability": self.exploitability(policy), "each": torch.zeros(2)}

    with pytest.raises(InvalidInput, match=r"'each'.*the batch shape"):
        solve(Vector(), gs.make_solver("online-mirror-descent"))


# --- a user's own game ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", [Pennies, Alone])
@pytest.mark.parametrize("solver", ["online-mirror-descent", "policy-mirror-descent"])
def test_three_methods_are_a_game(game: type, solver: str) -> None:
    assert {n for n, f in vars(Pennies).items() if callable(f)} == {"start", "feedback", "exploitability"}
    check_game(game())
    result = solve(game(), gs.make_solver(solver), iterations=300, average=True)
    assert float(result.exploitability[0, -1]) < 0.1
    assert isinstance(game(), Game)


@pytest.mark.parametrize("game", [Pennies, Alone])
def test_both_ways_of_writing_it_give_the_same(game: type) -> None:
    solver = gs.make_solver("policy-mirror-descent", feedback="noisy(0.2)")
    assert_same(
        solve(game(), solver, iterations=5).policy, solve(Pennies(), solver, iterations=5).policy, atol=1e-14, rtol=0
    )


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_seeds_of_a_game_that_takes_no_batch_are_refused_in_a_line(seeds: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        solve(Alone(), gs.make_solver("online-mirror-descent"), seeds=seeds)
    text = str(caught.value)
    assert text.startswith("game: Alone ")
    assert "seeds" in text
    assert "'...'" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("feedback", "exploitability", "words"),
    [
        ("return (policy[0].flip(0),)", "return policy[0].sum(-1) - 1", "another feedback[0] than one by one"),
        ("raise KeyError('no')", "return 0.0", "fails on a batch"),
        ("return policy", "return policy[0].sum() * 0", "shape [] instead of [2]"),
        ("return policy", "return float(policy[0].sum()) * 0", "shape [] instead of [2]"),
        ("return (policy[0].mean(),)", "return policy[0].sum(-1) - 1", "fails on a batch"),
    ],
)
def test_ways_of_not_taking_a_batch(feedback: str, exploitability: str, words: str) -> None:
    only_alone = f"if policy[0].dim() == 1: return policy\n{feedback}"
    space: dict[str, Any] = {"torch": torch}
    exec(
        "class Mine:\n def start(self): return (torch.tensor([0.25, 0.75]),)\n def feedback(self, policy):\n"
        + textwrap.indent(only_alone, "  ")
        + f"\n def exploitability(self, policy): {exploitability}\n",
        space,
    )
    with pytest.raises(InvalidInput) as caught:
        solve(space["Mine"](), gs.make_solver("online-mirror-descent"), seeds=2)
    assert words in str(caught.value)


def test_hyper_parameters_of_a_game_that_takes_no_batch_are_refused() -> None:
    solver = gs.make_solver("online-mirror-descent", step_size=torch.tensor([0.1, 0.2]))
    with pytest.raises(InvalidInput, match="game: Alone"):
        solve(Alone(), solver)


def test_a_user_module_that_imports_nothing_of_gamesim(tmp_path: Any) -> None:
    """In a fresh process, by `module:Class`, with the exact text a user would write."""
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom torch import Tensor\n\n\n" + textwrap.dedent(inspect.getsource(Pennies))
    )
    code = (
        "import sys, mine; assert not any(m.startswith('gamesim') for m in sys.modules);"
        "import gamesim as gs; gs.check_game(mine.Pennies());"
        "r = gs.solve(gs.make('mine:Pennies'), gs.make_solver('policy-mirror-descent'), iterations=50, seeds=2);"
        "print(r.status.name, tuple(r.exploitability.shape))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["OUT_OF_ITERATIONS", "(2,", "51)"], done.stderr


# --- check_game and check_solver say what is wrong ------------------------------------------------------------------


def broken(**methods: Any) -> Any:
    return type("Broken", (Pennies,), methods)()


def _mutate(self: Any, policy: Policy) -> Any:
    values = Pennies().feedback(policy)
    policy[0].add_(0.0).copy_(policy[0].flip(-1))
    return values


def _mutate_gap(self: Any, policy: Policy) -> Any:
    gap = Pennies().exploitability(policy)
    policy[0].copy_(policy[0].flip(-1))
    return gap


BROKEN_GAMES = {
    "no feedback": (broken(feedback=None), "feedback is missing"),
    "start is a list": (broken(start=lambda s: [torch.ones(2) / 2]), "expected a tuple of tensors"),
    "start is empty": (broken(start=lambda s: ()), "expected a tuple of tensors"),
    "start sums to 2": (broken(start=lambda s: (torch.ones(2), torch.ones(2) / 2)), "a row that sums to 2"),
    "start is negative": (broken(start=lambda s: (torch.tensor([1.5, -0.5]),)), "start()[0][1]: got '-0.5'"),
    "start is nan": (broken(start=lambda s: (torch.tensor([math.nan, 1.0]),)), "start()[0][0]: got 'nan'"),
    "start is whole": (broken(start=lambda s: (torch.tensor([1, 0]),)), "a floating-point tensor"),
    "feedback is a list": (broken(feedback=lambda s, p: list(p)), "expected a tuple like the policy"),
    "feedback is too short": (broken(feedback=lambda s, p: p[:1]), "expected a tuple like the policy"),
    "feedback has another shape": (broken(feedback=lambda s, p: (p[0][:1], p[1])), "the shape of the policy"),
    "feedback has another dtype": (
        broken(feedback=lambda s, p: tuple(x.float() for x in p)),
        "the policy has torch.float64",
    ),
    "feedback is nan": (broken(feedback=lambda s, p: tuple(x * math.nan for x in p)), "values must be finite"),
    "feedback is random": (broken(feedback=lambda s, p: tuple(torch.rand_like(x) for x in p)), "two calls differ"),
    "feedback changes the policy": (broken(feedback=_mutate), "feedback() changed the policy"),
    "exploitability is negative": (
        broken(exploitability=lambda s, p: torch.tensor(-1.0)),
        "a best deviation never loses",
    ),
    "exploitability is nan": (broken(exploitability=lambda s, p: math.nan), "exploitability: not finite"),
    "exploitability changes the policy": (broken(exploitability=_mutate_gap), "changed the policy it was given"),
}


@pytest.mark.parametrize("case", BROKEN_GAMES)
def test_check_game_says_what_is_wrong(case: str) -> None:
    game, words = BROKEN_GAMES[case]
    with pytest.raises(AssertionError) as caught:
        check_game(game)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("game", "words"),
    [
        (Alone(), "fails on a batch|answers a batch"),
        (broken(exploitability=lambda s, p: torch.zeros(2, 2)), "exploitability of shape"),
    ],
)
def test_check_batch_says_what_is_wrong(game: Any, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_batch(game)
    check_batch(Pennies())


@dataclass(frozen=True)
class Counted:
    policy: Policy
    count: int


@dataclass(frozen=True)
class Solver:
    """Does nothing, correctly."""

    def init(self, game: Any) -> Any:
        return Played(game.start())

    def step(self, t: int, game: Any, state: Any, generator: Any) -> Any:
        return state


class Global(Solver):
    def step(self, t: int, game: Any, state: Any, generator: Any) -> Any:
        return Scored(tuple(torch.randn_like(p) for p in state.policy))

    def init(self, game: Any) -> Any:
        return Scored(game.start())


class OwnGenerator(Solver):
    generator: ClassVar[torch.Generator] = torch.Generator()

    def step(self, t: int, game: Any, state: Any, generator: Any) -> Any:
        return Played(
            tuple(
                torch.softmax(torch.randn(p.shape, generator=self.generator, dtype=p.dtype), -1) for p in state.policy
            )
        )


class InPlace(Solver):
    def init(self, game: Any) -> Any:
        return Played(tuple(p.clone() for p in game.start()))

    def step(self, t: int, game: Any, state: Any, generator: Any) -> Any:
        for p in state.policy:
            p.copy_(p.flip(-1))
        return state


class OffTheSimplex(Solver):
    def step(self, t: int, game: Any, state: Any, generator: Any) -> Any:
        return Played(tuple(2 * p for p in state.policy))


class OtherShape(Solver):
    def step(self, t: int, game: Any, state: Any, generator: Any) -> Any:
        return Played(state.policy[:1])


class KeepsANumber(Solver):
    def init(self, game: Any) -> Any:
        return Counted(game.start(), 0)


class KeepsMemory(Solver):
    """Remembers outside its state."""

    memory: ClassVar[dict[int, Any]] = {}

    def step(self, t: int, game: Any, state: Any, generator: Any) -> Any:
        known = self.memory.get(id(state.policy[0]), (None, 0.0))[1]
        new = Played(tuple(torch.softmax(p.log() + torch.arange(2) * (0.1 + known), -1) for p in state.policy))
        self.memory[id(new.policy[0])] = new.policy[0], known + 1.0  # kept alive: an address is not given out twice
        return new


BROKEN_SOLVERS = {
    Global: "never from torch's global generator",
    OwnGenerator: "must agree bit for bit",
    InPlace: "changed policy.0 of the state it was given|agree bit for bit",
    OffTheSimplex: "a row that sums to",
    OtherShape: "the policy after a step: got '1 tensors', expected 2",
    KeepsANumber: "count: a state holds tensors",
    KeepsMemory: "continues differently|agree bit for bit",
}


@pytest.mark.parametrize("kind", BROKEN_SOLVERS)
def test_check_solver_says_what_is_wrong(kind: type) -> None:
    state = torch.get_rng_state()
    try:
        with pytest.raises(AssertionError, match=BROKEN_SOLVERS[kind]):
            check_solver(kind(), Pennies())
    finally:
        torch.set_rng_state(state)


def test_check_solver_of_a_solver_that_needs_more() -> None:
    with pytest.raises(AssertionError, match="GMFGPPO: game: got 'Pennies', expected a GraphonGame"):
        check_solver(gs.make_solver("gmfg-ppo"), Pennies())
    check_solver(Solver(), Pennies())


# --- conformance of everything in the catalogue ---------------------------------------------------------------------


@pytest.mark.parametrize("name", GAMES)
def test_every_game_is_a_game_and_takes_batches(name: str) -> None:
    game = small(name)
    check_batch(game)
    check_game(game)


@pytest.mark.parametrize(("game", "solver"), PAIRS)
def test_every_solver_on_every_game_that_it_takes(game: str, solver: str) -> None:
    check_solver(small_solver(solver), small(game))


@pytest.mark.parametrize("solver", NOISY)
def test_every_noisy_solver(solver: str) -> None:
    check_solver(gs.make_solver(solver, feedback="noisy(0.5)"), small())
    check_solver(
        gs.make_solver(solver, feedback="noisy(0.5)") if solver != "gmfg-ppo" else gs.make_solver(solver),
        small("graphon/beach"),
    )

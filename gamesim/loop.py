"""The one loop: start a solver, step it, measure it, tell the observers, and say how it ended.

It knows no algorithm and no game: a solver is `init(game)` and the pure `step(t, game, state, generator)`, and what is
worth measuring is the family's affair (`metrics`) with the solver's parameters (`measures`).
"""

import dataclasses
import math
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import torch
from torch import Tensor

from gamesim import catalog
from gamesim.averaging import Averaged
from gamesim.errors import Caution, InvalidInput, refuse
from gamesim.games.game import Game, Policy, measure, require_batch, require_game, require_iterate
from gamesim.parameters import NonNegative, convert
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes
from gamesim.states import expanded, mapped, rebuilt, tensors
from gamesim.traces import Every, Snapshot, Trace, about, next_due, rises


class Status(Enum):
    """How a run ended; the text is advice."""

    RUNNING = "still running"
    CONVERGED = "the tolerance is met"
    OUT_OF_ITERATIONS = (
        "all iterations done; to go further, raise them, change the step size, or lower the temperature if there is one"
    )
    STOPPED = "stopped by an observer"
    INTERRUPTED = "interrupted; the same command with --resume continues it"
    DIVERGED = (
        "the iterate or a measure is no longer finite, or larger than can be: "
        "lower the step size, or raise the temperature if there is one"
    )

    @property
    def label(self) -> str:
        """As JSON and files write it.

        >>> Status.OUT_OF_ITERATIONS.label
        'out-of-iterations'
        """
        return self.name.lower().replace("_", "-")


class HasPolicy(Protocol):
    @property
    def policy(self) -> Policy: ...


class Solver(Protocol):
    """Hyper-parameters and two functions.

    Optional: `requires`, the family it needs; `measures`, what metrics take, or a function of the game that says it;
    `cautions(game)`, sentences on what no theorem covers, and `cautions_of_length(iterations)`, on runs that are too
    short; `limits(game)`, for metrics of its state the largest value that makes sense, with advice;
    `leap(t, until, game, state, generator)`, several steps at once as (state, iteration reached), or None where only
    steps will do. A state may have `metrics`, of its own history, to be traced beside the policy's.
    """

    def init(self, game: Any) -> HasPolicy: ...

    def step(self, t: int, game: Any, state: Any, generator: Stream) -> HasPolicy: ...


class Observer:
    """Told what happens; subclasses override what they need. A returned Status ends the run."""

    def begin(self, run: "Run") -> None:
        """Before the first measure, or after a saved state was put back."""

    def measured(self, run: "Run") -> Status | None:
        """After each measure: run.iteration and run.trace are current."""

    def iterated(self, run: "Run") -> Status | None:
        """After each iteration."""

    def end(self, run: "Run") -> None:
        """Once, whatever the status."""


@dataclass
class Run:
    """A run under way, as observers see it."""

    game: Any
    solver: Any
    iterations: int
    state: Any
    target: str
    tolerance: float | None = None
    iteration: int = 0
    seconds: float = 0.0
    status: Status = Status.RUNNING
    trace: Trace = field(default_factory=Trace)
    diverged: Tensor = field(default_factory=lambda: torch.tensor(False))
    """Which members of the batch are no longer finite, [*batch]; they wait at the start and are measured no more."""

    @property
    def policy(self) -> Policy:
        policy: Policy = self.state.policy
        return policy

    def going(self) -> Policy:
        """The policy of those members of a batch that have not diverged, [member, ...]; of a single run, its policy."""
        return tuple(p[~self.diverged] for p in self.policy) if self.diverged.any() else self.policy


@dataclass(frozen=True)
class Result:
    """What `solve` returns."""

    policy: Policy = field(repr=False)
    """The last policy; with seeds, each tensor has the leading dimension [seed]; NaN for those that diverged."""
    status: Status
    trace: Trace = field(repr=False)
    state: Any = field(repr=False)
    iterations: int
    seconds: float
    target: str
    """The metric that the tolerance is about."""
    diverged: Tensor = field(default_factory=lambda: torch.tensor(False), repr=False)
    """Which members of the batch stopped being finite, [*batch]; the others went on as if alone."""

    def metric(self, name: str) -> Tensor:
        """A metric over the run, [*batch, row]; [1, row] for a single run."""
        if name not in self.trace.metrics:
            raise refuse("metric", name, f"one of {', '.join(self.trace.metrics)}")
        found = self.trace.metrics[name]
        values = torch.stack([x.reshape(found[-1].shape) for x in found], -1)  # rows read from a file are flat
        return values if values.dim() > 1 else values[None]

    @property
    def exploitability(self) -> Tensor:
        """Tensor[seed, row]."""
        return self.metric("exploitability")

    @property
    def regularized_exploitability(self) -> Tensor:
        """Tensor[seed, row]; only where the solver has a temperature."""
        return self.metric("regularized_exploitability")

    def frame(self) -> Any:
        """A tidy pandas.DataFrame: iteration, seed, a column for each batch of hyper-parameters, metric, value.

        Where the game itself is a batch, `game` counts through it.
        """
        found = self.trace.frame()
        flat, known = found["seed"] - self.trace.first_seed, self.trace.members
        count = max(map(len, known.values()), default=1)
        games = (int(flat.max()) + 1) // count if len(found) else 1  # members of the game's own batch, the innermost
        found["seed"] = (flat // games).map(dict(enumerate(known.get("seed", [self.trace.first_seed] * count))))
        for place, (name, values) in enumerate([x for x in known.items() if x[0] != "seed"], start=2):
            found.insert(place, name, (flat // games).map(dict(enumerate(values))))
        if games > 1:
            found.insert(len(found.columns) - 2, "game", flat % games)
        return found


def solve(
    game: Any,
    solver: Any,
    *,
    iterations: int = 100,
    tolerance: float | None = None,
    seeds: int | Sequence[int] | None = None,
    seed: int = 0,
    every: Every = 1,
    average: bool = False,
    observers: Iterable[Observer] = (),
    resume: Snapshot | None = None,
    start: Policy | None = None,
) -> Result:
    """Run a solver on a game.

    iterations: steps of the solver; row 0 of the trace measures the starting policy.
    tolerance:  stop when the worst of the batch has target <= tolerance; the target is `regularized_exploitability`
                for a solver with a temperature, `exploitability` otherwise, or the first metric of a game without it.
    seeds:      a leading batch dimension of so many seeds `seed`, `seed + 1`, ...; None runs one without it. A list
                of seeds is the batch itself: hyper-parameters that are tensors of its length go along, one with each.
    every:      measure each so many iterations (and the first and the last); "log" at about twelve to a decade.
    average:    report the mean of the iterates instead of the last one.
    start:      begin at this policy instead of the game's own; with a leading dimension, each seed at its own.

    A member of a batch that is no longer finite stops there, with advice; the others go on as if it had never been.
    """
    iterations = _whole("iterations", iterations, 0)
    every, seed = every if every == "log" else _whole("every", every, 1), _whole("seed", seed, 0)
    if tolerance is not None:
        tolerance = convert(tolerance, NonNegative, "tolerance")
    listed = listed_seeds(seeds, seed)
    batch = () if seeds is None else (len(listed),)
    observers = list(observers)
    require_fit(game, solver)
    cautions = getattr(solver, "cautions", lambda game: ())
    if average:
        solver = Averaged(solver)
    own = game.start()
    require_iterate(game, own, field=f"start() of {type(game).__name__}")
    if callable(getattr(game, "validate", None)):
        game.validate()

    for words in [*cautions(game), *getattr(solver, "cautions_of_length", lambda iterations: ())(iterations)]:
        warnings.warn(words, Caution, stacklevel=2)

    varied = _varied(solver)
    solver, shape = _batched(solver, own[0], max(p.dim() for p in own))
    if isinstance(seeds, Sequence) and shape:  # one hyper-parameter with each seed
        if shape != batch:
            raise refuse("seeds", f"{len(listed)} of them", f"as many as there are hyper-parameters: {list(shape)}")
        shape = ()
    front = batch + shape
    if front:
        require_batch(game)
    if start is None:
        state = expanded(solver.init(game), front)
    else:
        begun = solver.init(Beginning(game, _placed(start, game, own, batch, len(shape))))
        state = mapped(begun, lambda _, x: x.expand((*front, *x.shape[len(front) :])))
    run = Run(game, solver, iterations, state, _target(solver), tolerance)
    run.diverged, begun = torch.zeros(front, dtype=torch.bool), state
    if tolerance is not None and not isinstance(game, Game):
        _require_falling(run)
    run.trace.first_seed = 0 if isinstance(seeds, Sequence) else seed

    def due(iteration: int) -> bool:
        return iteration == iterations or next_due(iteration - 1, every) == iteration

    if resume is not None:
        run.state, run.iteration = rebuilt(run.state, resume.tensors), resume.iteration
        run.trace = resume.trace.only(due)
        run.diverged = run.trace.ended(front) if front else run.diverged
    run.trace.members = _members(listed if batch else None, varied, front)
    stream = Stream(seed if seeds is None else listed)
    started = time.perf_counter()
    with ExitStack() as ends:
        for observer in observers:
            observer.begin(run)
            ends.callback(observer.end, run)
        if run.trace.iterations[-1:] == [run.iteration]:
            _judge(run)
        elif due(run.iteration):  # the start, or a run that was stopped before it could measure where it was
            _measure(run, observers, begun)
        while run.status is Status.RUNNING:
            if run.iteration >= iterations:
                run.status = Status.OUT_OF_ITERATIONS
                break
            until = min(iterations, next_due(run.iteration, every))
            advanced = _advance(solver, run, until, every, stream)
            run.state, run.iteration = _kept_out(run, *advanced, begun)  # together: no signal comes between
            run.seconds = time.perf_counter() - started
            if due(run.iteration):
                _measure(run, observers, begun)
            _tell(run, [o.iterated(run) for o in observers])
        run.seconds = time.perf_counter() - started
    if front and bool(run.diverged.any()) and run.status is not Status.INTERRUPTED:
        run.status = Status.DIVERGED
    nan = tuple(_where(run.diverged, torch.full_like(p, math.nan), p) for p in run.policy)
    policy = nan if bool(run.diverged.any()) else run.policy
    return Result(policy, run.status, run.trace, run.state, run.iteration, run.seconds, run.target, run.diverged)


class Beginning:
    """A game that starts elsewhere."""

    def __init__(self, game: Any, policy: Policy) -> None:
        self._game, self._policy = game, policy

    def start(self) -> Policy:
        return self._policy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._game, name)


def _placed(start: Policy, game: Any, own: Policy, batch: tuple[int, ...], inner: int) -> Policy:
    """A given start with the dimensions [*batch, *inner of size 1] in front."""
    require_iterate(game, start, own, field="start")
    found = []
    for i, (x, y) in enumerate(zip(start, own, strict=True)):
        front = tuple(x.shape[: x.dim() - y.dim()])
        if front not in ((), batch):
            what = f"{list(front)} in front of {list(y.shape)}"
            wanted = f"nothing or {list(batch)} in front: one for each seed" if batch else "nothing there without seeds"
            raise refuse(f"start[{i}]", what, wanted)
        found.append(x.to(y).reshape(*(front or (1,) * len(batch)), *(1,) * inner, *y.shape))
    return tuple(found)


def _advance(solver: Any, run: Run, until: int, every: Every, stream: Stream) -> tuple[Any, int]:
    """One step, or as many at once as the solver can take before something is due."""
    t = run.iteration
    leap = None if every == 1 else getattr(solver, "leap", None)  # a resumed run takes the same way: it has its `every`
    if leap is not None:
        landed: tuple[Any, int] | None = leap(t, until, run.game, run.state, stream)
        if landed is not None:
            return landed
    return solver.step(t, run.game, run.state, stream.at(t)), t + 1


def _measure(run: Run, observers: Sequence[Observer], begun: Any) -> None:
    measured = measure(run.game, run.policy, **_measures(run.solver, run.game))
    if isinstance(run.game, Game) and "exploitability" not in measured:
        raise InvalidInput(f"{type(run.game).__name__}.metrics: 'exploitability' is missing")
    shape = next(iter(measured.values())).shape
    measured = measured | getattr(run.state, "metrics", {})
    for name, value in measured.items():
        if value.shape != shape:
            raise refuse(
                f"metrics[{name!r}]",
                f"shape {tuple(value.shape)}",
                f"the batch shape, as {next(iter(measured))} has: {tuple(shape)}",
            )
    if run.diverged.dim() and shape == run.diverged.shape:
        measured = _set_apart(run, measured, begun)
    run.trace.add(run.iteration, measured)
    _judge(run)
    _tell(run, [observer.measured(run) for observer in observers])


def _judge(run: Run) -> None:
    """Diverged, converged or neither, by the newest measure."""
    newest = {name: values[-1] for name, values in run.trace.metrics.items()}
    run.target = about(newest, run.target)
    lost, advice = _lost(run, newest)
    if bool(lost.all()):
        run.status = Status.DIVERGED
        if advice:
            warnings.warn(advice, Caution, stacklevel=4)
    elif run.tolerance is not None and float(newest[run.target].reshape(*lost.shape, -1)[~lost].max()) <= run.tolerance:
        run.status = Status.CONVERGED


def _lost(run: Run, newest: Mapping[str, Tensor]) -> tuple[Tensor, str]:
    """Which members of the batch are not finite or larger than can be, [*batch], with the advice of a limit."""
    lost, advice = run.diverged, ""
    for value in newest.values():
        lost = lost | ~value.detach().to(lost.device).isfinite().reshape(*lost.shape, -1).all(-1)
    for p in run.policy:
        lost = lost | ~p.detach().isfinite().flatten(lost.dim()).all(-1).to(lost.device)
    limits: dict[str, tuple[float, str]] = getattr(run.solver, "limits", lambda game: {})(run.game)
    own = getattr(getattr(run.state, "inner", run.state), "metrics", {})  # where iterates are averaged, of the last one
    for name, (most, what) in limits.items():
        measured = (own | dict(newest))[name].detach().abs()
        values = measured.to(lost.device).reshape(*lost.shape, -1).amax(-1)
        if bool((~lost & (values > most)).any()):
            largest = float(values[~lost].max())
            advice = f"{name}: {largest:.3g} at iteration {run.iteration}, expected at most {most:.3g}; {what}"
        lost = lost | (values > most)
    return lost, advice


def _set_apart(run: Run, measured: dict[str, Tensor], begun: Any) -> dict[str, Tensor]:
    """Those that are lost from now on wait at the start and count no more; unless nobody is left, then all is kept."""
    lost, advice = _lost(run, measured)
    new = lost & ~run.diverged
    if not bool(lost.any()) or bool(lost.all()):
        return measured
    if bool(new.any()):
        shown = run.trace.told(new.flatten().nonzero()[:, 0].tolist(), new.numel())
        why = advice or Status.DIVERGED.value.partition(": ")[2]
        words = f"{shown}: no longer finite at iteration {run.iteration} and stopped; the others go on; {why}"
        warnings.warn(words, Caution, stacklevel=4)
    run.diverged = lost
    run.state, _ = _kept_out(run, run.state, run.iteration, begun)
    return {name: x.detach().masked_fill(lost.to(x.device), math.nan) for name, x in measured.items()}


def _kept_out(run: Run, state: Any, iteration: int, begun: Any) -> tuple[Any, int]:
    """The state with those that diverged at the start, so that nothing of theirs is ever not finite."""
    if not bool(run.diverged.any()):
        return state, iteration
    first = tensors(begun)
    return mapped(state, lambda name, x: _where(run.diverged, first[name].to(x), x)), iteration


def _where(which: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """x for the members of a batch that `which` names, else y; both [*batch, ...]."""
    return torch.where(which.to(y.device).reshape(*which.shape, *[1] * (y.dim() - which.dim())), x, y)


def _require_falling(run: Run) -> None:
    """Refuse a tolerance of what rises, before anything is done."""
    target = about(measure(run.game, run.policy, **_measures(run.solver, run.game)), run.target)
    if rises(target):
        wanted = f"none: {type(run.game).__name__} is known by its {target} alone, of which nobody knows the most"
        raise refuse("tolerance", run.tolerance, wanted)


def _measures(solver: Any, game: Any) -> dict[str, Any]:
    """What a solver's parameters are to the metrics of a game."""
    found = getattr(solver, "measures", {})
    said: dict[str, Any] = found(game) if callable(found) else found
    return said


def _tell(run: Run, answers: Sequence[Status | None]) -> None:
    """The first observer that wants the run to end has its way."""
    if run.status is Status.RUNNING:
        run.status = next((answer for answer in answers if answer is not None), run.status)


def _target(solver: Any) -> str:
    measures = getattr(solver, "measures", {})
    temperature = 0.0 if callable(measures) else measures.get("temperature", 0.0)
    regularized = isinstance(temperature, Tensor) or temperature > 0
    return "regularized_exploitability" if regularized else "exploitability"


def require_fit(game: Any, solver: Any) -> None:
    """Refuse a solver that is not for this game, and say which are."""
    if isinstance(game, type) or isinstance(solver, type):
        which = game if isinstance(game, type) else solver
        raise refuse("solve", which.__name__, f"an instance: {which.__name__}()")
    if not callable(getattr(solver, "init", None)) or not callable(getattr(solver, "step", None)):
        raise refuse("solver", type(solver).__name__, "an object with init(game) and step(t, game, state, generator)")
    family = getattr(solver, "requires", Game)
    others = [] if isinstance(game, family) else _takers(game)
    if family is Game and not others:
        require_game(game)
    elif not isinstance(game, family):
        needs = "game with exploitability(policy)" if family is Game else family.__name__
        nobody = getattr(game, "instead", "no solver of gamesim takes this game")
        instead = f"for this game take {' or '.join(others)}" if others else nobody
        if not others and callable(getattr(game, "reset", None)) and callable(getattr(game, "step", None)):
            instead = "an environment is played as simulator/gymnasium or simulator/pettingzoo, or by as_simulator"
        name = type(getattr(solver, "solver", solver)).__name__  # of what is watched or averaged, not of the watcher
        a = "an" if needs[0] in "AEIOU" else "a"
        raise refuse("game", type(game).__name__, f"{a} {needs}, which {name} needs; {instead}")
    require = getattr(getattr(solver, "feedback", None), "require", None)
    if callable(require):
        require(game)
    require = getattr(game, "require_solver", None)
    if callable(require):
        require(solver)


def _takers(game: Any) -> list[str]:
    """The built-in solvers that take a game, by name, with the parameters that they have by default."""
    solvers = {name: catalog.find("solvers", name)() for name in catalog.table("solvers")}
    return [name for name, solver in sorted(solvers.items()) if isinstance(game, getattr(solver, "requires", Game))]


def _batched(solver: Any, like: Tensor, rank: int) -> tuple[Any, tuple[int, ...]]:
    """Tensor hyper-parameters [b] made to broadcast against policies of that rank, and their batch shape."""
    if isinstance(solver, Averaged):
        inner, shape = _batched(solver.solver, like, rank)
        return Averaged(inner), shape
    if not dataclasses.is_dataclass(solver):
        return solver, ()
    shapes, changed = list[tuple[int, ...]](), dict[str, Any]()
    for f in dataclasses.fields(solver):
        value = getattr(solver, f.name)
        if isinstance(value, Tensor) and value.dim():
            shapes.append(tuple(value.shape))
            changed[f.name] = value.to(like).reshape(*value.shape, *[1] * rank)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):  # a schedule, or what holds one
            lifted, shape = _batched(value, like, rank)
            if shape:
                shapes.append(shape)
                changed[f.name] = lifted
    if not changed:
        return solver, ()
    replaced: Any = dataclasses.replace(solver, **changed)  # type: ignore[type-var]
    try:
        return replaced, tuple(broadcast_shapes(*shapes))
    except RuntimeError:
        found = ", ".join(f"{name} {list(shape)}" for name, shape in zip(changed, shapes, strict=True))
        raise refuse(
            type(solver).__name__, found, "batches of parameters that broadcast, as [3, 1] and [2] do"
        ) from None


def _varied(solver: Any, inside: str = "") -> dict[str, Tensor]:
    """The hyper-parameters that are batches, by dotted names."""
    if isinstance(solver, Averaged):
        return _varied(solver.solver)
    found = dict[str, Tensor]()
    for f in dataclasses.fields(solver) if dataclasses.is_dataclass(solver) else ():
        value, name = getattr(solver, f.name), inside + f.name
        if isinstance(value, Tensor) and value.dim():
            found[name.removesuffix(".value")] = value  # of a constant schedule: by the name that it is typed by
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            found |= _varied(value, f"{name}.")
    return found


def _members(seeds: list[int] | None, varied: Mapping[str, Tensor], front: tuple[int, ...]) -> dict[str, list[Any]]:
    """What tells the members of a batch apart, each flat."""
    found = {} if seeds is None else {"seed": torch.tensor(seeds).reshape(-1, *[1] * (len(front) - 1))}
    return {name: x.expand(front).flatten().tolist() for name, x in {**found, **varied}.items()}


def listed_seeds(seeds: Any, seed: int) -> list[int]:
    """Every seed of a batch, in order."""
    if seeds is None:
        return [seed]
    if not isinstance(seeds, Sequence) or isinstance(seeds, str):
        return [seed + i for i in range(_whole("seeds", seeds, 1, 10**6))]
    if not 1 <= len(seeds) <= 10**6 or seed:
        wanted = "a list of 1 to 1,000,000 seeds, and no `seed` beside it"
        raise refuse("seeds", f"{len(seeds)} of them" + (f" and seed {seed}" if seed else ""), wanted)
    return [_whole(f"seeds[{i}]", s, 0) for i, s in enumerate(seeds)]


def _whole(name: str, value: Any, low: int, high: float = math.inf) -> int:
    number: int = convert(value, int, name)
    if not low <= number <= high:
        raise refuse(
            name, value, f"a whole number of at least {low}" + (f" and at most {high}" if high < math.inf else "")
        )
    return number

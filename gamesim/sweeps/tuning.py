"""The table [tune]: Optuna asks for trials, a wave at a time, and is told what they gave; each wave is a tensor batch.

    [tune]
    metric = "exploitability"    # what is made small, or, of returns and scores, large
    trials = 60
    batch = 12                   # trials of a wave
    sampler = "tpe"              # tpe, random, cma-es, gp
    at = "last"                  # or the best measure along the run; the median over seeds counts

Nothing is stored but the results of runs. Samplers are seeded, and asked and told in the order of the trials, so that a
sweep which was killed asks for the same trials again, finds them finished on disk, and goes on from there. A point that
is asked for twice is done once.

T. Akiba et al., "Optuna: a next-generation hyperparameter optimization framework", KDD 2019 (arXiv 1907.10902).
"""

import math
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, get_args

from gamesim.errors import InvalidInput, missing_extra, refuse, unknown
from gamesim.parameters import Count, Natural, build, check
from gamesim.sweeps.axes import Axis
from gamesim.sweeps.design import trial
from gamesim.sweeps.plans import Plan, Planned
from gamesim.sweeps.results import Ended
from gamesim.traces import rises

Sampler = Literal["tpe", "random", "cma-es", "gp"]
MOST = 10_000
"""Trials, at most: the time that a sampler thinks grows with them."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What [tune] says."""

    metric: str
    trials: Count
    batch: Count = 10
    sampler: Sampler = "tpe"
    seed: Natural = 0
    at: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        check(self)
        if self.trials > MOST:
            raise refuse("trials", self.trials, f"a whole number from 1 to {MOST:,}")
        if not self.seed < 2**32:
            raise refuse("seed", self.seed, "a whole number below 2^32, as NumPy's generators take")


def tuning_of(table: Mapping[str, Any], axes: Sequence[Axis] = ()) -> Tuning:
    """What the table says, checked, and that its sampler is installed and can choose along these axes."""
    names = list(Tuning.__dataclass_fields__)
    for key in table:
        if key not in names:
            raise unknown("key of tune", key, names)
    for key, words in (("metric", 'what to improve, as "exploitability"'), ("trials", "how many, a whole number")):
        if key not in table:
            raise refuse(f"tune.{key}", None, words)
    if "sampler" in table and table["sampler"] not in get_args(Sampler):
        raise unknown("tune.sampler", str(table["sampler"]), get_args(Sampler))
    try:
        found = build(Tuning, dict(table), what="tune")
    except InvalidInput as error:
        raise type(error)(f"tune.{error}") from None
    lists = [a.name for a in axes if a.law in ("values", "choice")]
    if found.sampler == "cma-es" and lists:
        raise refuse("tune.sampler", "cma-es", f"tpe, gp or random: {lists[0]} is a list, along which nothing is near")
    for package in ("optuna", *(("cmaes",) if found.sampler == "cma-es" else ())):
        if find_spec(package) is None:
            raise missing_extra("tune", package, "gamesim[tune]")
    return found


def trials(plan: Plan, found: Mapping[str, Ended]) -> Iterator[tuple[Planned, ...]]:
    """The runs of each wave; `found` holds, when the next wave is asked for, what is finished of the last."""
    assert plan.tune is not None
    tuning = tuning_of(plan.tune, plan.axes)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ways = {a.name: distribution(optuna.distributions, a) for a in plan.axes}
    metric, width = tuning.metric, len(str(tuning.trials - 1))
    runs_of = dict[tuple[str, ...], tuple[Planned, ...]]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        chooser = sampler(optuna.samplers, tuning)
    study = optuna.create_study(sampler=chooser, direction="maximize" if rises(metric) else "minimize")
    for begin in range(0, tuning.trials, tuning.batch):
        wave = list[Planned]()
        count = min(tuning.batch, tuning.trials - begin)
        asked = [ask(study, ways) for _ in range(count)]
        for number, (_, point) in enumerate(asked, start=begin):
            if point not in runs_of:
                named = dict(zip(ways, point, strict=True))
                runs_of[point] = trial(plan.runs[0], named, f"t{number:0{width}d}")
                wave += runs_of[point]
        if wave:
            yield tuple(wave)
        ended = [[found[run.name] for run in runs_of[point] if run.name in found] for _, point in asked]
        for (question, point), ends in zip(asked, ended, strict=True):
            whole = len(ends) == len(runs_of[point])
            tell(optuna, study, question, judged(ends, metric, tuning.at) if whole else math.nan)


def ask(study: Any, ways: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """A trial, and its point as typed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of samplers that begin at random
        question = study.ask(dict(ways))
    return question, tuple(x if isinstance(x, str) else repr(x) for x in (question.params[name] for name in ways))


def tell(optuna: Any, study: Any, question: Any, value: float) -> None:
    """What a trial gave; of one that failed or diverged, that nothing is worse."""
    if math.isfinite(value):
        study.tell(question, value)
    else:
        study.tell(question, state=optuna.trial.TrialState.PRUNED)


def judged(ends: Sequence[Ended], metric: str, at: str) -> float:
    """The median over seeds of the last measure, or of the best along the run; NaN if most diverged."""
    values = list[float]()
    for end in ends:
        if metric not in end.trace.metrics:
            raise unknown("tune.metric", metric, end.trace.metrics)
        along = [float(x.reshape(-1)[end.row]) for x in end.trace.metrics[metric]]
        whole = [x for x in along if math.isfinite(x)]
        last = along[-1] if at == "last" else (max if rises(metric) else min)(whole, default=math.nan)
        values.append(last if math.isfinite(last) else -math.inf if rises(metric) else math.inf)
    middle = statistics.median(values)
    return middle if math.isfinite(middle) else math.nan


def distribution(laws: Any, axis: Axis) -> Any:
    """Optuna's word for an axis; lists are chosen from as typed."""
    if axis.values:
        return laws.CategoricalDistribution(axis.values)
    if axis.law == "integers":
        return laws.IntDistribution(int(axis.low), int(axis.high))
    return laws.FloatDistribution(axis.low, axis.high, log=axis.law == "log-uniform")


def sampler(known: Any, tuning: Tuning) -> Any:
    """The sampler of that name, seeded; those of a wave know that the others are under way."""
    if tuning.sampler == "random":
        return known.RandomSampler(seed=tuning.seed)
    if tuning.sampler == "cma-es":
        return known.CmaEsSampler(seed=tuning.seed)
    if tuning.sampler == "gp":
        return known.GPSampler(seed=tuning.seed, deterministic_objective=False)
    return known.TPESampler(seed=tuning.seed, constant_liar=tuning.batch > 1)

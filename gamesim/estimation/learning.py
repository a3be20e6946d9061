"""From sampled agents to a graphon and a response: what to assume, and the steps in order.

    1  count           C_h(n, s, a, t) and the rewards, agent by agent                       (counts)
    2  place           positions as known, sorted, or labels by alternating maximisation     (placement, seating)
    3  project         the graphon of greatest likelihood, the response solved for           (projection, laws, shapes)
    4  cross-validate  the penalties of ridge regressions, on episodes left out              (regressions)
    5  judge           intervals, condition numbers, what the data do not tell, repairs      (intervals, judging)

Zhang, Tan, Wang and Yang, "Learning regularized graphon mean-field games with unknown graphons", arXiv 2310.17531,
section 4. The data say nothing of a response f(z) and a graphon W that f(z / c) and c W would not say, too; the scale
is therefore fixed by convention, and the convention is part of the result.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch.nn.functional import one_hot

from gamesim.data import AgentData
from gamesim.errors import refuse
from gamesim.estimation.blocks import Blocks
from gamesim.estimation.counts import Counts, count
from gamesim.estimation.estimate import Estimate, Number
from gamesim.estimation.intervals import Information, bootstrapped
from gamesim.estimation.judging import Evidence
from gamesim.estimation.laws import Law, Mixture, Regression
from gamesim.estimation.mechanism import Mechanism
from gamesim.estimation.observed import Observed
from gamesim.estimation.placement import sorted_positions
from gamesim.estimation.projection import Problem
from gamesim.estimation.regressions import conditions
from gamesim.estimation.responses import Regressed, Rescaled
from gamesim.estimation.seating import Seated, labelled, seated
from gamesim.estimation.shapes import Fixed, Shape
from gamesim.parameters import Count, Natural, Positive, check
from gamesim.randomness import Stream

FOLDS = 5
ITERATION = 2**32 - 36
"""Of the random numbers here: data that were sampled with the same seed must not share them."""
LARGEST = 1e100
"""Of the rewards: their squares are added up."""
TWO_BLOCKS = Blocks(2)
Where = Literal["auto", "known", "sorted", "labels"]


@dataclass(frozen=True)
class Learner:
    """What is assumed of the graphon, of the response and of the agents' positions."""

    kinds: ClassVar[dict[str, type]] = {}

    graphon: Shape = TWO_BLOCKS
    """blocks(K), low-rank(r, d), a family to be learned (exp), or a graphon to be held fixed (exp(3))."""
    law: Law = Mixture()
    """mixture, linear, polynomial(d), kernel(b), or the equations of a game: graphon/sis."""
    positions: Where = "auto"
    """known; sorted by how agents respond; labels of blocks; auto: known where the data have them."""
    normalize: bool = False
    """Agents feel the law of a random neighbour, z divided by the degree."""
    mean: Positive | None = None
    """The mean of W, where it is known; left out, its largest value is 1, or the family says."""
    restarts: Count = 8
    """Starts of the search, in one batch."""
    bootstrap: Natural = 0
    """Resamples of the episodes for the intervals; 0: intervals from the curvature of the likelihood."""
    seed: Natural = 0
    """Of the starts and the resamples."""

    def __post_init__(self) -> None:
        check(self)
        if self.restarts > 1000:
            raise refuse("restarts", self.restarts, "at most 1000")
        if self.mean is not None and not self.graphon.scalable:
            raise refuse("mean", self.mean, f"nothing with graphon={self.graphon}, which has a scale of its own")
        if self.mean is not None and self.normalize:
            raise refuse("mean", self.mean, "nothing with normalize=true, for which no scale matters")
        if isinstance(self.law, Mechanism) and self.law.game.normalize and not self.normalize:
            raise refuse("normalize", "false", f"true, or law={self.law} without normalize")

    def __str__(self) -> str:
        """As the command line writes it.

        >>> str(Learner(graphon=Blocks(3)))
        'learner(blocks(3), mixture, auto)'
        """
        return f"learner({self.graphon}, {self.law}, {self.positions})"

    def placed(self, data: AgentData) -> Where:
        """Where agents are taken to be: `positions`, with auto decided; refused where that cannot be."""
        where = self.positions
        if where == "auto":
            unknown: Where = "labels" if isinstance(self.graphon, Blocks) else "sorted"
            where = "known" if data.positions is not None else unknown
        if where == "known" and data.positions is None:
            raise refuse("positions", "known", "sorted or labels: these data hold no positions")
        if where == "labels" and not isinstance(self.graphon, Blocks):
            raise refuse("positions", "labels", f"sorted with graphon={self.graphon}; labels are for blocks(K)")
        return where

    def learn(self, data: AgentData) -> Estimate:
        """The estimate; see the module for the steps."""
        where = self.placed(data)
        self._require(data, where)
        data, stream = _on_cpu(data), Stream(self.seed, ITERATION)
        counts, problem = count(data), Problem(self.graphon, self.law, self.normalize)
        if where == "labels":
            found = labelled(problem, counts, self.restarts, stream)
        else:
            known = data.positions is not None and where == "known"
            choices = data.positions[None] if known else sorted_positions(counts)  # type: ignore[index]
            found = seated(problem, counts, choices, self.restarts, stream)
        return self._concluded(data, where, counts, found, self._tuned(data, found), stream)

    def _require(self, data: AgentData, where: Where) -> None:
        """Refuse data that do not go with what is assumed."""
        if isinstance(self.law, Mechanism):
            mine, theirs = self.law.game.shape[-2:], (data.state_count, data.action_count)
            if tuple(mine) != theirs:
                words = f"{self.law} with {mine[0]} states and {mine[1]} actions"
                raise refuse("law", words, f"one with {theirs[0]} and {theirs[1]}, as the data have")
        if isinstance(self.graphon, Blocks):
            if where == "labels" and self.graphon.cuts:
                raise refuse("graphon.cuts", list(self.graphon.cuts), "none with positions=labels: labels give them")
            if self.graphon.count > data.agents:
                raise refuse("graphon.count", self.graphon.count, f"at most {data.agents} blocks: one agent for each")
        largest = float(data.rewards.abs().max())
        if largest > LARGEST:
            raise refuse("rewards", largest, f"numbers up to {LARGEST:g}: their squares are added up")

    def _tuned(self, data: AgentData, found: Seated) -> Law:
        """The law with the penalties that were left open chosen by cross-validation over episodes."""
        if not isinstance(self.law, Regression) or data.episodes < 2:
            return self.law
        folds = min(FOLDS, data.episodes)
        fold = one_hot(torch.arange(data.episodes) % folds, folds).mT.double()
        seen = Observed.of(found.sample.again(count(data, fold)).counts)
        assert isinstance(found.best.response, Regressed)
        seen = replace(seen, weights=found.best.seen.weights)
        return self.law.tuned(found.best.response.features, seen, found.best.z[0])

    def _concluded(
        self, data: AgentData, where: Where, counts: Counts, found: Seated, law: Law, stream: Stream
    ) -> Estimate:
        """The best graphon and response in the asked scale, with intervals, and what to be warned of."""
        scale = 1.0 if self.mean is None else found.scale(float(self.mean))
        information = Information.of(found.problem, found.sample, found.best, scale)
        numbers = self._numbers(data, found, information, scale, stream)
        if law != self.law:
            best = found.best
            again = replace(found.problem, law=law).at(best.free, found.sample, best.seen, best.response)
            found = replace(found, best=replace(again, converged=best.converged))
        response, condition = found.best.response, None
        if isinstance(response, Regressed):
            condition = conditions(response.features, found.best.seen, found.best.z)[0]
        evidence = Evidence(data, counts, self.graphon, where, found, information, bool(self.bootstrap), condition)
        return Estimate(
            graphon=found.graphon(scale),
            response=Rescaled(response[0], scale),
            initial=data.initial.mean(0),
            horizon=data.horizon,
            positions=found.positions,
            labels=found.labels,
            numbers=numbers,
            scale=self._scale_in_words(),
            placed=where,
            warnings=evidence.warnings(),
            log_likelihood=found.likelihood,
            normalize=self.normalize,
            learner=replace(self, law=law),
            states=data.state_names,
            actions=data.action_names,
            data=data.plain(),
            condition=condition,
        )

    def _numbers(
        self, data: AgentData, found: Seated, information: Information, scale: float, stream: Stream
    ) -> dict[str, Number]:
        """The parameters by name, each with a 95% interval; what moves by jumps, between the agents that tell it."""
        low, high = information.interval
        if self.bootstrap:
            low, high = bootstrapped(data, found.problem, found.sample, found.best, scale, self.bootstrap, stream)
        kind = "bootstrap" if self.bootstrap else "curvature"
        rows = zip(information.names, information.value.tolist(), low.tolist(), high.tolist(), strict=True)
        numbers = {name: Number(value, below, above, kind) for name, value, below, above in rows}
        between = found.problem.shape.known_between(found.own, found.sample.x)
        return numbers | {name: Number(numbers[name].value, *ends, kind) for name, ends in between.items()}

    def _scale_in_words(self) -> str:
        if self.normalize:
            return "agents feel a law (normalize), so the scale of the graphon plays no part"
        if isinstance(self.graphon, Fixed):
            return f"the graphon {self.graphon} was given, and its scale with it"
        if self.mean is not None:
            return f"only graphon times response is known: the mean of the graphon was given, {self.mean:g}"
        if self.graphon.scalable:
            return "only graphon times response is known: the graphon is scaled so that its largest value is 1"
        return f"the family {self.graphon} has a scale of its own, and the response goes with it"


def _on_cpu(data: AgentData) -> AgentData:
    """The same data where they are counted."""
    if data.states.device.type == "cpu":
        return data
    return replace(
        data, **{name: getattr(data, name).cpu() for name in ("states", "actions", "rewards", "next_states")}
    )


Learner.kinds["learner"] = Learner

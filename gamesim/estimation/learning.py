"""From sampled agents to a graphon and a response: what to assume, and the steps in order.

    1  count           C_h(n, s, a, t) and the rewards, agent by agent                       (counts)
    2  place           positions as known, sorted, or labels by alternating maximisation     (placement)
    3  project         the graphon of greatest likelihood, the response solved for           (projection, laws, shapes)
    4  cross-validate  the penalty of a ridge, on episodes left out                          (ridge)
    5  judge           intervals, condition numbers, what the data do not tell, repairs

Zhang, Tan, Wang and Yang, "Learning regularized graphon mean-field games with unknown graphons", arXiv 2310.17531,
section 4. The data say nothing of a response f(z) and a graphon W that f(z / c) and c W would not say, too; the scale
is therefore fixed by convention, and the convention is part of the result.
"""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gamesim.data import AgentData
from gamesim.errors import refuse
from gamesim.estimation.counts import CELLS, Counts, count
from gamesim.estimation.estimate import Estimate, Number, Rescaled
from gamesim.estimation.judging import Information, judge
from gamesim.estimation.laws import Law, Mixture, Places, Regressed, Ridged, cross_validated
from gamesim.estimation.placement import find_labels, sorted_positions
from gamesim.estimation.projection import Found, Problem, Sample, project_out
from gamesim.estimation.search import inverse_curvature
from gamesim.estimation.shapes import Blocks, Fixed, Shape
from gamesim.graphons import BlockGraphon, Graphon
from gamesim.parameters import Count, Natural, Positive, check
from gamesim.randomness import Stream

FOLDS = 5
ITERATION = 2**32 - 36
"""Of the random numbers here: data that were sampled with the same seed must not share them."""
Where = Literal["auto", "known", "sorted", "labels"]


@dataclass(frozen=True)
class Learner:
    """What is assumed of the graphon, of the response and of the agents' positions."""

    kinds: ClassVar[dict[str, type]] = {}

    graphon: Shape = Blocks(2)
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
        if self.mean is not None and not self.graphon.scalable:
            raise refuse("mean", self.mean, f"nothing with graphon={self.graphon}, which has a scale of its own")
        if self.mean is not None and self.normalize:
            raise refuse("mean", self.mean, "nothing with normalize=true, for which no scale matters")

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
            where = (
                "known" if data.positions is not None else "labels" if isinstance(self.graphon, Blocks) else "sorted"
            )
        if where == "known" and data.positions is None:
            raise refuse("positions", "known", "sorted or labels: these data hold no positions")
        if where == "labels" and not isinstance(self.graphon, Blocks):
            raise refuse("positions", "labels", f"sorted with graphon={self.graphon}; labels are for blocks(K)")
        if isinstance(self.graphon, Blocks):
            if where == "labels" and self.graphon.cuts:
                raise refuse("graphon.cuts", list(self.graphon.cuts), "none with positions=labels: shares give them")
            if self.graphon.count > data.agents:
                raise refuse("graphon.count", self.graphon.count, f"at most {data.agents} blocks: one agent for each")
        return where

    def learn(self, data: AgentData) -> Estimate:
        """The estimate; see the module for the steps."""
        where = self.placed(data)
        problem, stream = Problem(self.graphon, self.law, self.normalize), Stream(self.seed, ITERATION)
        counts = count(data)
        labels, members = None, None
        if where == "labels" and isinstance(self.graphon, Blocks) and self.graphon.count > 1:
            found = find_labels(problem, counts, self.graphon.count, self.restarts, stream)
            sample, start, labels = found.sample, found.free, found.labels
            sample = Sample(sample.counts[0], sample.x, sample.q[0])
            members = one_hot(labels, self.graphon.count).mT.double()
            best = project_out(problem, sample, start)
        else:
            choices = [data.positions] if where == "known" else list(sorted_positions(counts))
            samples = [Sample(counts, x, shares(x)) for x in choices if x is not None]
            start = starts(problem, self.restarts, stream)
            tried = [project_out(problem, each, start) for each in samples]
            which = min(range(len(tried)), key=lambda i: float(tried[i].value[0]))
            sample, best = samples[which], tried[which]
        return self._concluded(data, where, problem, counts, sample, best, labels, members, stream)

    def _concluded(
        self, data: AgentData, where: Where, problem: Problem, counts: Counts, sample: Sample, best: Found,
        labels: Tensor | None, members: Tensor | None, stream: Stream,
    ) -> Estimate:  # fmt: skip
        """The best graphon and response in the asked scale, with intervals, and what to be warned of."""
        law = self._tuned(data, problem, sample, best, members)
        final = dataclasses.replace(problem, law=law)
        with torch.no_grad():
            response = final.respond(best.free, best.places, best.weights, None if law == self.law else best.response)
        free = best.free[0, : self.graphon.size]
        scale = 1.0
        if self.mean is not None:
            w = self.graphon.matrix(free, sample.x)
            scale = float(self.mean) / float(sample.q @ w @ sample.q)
        graphon = self.graphon.graphon(free, scale)
        x = sample.x
        if labels is not None:
            graphon, x, labels = arranged(graphon, labels)
        information = Information.of(problem, sample, best, scale)
        numbers = self._numbers(data, problem, sample, best, members, scale, information, stream)
        return Estimate(
            graphon=graphon,
            response=Rescaled(response[0], scale),
            initial=data.initial.mean(0),
            horizon=data.horizon,
            positions=x,
            labels=labels,
            numbers=numbers,
            scale=self._scale_in_words(),
            placed=where,
            warnings=tuple(judge(data, counts, problem, best, response, information, where)),
            log_likelihood=-float(best.value[0]),
            normalize=self.normalize,
            learner=dataclasses.replace(self, law=law),
            states=data.state_names,
            actions=data.action_names,
            data=data.plain(),
        )

    def _tuned(self, data: AgentData, problem: Problem, sample: Sample, best: Found, members: Tensor | None) -> Law:
        """The law with its penalty chosen by cross-validation over episodes, where that was left open."""
        if not isinstance(self.law, Ridged) or self.law.penalty is not None or data.episodes < 2:
            return self.law
        folds = min(FOLDS, data.episodes)
        fold = one_hot(torch.arange(data.episodes) % folds, folds).mT.double()
        parts = count(data, fold)
        parts = parts if members is None else parts.grouped(members)
        z = problem.aggregate(best.free, sample).detach().expand(*parts.moves.shape[:3], -1)
        assert isinstance(best.response, Regressed)
        penalty = cross_validated(self.law, Places.of(parts, z), best.weights, best.response)
        tuned: Law = dataclasses.replace(self.law, penalty=penalty)  # type: ignore[type-var]
        return tuned

    def _numbers(
        self, data: AgentData, problem: Problem, sample: Sample, best: Found, members: Tensor | None, scale: float,
        information: Information, stream: Stream,
    ) -> dict[str, Number]:  # fmt: skip
        """The parameters by name, each with a 95% interval."""
        value, error, kind = information.value, information.error, "curvature"
        low, high = value - 1.96 * error, value + 1.96 * error
        if self.bootstrap and information.names:
            low, high = self._bootstrapped(data, problem, sample, best, members, scale, stream)
            kind = "bootstrap"
        rows = zip(information.names, value.tolist(), low.tolist(), high.tolist(), strict=True)
        return {name: Number(v, below, above, kind) for name, v, below, above in rows}

    def _bootstrapped(
        self, data: AgentData, problem: Problem, sample: Sample, best: Found, members: Tensor | None, scale: float,
        stream: Stream,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Percentiles of the parameters over resamples of the episodes, the agents' places held fixed."""
        cells = data.horizon * data.agents * (data.state_count or 1) ** 2 * (data.action_count or 1)
        at_once = max(1, min(self.bootstrap, CELLS // 8 // cells))
        objective = problem.objective(sample, best.weights, best.response)
        inverse = inverse_curvature(objective, best.free)[0]
        found = []
        for first in range(0, self.bootstrap, at_once):  # as many at once as memory allows
            many = min(at_once, self.bootstrap - first)
            drawn = (stream.uniform((many, data.episodes)) * data.episodes).long()
            weights = torch.zeros(many, data.episodes, dtype=torch.float64)
            weights.scatter_add_(1, drawn, torch.ones_like(weights))
            counts = count(data, weights)
            counts = counts if members is None else counts.grouped(members)
            again = Sample(counts, sample.x, sample.q)
            start = best.free.expand(many, -1)
            end = project_out(problem, again, start, rounds=0, tolerance=0.03, inverse=inverse, response=best.response)
            found.append(problem.natural(end.free, scale))
        low, high = torch.cat(found).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), 0)
        return low, high

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


Learner.kinds["learner"] = Learner


def shares(x: Tensor) -> Tensor:
    """How much of the unit interval is nearest to each position x[n]: weights that sum to one; 1 / n on a grid."""
    order = x.argsort(stable=True)
    at = x[order]
    edges = torch.cat([torch.zeros(1).to(x), (at[1:] + at[:-1]) / 2, torch.ones(1).to(x)])
    return torch.zeros_like(x).scatter(0, order, edges.diff())


def starts(problem: Problem, restarts: int, generator: Stream) -> Tensor:
    """Where the search begins, [r, p]: the middle of the prior and places around it."""
    shape = problem.shape.starts(restarts, generator)
    return torch.cat([shape, problem.law.centre.expand(len(shape), -1)], -1)


def arranged(graphon: Graphon, labels: Tensor) -> tuple[Graphon, Tensor, Tensor]:
    """Blocks in the order of their degree, the greatest first, as wide as their shares; positions[n] and labels[n]."""
    assert isinstance(graphon, BlockGraphon)
    values, _ = graphon.blocks()
    count = len(values)
    size = torch.bincount(labels, minlength=count).double() / len(labels)
    order = [i for i in (values @ size).argsort(descending=True).tolist() if size[i] > 0]
    rank = torch.full((count,), -1)
    rank[order] = torch.arange(len(order))
    labels, size, values = rank[labels], size[order], values[order][:, order]
    cuts = size.cumsum(0)[:-1]
    positions = torch.empty(len(labels), dtype=torch.float64)
    positions[labels.argsort(stable=True)] = (torch.arange(len(labels), dtype=torch.float64) + 0.5) / len(labels)
    return BlockGraphon(tuple(map(tuple, values.tolist())), tuple(cuts.tolist())), positions, labels

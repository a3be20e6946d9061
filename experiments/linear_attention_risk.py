"""linear-attention-risk: one trained layer of linear attention reaches the best risk in closed form.

A prompt of n examples (x_i, y_i) of a random linear task and a query x, as tokens z_i = (x_i, y_i) and z = (x, 0):

    predict   sum_i omega_i <z Q, z_i K> z_i V        queries, keys, a value; no softmax;   omega = 1 without a gate

Q, K, V (and the gate) begin at random and are trained by Adam on fresh prompts. Whatever they are, the part of the
prediction that follows the task is x^T W X^T y with

    W = V_2 A_11 + a_12 V_1^T,   A = Q K^T = [A_11, a_12; a_21, a_22]

and the best W, its risk, and the best weights of examples have closed forms (gamesim.attention.risk). The risk of a
trained layer is that of its W in closed form, plus the mean square of the part of the prediction that does not change
sign with y. Where inputs are retrieved or tasks drift it is L + E (prediction - best prediction)^2, an identity, since
the best one is a projection.

Li, Rawat and Oymak, "Fine-grained analysis of in-context linear estimation: data, architecture, and beyond", NeurIPS
2024, arXiv 2407.10005.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.attention.risk import alike, optimal_risk, optimal_weights, retrieved, retrieved_roughly, risk, weighted
from gamesim.charts import Chart, Curve, Panel
from gamesim.experiments.over_seeds import band, below, mean_interval
from gamesim.networks.adam import Trained, adam
from gamesim.randomness import Stream
from gamesim.study import Claim, Scale, Study, at_least, at_most

NEAR = 0.03
"""The excess over the best risk, relative to it, that counts as reached."""
ALIGNED = 0.99
BATCH = 128
"""Prompts of a step."""
TESTS = 4096
"""Prompts that the risk is measured on, where it is."""
STEP_SIZE = 0.02


@dataclass(frozen=True)
class Problem:
    """Prompts, and what may be learned from them."""

    id: str
    d: int
    examples: int
    noise: float
    decay: float = 0.0
    """Inputs have variances like i^-decay."""
    rank: int | None = None
    """Of queries and keys; all d + 1 without one."""
    relevance: float = 0.0
    """Correlation of the examples' inputs with the query's."""
    memory: float = 1.0
    """Correlation of the tasks of neighbours in the prompt; the query comes last."""
    gated: bool = False

    @property
    def variances(self) -> Tensor:
        return torch.arange(1, self.d + 1, dtype=torch.float32) ** -self.decay

    @property
    def correlations(self) -> Tensor:
        """Of the tasks along the prompt, the query's last, [n + 1, n + 1]."""
        t = torch.arange(self.examples + 1, dtype=torch.float64)
        return self.memory ** (t[:, None] - t).abs()

    def best(self) -> tuple[Tensor, Tensor, float, float]:
        """W*[d, d] and omega*[n] without a bound on the rank, their risk, and that which this layer can reach."""
        n, one = self.examples, torch.ones(self.examples, dtype=torch.float64)
        if self.memory < 1:
            c, many = self.correlations[-1, :-1], self.correlations[:-1, :-1]
            omega, least = weighted(self.d, self.noise * one, c, many, self.noise)
            reached = least if self.gated else alike(self.d, self.noise * one, c, many, self.noise)
            return torch.eye(self.d), omega.float(), float(least), float(reached)
        if self.relevance:
            w, least_risk = retrieved(self.d, n, self.noise, self.relevance)
            return w * torch.eye(self.d), one.float(), least_risk, least_risk
        inputs, tasks = torch.diag(self.variances).double(), torch.eye(self.d, dtype=torch.float64)
        lam = self.variances.double()
        full = optimal_risk(lam, n, self.noise)
        return (
            optimal_weights(inputs, tasks, n, self.noise).float(),
            one.float(),
            float(full),
            float(optimal_risk(lam, n, self.noise, self.rank)),
        )

    def aim(self) -> Tensor:
        """The best W of this layer's rank, [d, d]."""
        if self.rank is None:
            return self.best()[0]
        inputs, tasks = torch.diag(self.variances).double(), torch.eye(self.d, dtype=torch.float64)
        return optimal_weights(inputs, tasks, self.examples, self.noise, self.rank).float()


PLAIN = (
    Problem("d5-n10", 5, 10, 0.5),
    Problem("d5-n40-noiseless", 5, 40, 0.0),
    Problem("d10-n20", 10, 20, 1.0),
    Problem("d5-n20-decay", 5, 20, 0.25, decay=1.0),
    Problem("d5-n20-decay-rank2", 5, 20, 0.25, decay=1.0, rank=2),
)
RETRIEVED = tuple(Problem(f"retrieved-{a:g}", 5, 10, 0.25, relevance=a) for a in (0.2, 0.4, 0.6))
DRIFTING = tuple(
    Problem(f"drift-{'gated' if gated else 'plain'}", 5, 20, 0.25, memory=0.9, gated=gated) for gated in (False, True)
)
EFFORT: Mapping[Scale, tuple[int, int]] = {"quick": (5, 600), "full": (12, 3000)}
"""Seeds, and steps of Adam."""
Layer = tuple[Tensor, ...]
"""Q, K [seed, d + 1, r], V [seed, d + 1, 1] and the logarithms of the gate [seed, n] (zeros without one)."""


@dataclass(frozen=True)
class LinearAttentionRisk:
    """Layers trained on prompts of several sizes, noises, ranks, with retrieved examples and with drifting tasks."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        seeds, steps = EFFORT[scale]
        claims, rows = list[Claim](), list[dict[str, object]]()
        excess, found = dict[str, Tensor](), dict[str, Tensor]()
        times = list[int]()
        for problem in (*PLAIN, *RETRIEVED, *DRIFTING):
            reached = problem.best()[3]
            times, risks, layer = train(problem, seeds, steps)
            cosine = torch.nn.functional.cosine_similarity(effective(layer).flatten(1), problem.aim().flatten(), dim=-1)
            excess[problem.id], found[problem.id] = risks / reached - 1, risks[:, -1]
            value, interval = mean_interval(excess[problem.id][:, -1].double())
            words = f"{problem.id}: risk of the trained layer over the best, {reached:.4f}, less one"
            claims.append(at_most(f"{problem.id}-risk", f"{words}, at most {NEAR:g}", value, NEAR, interval))
            near, between = mean_interval(cosine.double())
            words = f"{problem.id}: cosine of W with the best W, at least {ALIGNED:g}"
            claims.append(at_least(f"{problem.id}-cosine", words, near, ALIGNED, between))
            say(f"  {problem.id}: best {reached:.4f}, trained {float(found[problem.id].mean()):.4f}, cosine {near:.4f}")
            rows += [
                {"problem": problem.id, "seed": s, "step": t, "risk": float(risks[s, k]), "best": reached,
                 "last_cosine": float(cosine[s])}
                for s in range(seeds) for k, t in enumerate(times)
            ]  # fmt: skip
        first, *others = (p.id for p in RETRIEVED)
        for other in others:
            words = f"{other}: less risk than {first}, by examples that resemble the query more"
            claims.append(below(f"{other}-helps", words, found[other].double(), found[first].double()))
            first = other
        words = "tasks that drift: less risk with a gate on the examples than without"
        claims.append(below("gate-helps", words, found["drift-gated"].double(), found["drift-plain"].double()))
        curves = [band(name, times[1:], e[:, 1:].double().clamp(min=1e-9)) for name, e in excess.items()]
        split = sum(name.startswith("d") and not name.startswith("drift") for name in excess)
        training = [
            Panel(title, "step", "risk over the best, less one", part, log_x=True)
            for title, part in (("Training", curves[:split]), ("Training: retrieved, drift", curves[split:]))
        ]
        notes = (
            f"{seeds} seeds, {steps} steps of Adam from {STEP_SIZE:g} down to 0, {BATCH} fresh prompts each. The risk "
            f"is exact but for means over {TESTS:,} new prompts: of the part that is blind to signs, and for retrieved "
            "examples and drifting tasks of the squared distance to the best predictions. Of the curves for retrieved "
            "examples the dashed one is the approximation of the literature, the full one exact. The loss is not "
            "convex in Q, K, V: some seeds of d5-n20-decay stay at a point with V on the inputs rather than on the "
            "answers, at twice the best risk, and some of rank 2 at other eigenvectors than the best. Chosen after "
            "trials: the step size, among 0.02 and 0.05, and d of the retrieved examples, among 5 and 10."
        )
        return Study(claims, [Chart("risk", [*training, retrieval(found)])], rows, notes)


def retrieval(found: dict[str, Tensor]) -> Panel:
    """The risk against the relevance of examples: exact, as in the literature, and as trained."""
    p = RETRIEVED[0]
    grid = [k / 20 for k in range(17)]
    exact = Curve("exact", grid, [retrieved(p.d, p.examples, p.noise, a)[1] for a in grid])
    rough = Curve(
        "k n approximation", grid, [retrieved_roughly(p.d, p.examples, p.noise, a) for a in grid], dashed=True
    )
    means = [float(found[p.id].mean()) for p in RETRIEVED]
    return Panel("Retrieved examples", "correlation with the query", "risk",
                 [exact, rough, Curve("trained", [p.relevance for p in RETRIEVED], means, dots=True)])  # fmt: skip


def prompts(problem: Problem, generator: Stream, seeds: int, batch: int) -> tuple[Tensor, ...]:
    """Inputs X[seed, batch, n, d], answers y[seed, batch, n], the query x[seed, batch, d] and its answer."""
    n, d = problem.examples, problem.d
    drawn = generator.normal((seeds, batch, n + 1, d), torch.float32) * problem.variances.sqrt()
    x, query = drawn[..., :n, :], drawn[..., n, :]
    a = problem.relevance
    x = a * query[..., None, :] + (1 - a * a) ** 0.5 * x if a else x
    if problem.memory < 1:
        root = torch.linalg.cholesky(problem.correlations).float()
        tasks = root @ generator.normal((seeds, batch, n + 1, d), torch.float32)
    else:
        tasks = generator.normal((seeds, batch, 1, d), torch.float32)
    errors = problem.noise**0.5 * generator.normal((seeds, batch, n + 1), torch.float32)
    y = (torch.cat([x, query[..., None, :]], -2) * tasks).sum(-1) + errors
    return x, y[..., :n], query, y[..., n]


def predict(layer: Layer, x: Tensor, y: Tensor, query: Tensor) -> Tensor:
    """Linear attention of the query token over the examples, [seed, batch]."""
    q, k, v, gate = layer
    tokens = torch.cat([x, y[..., None]], -1)
    asked = query @ (q[:, :-1] @ k.mT)  # [seed, batch, d + 1]; the query's own y is 0
    scores = (tokens @ asked[..., None])[..., 0] * gate.exp()[:, None]
    return (scores * (tokens @ v[:, None])[..., 0]).mean(-1)


def effective(layer: Layer) -> Tensor:
    """W[seed, d, d] of the part of the prediction that follows the task."""
    q, k, v, _ = layer
    a = q @ k.mT
    return a[:, :-1, :-1] * v[:, -1:] + a[:, :-1, -1:] * v[:, :-1].mT


def train(problem: Problem, seeds: int, steps: int) -> tuple[list[int], Tensor, Layer]:
    """Steps at which the risk was measured, the risk [seed, measured], and the layer in the end."""
    numbers = list(range(seeds))
    tokens = problem.d + 1
    begin = Stream(numbers)
    width = problem.rank or tokens
    layer: Layer = (
        *(begin.normal((seeds, tokens, r), torch.float32) / tokens**0.5 for r in (width, width, 1)),
        torch.zeros(seeds, problem.examples),
    )
    trained = Trained.fresh(layer)
    test = prompts(problem, Stream(numbers, 2**31), seeds, TESTS)
    w, omega, least, _ = problem.best()
    ideal = ((test[0] @ (test[2] @ w)[..., None])[..., 0] * omega * test[1]).sum(-1)

    def measured() -> Tensor:
        guess = predict(trained.parameters, *test[:3])
        if problem.relevance or problem.memory < 1:
            return least + (guess - ideal).square().mean(-1)
        blind = (guess + predict(trained.parameters, test[0], -test[1], test[2])) / 2
        w = effective(trained.parameters).double() / problem.examples
        inputs, tasks = torch.diag(problem.variances).double(), torch.eye(problem.d, dtype=torch.float64)
        return risk(w, inputs, tasks, problem.examples, problem.noise).float() + blind.square().mean(-1)

    times, risks = [0], [measured()]
    for step in range(1, steps + 1):
        x, y, query, answer = prompts(problem, Stream(numbers, step), seeds, BATCH)

        def loss(layer: Layer, x: Tensor = x, y: Tensor = y, query: Tensor = query, answer: Tensor = answer) -> Tensor:
            gate = layer[3] if problem.gated else 0 * layer[3]
            return (predict((*layer[:3], gate), x, y, query) - answer).square().mean(-1)

        trained = adam(trained, loss, STEP_SIZE * (1 - (step - 1) / steps), step)
        if step % max(1, steps // 10) == 0:
            times.append(step)
            risks.append(measured())
    return times, torch.stack(risks, -1), trained.parameters

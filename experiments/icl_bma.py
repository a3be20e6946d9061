"""icl-bma: in-context learning as Bayesian model averaging, exact, and by a decoder that was trained to predict.

A latent concept z of |Z| = 8 equally likely ones answers contexts, r_i ~ P(. | c_i, z). The best predictor averages
over concepts (gamesim.sequence.concepts). On every path, whoever made it, its excess over the best concept is

    sum_{i <= t} -log P(r_i | S_{i-1}, c_i) - min_z sum_{i <= t} -log P(r_i | c_i, z)  <=  log |Z|   nats,

so that the regret of an example is log |Z| / t at most: a rate of 1 / t. Besides streams of a concept there are answers
at random, and an adversary who makes the predictor's loss large and some concept's small. A decoder trained by its
cross entropy on such streams approaches the same average; its excess is at most log |Z| + t Delta, where Delta is its
mean Kullback-Leibler divergence from the average, measured on other streams.

Zhang, Zhang, Yang and Wang, "What and how does in-context learning learn? Bayesian model averaging, parameterization,
and generalization", arXiv 2305.19420.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.charts import Chart, Curve, Panel
from gamesim.experiments.over_seeds import band, mean_interval, slope
from gamesim.randomness import Stream
from gamesim.sequence.concepts import Concepts, Examples, even, excess_losses
from gamesim.sequence.decoder import Decoder
from gamesim.sequence.training import Training, train
from gamesim.simplex import drawn
from gamesim.study import Claim, Scale, Study, at_least, at_most

SOURCE = Concepts.random(8, 4, 4)
SHAPE = (32, 4, 2)
"""Width, heads and blocks of the decoder."""
BATCH, STEP_SIZE = 64, 5e-3
NEAR = 0.05
"""Total variation from the exact average that counts as reached."""
CLOSE = 0.02
"""Excess of the mean loss over the exact one, relative to it, that counts as reached."""


@dataclass(frozen=True)
class Effort:
    length: int
    """Examples of an exact stream."""
    streams: int
    shown: int
    """Examples of a stream that the decoder reads."""
    steps: int
    tests: int
    """Streams that the decoder is measured on."""


EFFORT: Mapping[Scale, Effort] = {
    "quick": Effort(512, 256, 16, 2200, 2048),
    "full": Effort(4096, 1024, 24, 12_000, 8192),
}


@dataclass(frozen=True)
class IclBma:
    """The exact average on four kinds of streams, and a decoder trained on one of them."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        effort = EFFORT[scale]
        claims, curves, rows = exactly(effort)
        for claim in claims:
            say(f"  {claim.statement}: {claim.statistic:.4g}")
        model, history = trained(effort)
        more, panels, others = judged(model, effort, say)
        regret = Panel("Regret of the exact average", "examples t", "nats an example", curves, log_x=True)
        steps = [float(t) for t, _ in history]
        learning = Curve("KL from the exact average", steps, [kl for _, kl in history], dots=True)
        charts = [
            Chart("exact", [regret]),
            Chart("decoder", [*panels, Panel("Training", "step", "nats an example", [learning])]),
        ]
        width, heads, blocks = SHAPE
        notes = (
            f"The decoder has width {width}, {heads} heads and {blocks} blocks, and {effort.steps:,} steps of {BATCH} "
            f"fresh streams of {effort.shown} examples; it is one network, so that intervals are over streams alone. "
            "Its excess grows with t, since an error that is made again in each prediction adds up, while that of the "
            "average does not. Chosen after trials: the number of examples and the step size."
        )
        return Study([*claims, *more], charts, [*rows, *others], notes)


def exactly(effort: Effort) -> tuple[list[Claim], list[Curve], list[dict[str, object]]]:
    """The bound on every path, its equality in expectation, and the rate."""
    bound = math.log(len(SOURCE.prior))
    shape = (effort.streams, effort.length)
    concepts = drawn(SOURCE.prior, Stream(0).uniform(shape[:1]))[:, None].expand(shape)
    own = SOURCE.draw(Stream(1), concepts)
    blind = Concepts(even(1), SOURCE.contexts, torch.full_like(SOURCE.laws[:1], 1 / SOURCE.laws.shape[-1]))
    streams = {
        "a concept": own,
        "answers at random": blind.draw(Stream(2), torch.zeros(shape, dtype=torch.long)),
        "changing concepts": SOURCE.draw(Stream(3), drawn(SOURCE.prior, Stream(4).uniform(shape))),
        "an adversary": adversary(Stream(5), *shape),
    }
    excess = {
        name: excess_losses(losses(examples), SOURCE.log_likelihoods(examples)) for name, examples in streams.items()
    }
    largest = max(float(x.max()) for x in excess.values())
    words = (
        f"the exact average: largest excess over the best concept on any of {4 * effort.streams} paths, over log |Z|"
    )
    claims = [at_most("bma-bound", words, largest / bound, 1 + 1e-9)]
    likelihoods = SOURCE.log_likelihoods(own)
    truth = likelihoods.gather(-1, concepts[..., None])[..., 0]
    told = SOURCE.beliefs(likelihoods)[:, 1:].gather(-1, concepts[..., None])[..., 0] + bound
    apart = float(((losses(own) + truth).cumsum(-1) - told).abs().max())
    words = "the exact average: its excess over the true concept is log P(z | S_t) / P_Z(z) (largest difference)"
    claims.append(at_most("bma-identity", words, apart, 1e-8))
    times = [t for t in (2**k for k in range(3, 13)) if t <= effort.length]
    regret = excess["a concept"][:, [t - 1 for t in times]] / torch.tensor(times)
    fit, interval = slope(times, regret)
    words = f"the exact average: exponent of the regret of an example in t = {times[0]} ... {times[-1]}, 1 / t at least"
    claims.append(at_most("bma-rate", words, fit, -0.9, interval))
    tight, between = mean_interval(excess["a concept"][:, -1] / bound)
    words = f"the bound is reached: mean excess over log |Z| after {effort.length} examples of a concept"
    claims.append(at_least("bma-tight", words, tight, 0.95, between))
    curves = [
        band(name, times, (x[:, [t - 1 for t in times]] / torch.tensor(times)).clamp(min=1e-12))
        for name, x in excess.items()
    ]
    curves.append(Curve("log |Z| / t", [float(t) for t in times], [bound / t for t in times], dashed=True))
    rows = [
        {"predictor": "exact", "stream": name, "examples": t, "excess": float(x[:, t - 1].mean()), "apart": 0.0}
        for name, x in excess.items() for t in times
    ]  # fmt: skip
    return claims, curves, rows


def losses(examples: Examples) -> Tensor:
    """-log of what the exact average gave each answer, [..., i]."""
    return -SOURCE.averages(examples).gather(-1, examples.answers[..., None])[..., 0].log()


def adversary(generator: Stream, streams: int, length: int) -> Examples:
    """The answer at which the average falls behind the likeliest concept most, at contexts that come by chance."""
    contexts = drawn(SOURCE.contexts, generator.uniform((streams, length)))
    seen = SOURCE.prior.log().expand(streams, -1)
    answers = list[Tensor]()
    for context in contexts.unbind(-1):
        logs = SOURCE.laws.log()[:, context].movedim(0, -1)  # [stream, r, z]
        average = torch.logsumexp(seen[:, None] + logs, -1) - torch.logsumexp(seen, -1)[:, None]
        behind = (seen[:, None] + logs).amax(-1) - average
        answers.append(behind.argmax(-1))
        seen = seen + logs.gather(1, answers[-1][:, None, None].expand(-1, 1, logs.shape[-1]))[:, 0]
    return Examples(contexts, torch.stack(answers, -1))


def streams(generator: Stream, count: int, shown: int) -> Examples:
    concepts = drawn(SOURCE.prior, generator.uniform((count,)))
    return SOURCE.draw(generator, concepts[:, None].expand(count, shown))


def trained(effort: Effort) -> tuple[Decoder, list[tuple[int, float]]]:
    """A decoder, and how far it was from the exact average during training, in nats an example."""
    decoder = Decoder(SOURCE.vocabulary, *SHAPE, context=2 * effort.shown)
    held = streams(Stream(11), min(effort.tests, 256), effort.shown)
    history = list[tuple[int, float]]()

    def batches(t: int, generator: Stream) -> tuple[Tensor, Tensor]:
        return SOURCE.tokens(streams(generator, BATCH, effort.shown))

    def observe(run: Training) -> None:
        history.append((run.step, float(apart(decoder.holding(run.weights), held)[1].mean())))

    run = train(
        decoder, batches, effort.steps, 0, step_size=STEP_SIZE, observe=observe, every=max(1, effort.steps // 10)
    )
    return decoder.holding(run.weights), history


def apart(model: Decoder, examples: Examples) -> tuple[Tensor, Tensor, Tensor]:
    """Before each answer: total variation and KL from the exact average to the model's law, and the model's loss."""
    with torch.no_grad():
        logits = model(SOURCE.tokens(examples)[0])
    logs, exact = SOURCE.heard(logits, examples.contexts), SOURCE.averages(examples)
    elsewhere = 1 - logs.exp().sum(-1)  # on what is no answer to this context
    variation = ((logs.exp() - exact).abs().sum(-1) + elsewhere) / 2
    divergence = (exact * (exact.log() - logs)).sum(-1)
    return variation, divergence, -logs.gather(-1, examples.answers[..., None])[..., 0]


def judged(
    model: Decoder, effort: Effort, say: Callable[[str], None]
) -> tuple[list[Claim], list[Panel], list[dict[str, object]]]:
    """The decoder against the exact average, on new streams."""
    bound = math.log(len(SOURCE.prior))
    examples = streams(Stream(21), effort.tests, effort.shown)
    variation, divergence, loss = apart(model, examples)
    exact = losses(examples)
    delta = float(apart(model, streams(Stream(31), effort.tests, effort.shown))[1].mean())
    reached = f"loss {float(loss.mean()):.4f}, exact {float(exact.mean()):.4f}"
    say(f"  decoder: {reached}, delta {delta:.4f} nats an example, "
        f"total variation {[round(x, 3) for x in variation.mean(0).tolist()]}")  # fmt: skip
    parts = [mean_interval(x) for x in variation.unbind(-1)]
    mean, interval = max(parts, key=lambda part: part[1][1])
    words = f"the decoder: total variation from the exact average, at most {NEAR:g} at every prefix (largest)"
    claims = [at_most("decoder-near", words, mean, NEAR, interval)]
    ratio, between = mean_interval((loss - exact).mean(-1) / exact.mean())
    words = f"the decoder: its loss over the exact one, less one, at most {CLOSE:g} ({reached})"
    claims.append(at_most("decoder-loss", words, ratio, CLOSE, between))
    likelihoods = SOURCE.log_likelihoods(examples)
    excess, best = excess_losses(loss, likelihoods), excess_losses(exact, likelihoods)
    expected = best[:, -1] + divergence.sum(-1)  # the losses' mean over each next answer: less noise
    mean, interval = mean_interval(expected / (bound + delta * effort.shown))
    words = f"the decoder: excess over the best concept after {effort.shown} examples, over log |Z| + t Delta"
    claims.append(at_most("decoder-bound", words, mean, 1.0, interval))
    times = list(range(1, effort.shown + 1))
    t = torch.tensor(times, dtype=torch.float64)
    panels = [
        Panel("Regret", "examples t", "nats an example", [
            band("decoder", times, (excess / t).clamp(min=1e-9)),
            band("exact average", times, (best / t).clamp(min=1e-9)),
            Curve("log |Z| / t", [float(x) for x in times], (bound / t).tolist(), dashed=True),
            Curve("log |Z| / t + Delta", [float(x) for x in times], (bound / t + delta).tolist(), dashed=True),
        ]),
        Panel("Distance from the exact average", "examples before", "total variation",
              [band("decoder", [float(x - 1) for x in times], variation)], log_y=False),
    ]  # fmt: skip
    rows: list[dict[str, object]] = [
        {"predictor": "decoder", "stream": "a concept", "examples": x, "excess": float(excess[:, x - 1].mean()),
         "apart": float(variation[:, x - 1].mean())}
        for x in times
    ]  # fmt: skip
    return claims, panels, rows

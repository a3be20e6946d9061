"""cot-error: prompts that show steps against prompts that show outcomes only, and how the error of prompting falls.

Tasks of three binary steps, eight to a family, with random kernels (gamesim.sequence.chains). After n examples

    err(n) = 1 - E P(theta* | n examples)  <=  1/2 sum_{a != b} sqrt(P_a P_b) (1 - D_H^2(a, b))^n

falls like exp(-lambda n), lambda between -log(1 - D_H^2) of the nearest two tasks and their Chernoff information; for
full chains lambda is larger than for outcomes, by data processing. How far the answer's law is from that of the task
is at most err(n) in total variation, for a model that is perfect; that of another is at most err_pretrain + err_prompt.
Two small decoders are trained on prompts of one family, one with chains, whose answer comes by way of steps that it
predicts itself, summed over all of them, and one with outcomes.

Hu, Zhang, Chen and Yang, "Unveiling the statistical foundations of chain-of-thought prompting methods", arXiv
2408.14511. The instance is ours: binary steps whose probabilities are uniform on [.1, .9].
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.charts import Chart, Curve, Panel
from gamesim.experiments.over_seeds import band, below, mean_interval
from gamesim.randomness import Stream
from gamesim.sequence.chains import Chains, prompting_errors
from gamesim.sequence.concepts import Concepts, Examples
from gamesim.sequence.decoder import Decoder
from gamesim.sequence.training import train
from gamesim.simplex import drawn
from gamesim.study import Claim, Interval, Scale, Study, at_least, at_most

KINDS = ("chains", "outcomes")
REFERENCE: Mapping[str, Mapping[int, float]] = {
    "chains": {1: 0.788, 4: 0.528, 8: 0.359, 16: 0.155, 32: 0.068, 64: 0.015},
    "outcomes": {1: 0.856, 4: 0.809, 8: 0.771, 16: 0.712, 32: 0.632, 64: 0.518},
}
"""err(n) of an independent simulation, of eight tasks in three binary steps that are not these."""
WINDOW = (2.0, 6.0)
"""The rate is fitted where n times the Chernoff information is within."""
SHAPE = (32, 4, 2)
"""Width, heads and blocks of a decoder."""
BATCH, STEP_SIZE = 64, 5e-3
NEAR = 0.05
"""Total variation from the exact answer that counts as reached."""


@dataclass(frozen=True)
class Effort:
    families: int
    prompts: int
    """Of each pair of tasks, for err(n)."""
    longest: int
    """The largest n."""
    steps: int
    shown: int
    """Examples in a prompt of a decoder, at most."""
    tests: int
    """Prompts that a decoder is measured on."""


EFFORT: Mapping[Scale, Effort] = {
    "quick": Effort(20, 48, 384, 1000, 12, 512),
    "full": Effort(100, 128, 2048, 8000, 16, 4096),
}


@dataclass(frozen=True)
class CotError:
    """The error of prompting by sampling from geometric means, its bounds and rates, and two trained decoders."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        effort = EFFORT[scale]
        families = Chains.random(families=effort.families)
        sources = {"chains": families.full, "outcomes": families.outcomes}
        step = max(1, effort.longest // 96)
        numbers = sorted({1, 2, *REFERENCE["chains"], *range(step, effort.longest + 1, step)})
        errors = {
            kind: prompting_errors(source, numbers, Stream(k + 1), effort.prompts)
            for k, (kind, source) in enumerate(sources.items())
        }  # [family, prompt, n]
        claims = [
            *compared(numbers, errors, say),
            *bounded(numbers, errors, sources),
            *rates(numbers, errors, sources, say),
        ]
        one = Chains(families.prior, families.inputs, families.steps[0])
        more, panel, rows = decoders(one, effort, say)
        rows += [
            {"predictor": "exact", "examples": kind, "n": n, "error": float(errors[kind][..., i].mean()),
             "from_exact": 0.0}
            for kind in KINDS for i, n in enumerate(numbers)
        ]  # fmt: skip
        curves = [band(kind, [float(n) for n in numbers], errors[kind].mean(1)) for kind in KINDS]
        curves += [
            Curve(f"{kind}: bound", [float(n) for n in numbers],
                  source.error_bound(torch.tensor(numbers)).mean(0).clamp(max=1.0).tolist(), dashed=True)
            for kind, source in sources.items()
        ]  # fmt: skip
        curves += [
            Curve(f"{kind}: another instance", [float(n) for n in figures], list(figures.values()), dots=True)
            for kind, figures in REFERENCE.items()
        ]
        error = Panel("Error of prompting", "examples n", "1 - E P(task | examples)", curves)
        notes = (
            f"Means over {effort.families} random families. Outcomes of the nearest two of eight tasks are so near to "
            "each other that their exponential rate shows only after thousands of examples: until then the error falls "
            "more slowly than an exponential that fits its beginning, one pair of tasks after the other. The error of "
            "chains has a factor like 1 / sqrt(n) besides the exponential, so that fitted rates are above the limit; "
            "families whose rate does not show by the largest n are left out. The window of the fit and its bounds "
            "were chosen after trials. Each decoder is one network, so that its intervals are over prompts alone."
        )
        return Study([*claims, *more], [Chart("prompting", [error]), Chart("decoders", [panel])], rows, notes)


def compared(numbers: list[int], errors: Mapping[str, Tensor], say: Callable[[str], None]) -> list[Claim]:
    """Chains against outcomes, and the other instance against the spread of these."""
    claims = list[Claim]()
    for n in (4, 16, 64):
        if n in numbers:
            parts = [errors[kind][..., numbers.index(n)].mean(1) for kind in KINDS]
            claims.append(below(f"chains-below-{n}", f"n = {n}: less error with chains than with outcomes", *parts))
    for kind, figures in REFERENCE.items():
        found = {n: errors[kind][..., numbers.index(n)].mean(1) for n in figures if n in numbers}
        say(f"  {kind}: {[round(float(x.mean()), 3) for x in found.values()]} at n = {list(found)}, "
            f"another instance {list(figures.values())}")  # fmt: skip
        away = max(abs(figures[n] - float(x.mean())) / float(x.std()) for n, x in found.items())
        words = (
            f"{kind}: another instance of eight tasks, in standard deviations between families from the mean (largest)"
        )
        claims.append(at_most(f"{kind}-reference", words, away, 2.0))
    return claims


def bounded(numbers: list[int], errors: Mapping[str, Tensor], sources: Mapping[str, Concepts]) -> list[Claim]:
    """The bound by Hellinger distances at every n, and data processing, exactly."""
    claims = list[Claim]()
    for kind, source in sources.items():
        bound = source.error_bound(torch.tensor(numbers))
        parts = [mean_interval((errors[kind].mean(1) / bound)[:, i]) for i in range(len(numbers))]
        mean, interval = max(parts, key=lambda part: part[1][1])
        words = f"{kind}: error over its bound by Hellinger distances, at every n (largest)"
        claims.append(at_most(f"{kind}-bound", words, mean, 1.0, interval))
    chains, outcomes = (sources[kind].affinities() for kind in KINDS)
    words = "no two tasks are nearer by chains than by outcomes: affinity of chains less that of outcomes (largest)"
    return [*claims, at_most("data-processing", words, float((chains - outcomes).max()), 1e-12)]


def rates(
    numbers: list[int], errors: Mapping[str, Tensor], sources: Mapping[str, Concepts], say: Callable[[str], None]
) -> list[Claim]:
    """That the error falls like an exponential, how fast, and how much faster with chains."""
    nearest = {kind: nearest_two(source.chernoff()) for kind, source in sources.items()}
    fits = [fitted(numbers, e, float(c)) for e, c in zip(errors["chains"].mean(1), nearest["chains"], strict=True)]
    known = [fit for fit in fits if fit is not None]
    ratio = torch.tensor([rate for rate, _, _ in known]) / torch.tensor(
        [float(c) for c, fit in zip(nearest["chains"], fits, strict=True) if fit is not None]
    )
    say(f"  chains: fitted rate over Chernoff information {float(ratio.mean()):.3f}, of {len(known)} families")
    words = "chains: fitted rate over the Chernoff information of the nearest two tasks"
    mean, interval = mean_interval(ratio)
    claims = [
        at_least("chains-rate-least", f"{words}, at least 0.95", mean, 0.95, interval),
        at_most("chains-rate-most", f"{words}, at most 1.4", mean, 1.4, interval),
    ]
    line = torch.tensor([unexplained for _, unexplained, _ in known])
    power = torch.tensor([unexplained for _, _, unexplained in known])
    mean, interval = mean_interval(1 - line)
    words = "chains: share of the variance of log err(n) that a line in n explains, at least 0.98"
    claims.append(at_least("chains-exponential", words, mean, 0.98, interval))
    words = "chains: a line in n leaves less of log err(n) unexplained than one in log n"
    claims.append(below("chains-no-power", words, line, power))
    words = "Chernoff information of the nearest two tasks: smaller for outcomes than for chains"
    claims.append(below("rate-of-chains", words, nearest["outcomes"], nearest["chains"]))
    return claims


def nearest_two(distances: Tensor) -> Tensor:
    """The least distance between two tasks, of [..., a, b]."""
    same = torch.eye(distances.shape[-1], dtype=torch.bool)
    return distances.masked_fill(same, math.inf).flatten(-2).amin(-1)


def fitted(numbers: list[int], error: Tensor, information: float) -> tuple[float, float, float] | None:
    """The rate of err[n], and what lines in n and in log n leave unexplained of log err; None where n is too small."""
    from scipy.stats import linregress

    low, high = WINDOW
    chosen = [i for i, n in enumerate(numbers) if low <= n * information <= high]
    if numbers[-1] * information < high or len(chosen) < 5:
        return None
    y, n = error[chosen].log().numpy(), [numbers[i] for i in chosen]
    line, power = linregress(n, y), linregress([math.log(x) for x in n], y)
    return -float(line.slope), 1 - float(line.rvalue) ** 2, 1 - float(power.rvalue) ** 2


# --- decoders: one token for the input, one for each step, which names where it came from ---------------------------


@dataclass(frozen=True)
class Reader:
    """Prompts of one family as tokens: 0, then z_0, and (h, z_{h-1}, z_h) for each step that is shown."""

    tasks: Chains
    steps: bool

    @property
    def shown(self) -> int:
        """Tokens of an example but for its input."""
        return self.tasks.length if self.steps else 1

    @property
    def vocabulary(self) -> int:
        n = len(self.tasks.inputs)
        return 1 + n + self.shown * n * n

    def tokens(self, examples: Examples) -> Tensor:
        """[..., (1 + shown) i + 1] of examples of full chains."""
        n = len(self.tasks.inputs)
        digits = self.tasks.digits(examples.answers)  # [..., i, h]
        values = torch.cat([examples.contexts[..., None], digits if self.steps else digits[..., -1:]], -1)
        places = torch.arange(self.shown)
        said = 1 + n + (places * n + values[..., :-1]) * n + values[..., 1:]
        stream = torch.cat([1 + values[..., :1], said], -1).flatten(-2)
        return torch.cat([torch.zeros_like(stream[..., :1]), stream], -1)

    def batches(self, shown: int) -> Callable[[int, Stream], tuple[Tensor, Tensor]]:
        source = self.tasks.full

        def made(t: int, generator: Stream) -> tuple[Tensor, Tensor]:
            tasks = drawn(source.prior, generator.uniform((BATCH,)))[:, None].expand(BATCH, shown)
            stream = self.tokens(source.draw(generator, tasks))
            targets = stream[:, 1:].clone()
            targets[:, :: 1 + self.shown] = -1  # inputs tell nothing of the task
            return stream[:, :-1], targets

        return made

    def answers(self, model: Decoder, examples: Examples, inputs: Tensor) -> Tensor:
        """P(y | prompt of examples[b, i], z_0 = inputs[b]) of the decoder, by way of all steps: [b, y]."""
        n, count = len(self.tasks.inputs), len(self.tasks.inputs) ** (self.shown - 1)
        batch, length = len(inputs), examples.contexts.shape[-1]
        chains = torch.arange(count) * n  # the last digit is the answer, which is asked for
        every = Examples(
            torch.cat([examples.contexts, inputs[:, None]], -1)[:, None].expand(batch, count, length + 1),
            torch.cat(
                [examples.answers[:, None].expand(batch, count, length), chains.expand(batch, count)[..., None]], -1
            ),
        )
        stream = self.tokens(every)[..., :-1]
        with torch.no_grad():
            logs = model(stream.flatten(0, 1)).double().log_softmax(-1).reshape(*stream.shape, -1)
        first = stream.shape[-1] - self.shown  # where z_0 stands
        steps = logs[..., first:-1, :].gather(-1, stream[..., first + 1 :, None])[..., 0].sum(-1)
        before = (chains // n % n).expand(batch, count) if self.steps else inputs[:, None]  # where the last step begins
        at = 1 + n + ((self.shown - 1) * n + before[..., None]) * n + torch.arange(n)
        each: Tensor = (steps[..., None] + logs[..., -1, :].gather(-1, at)).exp()
        return each.sum(1)


def decoders(
    tasks: Chains, effort: Effort, say: Callable[[str], None]
) -> tuple[list[Claim], Panel, list[dict[str, object]]]:
    """A decoder of each kind of prompts against the exact answers and against those of the task."""
    full, outcomes = tasks.full, tasks.outcomes
    numbers = [n for n in (0, 1, 2, 4, 8, 12, 16) if n < effort.shown] + [effort.shown - 1]
    truth = drawn(tasks.prior, Stream(51).uniform((effort.tests,)))
    seen = full.draw(Stream(52), truth[:, None].expand(effort.tests, effort.shown))
    claims, curves, rows, final = list[Claim](), list[Curve](), list[dict[str, object]](), dict[str, Tensor]()
    for kind in KINDS:
        reader = Reader(tasks, kind == "chains")
        decoder = Decoder(reader.vocabulary, *SHAPE, context=(1 + reader.shown) * effort.shown)
        model = decoder.holding(
            train(decoder, reader.batches(effort.shown), effort.steps, 0, step_size=STEP_SIZE).weights
        )
        source = full if kind == "chains" else outcomes
        apart, errors, prompting = list[Tensor](), list[Tensor](), list[Tensor]()
        for n in dict.fromkeys(numbers):
            examples, inputs = Examples(seen.contexts[:, :n], seen.answers[:, :n]), seen.contexts[:, n]
            heard = (
                examples if kind == "chains" else Examples(examples.contexts, tasks.digits(examples.answers)[..., -1])
            )
            exact = outcomes.predict(source.posteriors(heard)[:, -1].exp(), inputs)
            right = outcomes.laws[truth, inputs]
            found = reader.answers(model, examples, inputs)
            apart.append((found - exact).abs().sum(-1) / 2)
            errors.append((found - right).abs().sum(-1) / 2)
            prompting.append((exact - right).abs().sum(-1) / 2)
            rows.append({"predictor": "decoder", "examples": kind, "n": n, "error": float(errors[-1].mean()),
                         "from_exact": float(apart[-1].mean())})  # fmt: skip
        say(f"  decoder, {kind}: error {[round(float(x.mean()), 3) for x in errors]}, exact "
            f"{[round(float(x.mean()), 3) for x in prompting]} at n = {list(dict.fromkeys(numbers))}")  # fmt: skip
        parts: list[tuple[float, Interval]] = [mean_interval(x) for x in apart]
        mean, interval = max(parts, key=lambda part: part[1][1])
        words = f"decoder, {kind}: total variation from the exact answers, at most {NEAR:g} at every n (largest)"
        claims.append(at_most(f"decoder-{kind}-near", words, mean, NEAR, interval))
        final[kind] = errors[-1]
        x = [float(n) for n in dict.fromkeys(numbers)]
        curves.append(band(f"decoder, {kind}", x, torch.stack(errors, -1)))
        curves.append(Curve(f"exact, {kind}", x, [float(e.mean()) for e in prompting], dashed=True))
    mean, interval = mean_interval(final["chains"] - final["outcomes"])
    words = f"decoders: error of the answer after {effort.shown - 1} examples, with chains less that with outcomes"
    claims.append(at_most("decoder-chains-below", words, mean, 0.0, interval))
    return claims, Panel("Decoders", "examples n", "total variation from the task's answer", curves), rows

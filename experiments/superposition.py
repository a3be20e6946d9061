"""superposition: prompts that mix examples of several tasks, for two kinds of Bayesians and decoders trained two ways.

Four tasks never agree on an answer; an example follows its task but for one time in five, when anything is said. The
prompts have n = 16 examples of two tasks in fixed shares and in random order, as the play of a mixed population of
opponents has. What is a task's part in the next answer (gamesim.sequence.mixtures)?

    one task for all       P(z | S): a point mass on the likelier task, however the examples are mixed
    a mixed population     E[pi_z | S], pi ~ Dirichlet(1, 1, 1, 1): the shares, drawn towards 1/4 each

Task superposition is that language models prompted like this give each task's answer about its share, also where they
were trained on one task at a time. A decoder that is trained so is placed between both: position 0 at the first, 1 at
the second, by projection of its laws on the segment between the two laws; another is trained on mixed populations.

Xiong et al., "Everything everywhere all at once: LLMs can in-context learn multiple tasks in superposition", arXiv
2410.05603.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.charts import Chart, Curve, Panel
from gamesim.experiments.over_seeds import mean_interval
from gamesim.randomness import Stream
from gamesim.sequence.concepts import Concepts, Examples
from gamesim.sequence.decoder import Decoder
from gamesim.sequence.mixtures import proportions, shares
from gamesim.sequence.training import Training, train
from gamesim.simplex import drawn
from gamesim.study import Claim, Scale, Study, at_least, at_most

SOURCE = Concepts.lookups(4, 4, 4, noise=0.2)
ALPHA = torch.ones(4, dtype=torch.float64)
EXAMPLES = 16
SHAPE = (32, 4, 2)
"""Width, heads and blocks of a decoder."""
BATCH, STEP_SIZE = 64, 5e-3
NEAR = 0.05
"""Total variation from an exact law that counts as reached."""
WAYS = ("one task", "population")
"""What a stream of training comes from."""


@dataclass(frozen=True)
class Effort:
    steps: int
    tests: int
    """Prompts of each mixture."""
    populations: int
    """Prompts of random populations."""


EFFORT: Mapping[Scale, Effort] = {"quick": Effort(900, 512, 4096), "full": Effort(10_000, 4096, 16_384)}


@dataclass(frozen=True)
class Prompt:
    """Prompts of the first two tasks, in one share, and what the two Bayesians make of them."""

    examples: Examples
    """The last one is the question."""
    point: Tensor
    """P(z | S), [b, z]."""
    mixed: Tensor
    """E[pi_z | S], [b, z]."""

    @classmethod
    def of(cls, count: int, tests: int, seed: int) -> "Prompt":
        """`count` examples of the first task, the others of the second; the order and the question come by chance."""
        generator = Stream(seed)
        late = generator.uniform((tests, EXAMPLES)).argsort(-1) >= count
        tasks = torch.cat([late.long(), torch.zeros(tests, 1, dtype=torch.long)], -1)
        examples = SOURCE.draw(generator, tasks)
        return cls(examples, *believed(examples))

    @property
    def laws(self) -> tuple[Tensor, Tensor]:
        """Of the answer, by both."""
        asked = self.examples.contexts[:, -1]
        return SOURCE.predict(self.point, asked), SOURCE.predict(self.mixed, asked)

    def law(self, model: Decoder) -> Tensor:
        """Of the answer, by a decoder, [b, r]."""
        with torch.no_grad():
            logits = model(SOURCE.tokens(self.examples)[0])
        return SOURCE.heard(logits, self.examples.contexts)[:, -1].exp()

    def parts(self, law: Tensor) -> Tensor:
        """What share each task has in a law of answers, [b, z]."""
        return proportions(law, SOURCE.laws.movedim(0, 1)[self.examples.contexts[:, -1]])


def believed(examples: Examples) -> tuple[Tensor, Tensor]:
    """P(z | S) and E[pi_z | S] before the last example."""
    likelihoods = SOURCE.log_likelihoods(Examples(*(x[:, :-1] for x in examples)))
    return SOURCE.beliefs(likelihoods)[:, -1].exp(), shares(likelihoods, ALPHA)


def position(law: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Where law[b, r] lies between two others: 0 at the first, 1 at the second, each prompt by its weight: [b].

    The mean over prompts is the projection sum <law - first, second - first> / sum |second - first|^2.
    """
    ahead = second - first
    return ((law - first) * ahead).sum(-1) / ahead.square().sum(-1).mean()


@dataclass(frozen=True)
class Superposition:
    """The shares of two tasks in answers to mixed prompts, by exact Bayes and by two decoders."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        effort = EFFORT[scale]
        counts = range(0, EXAMPLES + 1, 2)
        prompts = [Prompt.of(count, effort.tests, 100 + count) for count in counts]
        even = prompts[len(prompts) // 2]
        claims = populations(effort)
        models, histories = dict[str, Decoder](), dict[str, list[tuple[int, float]]]()
        for way in WAYS:
            models[way], histories[way] = trained(way, effort, even)
        found = {way: [prompt.law(model) for prompt in prompts] for way, model in models.items()}
        claims += judged(prompts, found, say)
        share = [count / EXAMPLES for count in counts]
        mass = {
            "one task for all": [float(prompt.point[:, 0].mean()) for prompt in prompts],
            "mixed population": [float(prompt.mixed[:, 0].mean()) for prompt in prompts],
        } | {
            f"decoder: {way}": [float(p.parts(law)[:, 0].mean()) for p, law in zip(prompts, laws, strict=True)]
            for way, laws in found.items()
        }  # fmt: skip
        curves = [Curve(name, share, y, dashed=not name.startswith("decoder"), dots=True) for name, y in mass.items()]
        calibration = Panel("Mixed prompts", "share of a task's examples", "share of its answer",
                            [*curves, Curve("share", [0.0, 1.0], [0.0, 1.0], dashed=True)], log_y=False)  # fmt: skip
        paths = [Curve(way, [float(t) for t, _ in x], [y for _, y in x], dots=True) for way, x in histories.items()]
        training = Panel("Even shares, during training", "step", "position", paths, log_y=False)
        rows: list[dict[str, object]] = [
            {"predictor": name, "step": effort.steps, "share": x, "part_in_answer": y, "position": None}
            for name, part in mass.items() for x, y in zip(share, part, strict=True)
        ]  # fmt: skip
        rows += [
            {"predictor": f"decoder: {way}", "step": t, "share": 0.5, "part_in_answer": None, "position": y}
            for way, history in histories.items() for t, y in history
        ]  # fmt: skip
        notes = (
            f"Decoders of width {SHAPE[0]} after {effort.steps:,} steps of {BATCH} streams; intervals are over "
            "prompts, the networks being one of each kind. What is trained on one task at a time never meets mixed "
            "prompts during training, so that nothing but its form and its errors decides what it makes of them; at "
            "even shares it moves towards the point mass for as long as it is trained."
        )
        return Study(claims, [Chart("shares", [calibration, training])], rows, notes)


def streams(way: str, generator: Stream, count: int) -> tuple[Examples, Tensor]:
    """Streams and the shares of their populations, [b, z]."""
    if way == "one task":
        pi = torch.nn.functional.one_hot(drawn(SOURCE.prior, generator.uniform((count,))), len(ALPHA)).double()
    else:  # Dirichlet(1, ..., 1) by exponential numbers
        pi = -generator.uniform((count, len(ALPHA))).log()
        pi = pi / pi.sum(-1, keepdim=True)
    return SOURCE.draw(generator, drawn(pi[:, None], generator.uniform((count, EXAMPLES + 1)))), pi


def trained(way: str, effort: Effort, even: Prompt) -> tuple[Decoder, list[tuple[int, float]]]:
    """A decoder, and its position on prompts of even shares during training."""
    decoder = Decoder(SOURCE.vocabulary, *SHAPE, context=2 * (EXAMPLES + 1))
    history = list[tuple[int, float]]()

    def batches(t: int, generator: Stream) -> tuple[Tensor, Tensor]:
        return SOURCE.tokens(streams(way, generator, BATCH)[0])

    def observe(run: Training) -> None:
        law = even.law(decoder.holding(run.weights))
        history.append((run.step, float(position(law, *even.laws).mean())))

    run = train(
        decoder, batches, effort.steps, 0, step_size=STEP_SIZE, observe=observe, every=max(1, effort.steps // 10)
    )
    return decoder.holding(run.weights), history


def populations(effort: Effort) -> list[Claim]:
    """Both Bayesians on random populations, where the second is right."""
    examples, pi = streams("population", Stream(61), effort.populations)
    point, mixed = believed(examples)
    asked, answer = examples.contexts[:, -1], examples.answers[:, -1:]
    loss = {
        name: -SOURCE.predict(weights, asked).gather(-1, answer)[:, 0].log()
        for name, weights in (("point", point), ("mixed", mixed))
    }
    mean, interval = mean_interval(loss["mixed"] - loss["point"])
    words = "random populations: loss of the Bayesian of populations less that of the Bayesian of one task, nats"
    claims = [at_most("population-loss", words, mean, 0.0, interval)]
    away = mixed - mixed.mean(0)
    slope = (away * pi).sum(-1) / away.square().sum(-1).mean()  # its mean is the slope of pi in what is predicted
    mean, interval = mean_interval(slope)
    words = "random populations: slope of the true shares in the predicted ones, 1 where calibrated; distance from 1"
    worst = max(abs(mean - 1), *(abs(x - 1) for x in interval))
    return [*claims, at_most("population-calibrated", f"{words}, at most 0.05", worst, 0.05)]


def judged(prompts: list[Prompt], found: Mapping[str, list[Tensor]], say: Callable[[str], None]) -> list[Claim]:
    """Where decoders lie between the two Bayesians."""
    claims = list[Claim]()
    apart = {
        (way, which): [(law - p.laws[which]).abs().sum(-1) / 2 for p, law in zip(prompts, laws, strict=True)]
        for way, laws in found.items() for which in (0, 1)
    }  # fmt: skip
    for way in WAYS:
        y = [round(float(position(law, *p.laws).mean()), 2) for p, law in zip(prompts, found[way], strict=True)]
        say(f"  {way}: position {y} at shares of 0 to 1; total variation from one task for all "
            f"{[round(float(x.mean()), 3) for x in apart[way, 0]]}, from a mixed population "
            f"{[round(float(x.mean()), 3) for x in apart[way, 1]]}")  # fmt: skip
    pure = torch.cat([apart["one task", 0][0], apart["one task", 0][-1]])
    mean, interval = mean_interval(pure)
    words = f"trained on one task: total variation from exact Bayes on prompts of one task, at most {NEAR:g}"
    claims.append(at_most("one-task-learned", words, mean, NEAR, interval))
    parts = [mean_interval(x) for x in apart["population", 1]]
    mean, interval = max(parts, key=lambda part: part[1][1])
    words = (
        f"trained on populations: total variation from their exact Bayesian, at most {NEAR:g} at all shares (largest)"
    )
    claims.append(at_most("population-learned", words, mean, NEAR, interval))
    inner = slice(2, -2)
    for way in WAYS:
        chosen, laws = prompts[inner], found[way][inner]
        first, second = (torch.cat([p.laws[k] for p in chosen]) for k in (0, 1))
        mean, interval = mean_interval(position(torch.cat(laws), first, second))
        name = way.replace(" ", "-")
        words = (
            f"trained on {way}: nearer to shares than to a point mass on prompts of both tasks: position at least 0.5"
        )
        claims.append(at_least(f"{name}-superposes", words, mean, 0.5, interval))
    minor = list[Tensor]()
    for p, law in zip(prompts[inner], found["one task"][inner], strict=True):
        lesser = p.point[:, :2].argmin(-1, keepdim=True)
        minor.append((p.parts(law) - p.point).gather(-1, lesser)[:, 0])
    mean, interval = mean_interval(torch.cat(minor))
    words = "trained on one task: more of the less likely task in the answer than exact Bayes has (difference)"
    return [*claims, at_least("one-task-some", words, mean, 0.0, interval)]

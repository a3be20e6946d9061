"""attention-sink-in-sets: where heads of small set transformers put attention that they have no use for.

Language models put much of their attention on the first token, whatever it says. A softmax has to give away weights
that sum to 1, so a head that has nothing to fetch needs a place to put them; sigmoid attention without normalisation
does not, and models up to 1B parameters trained with it have no such sink. A set has no first token: a sink has to
sit on a type. Here sets of agents, landmarks and one blank token that says nothing are mapped to the team reward of
cooperative navigation,

    r = -(1 / n) sum_landmarks min_agents |x_agent - x_landmark|

with softmax, with softmax and a learnable slot whose value is 0 (a score for each head), and with sigmoids of shift
-log N. Logged during training: alpha, the mean over queries of the attention to a token, of the token of each type
that receives most; and Sink_eps, the share of layers and heads in which it is above eps = 0.3. The weights of a sigmoid
are divided by their sum over the set first, so that the same threshold means the same; as they are, several tokens of
a set can be above it at once.

Gu, Pang, Du, Liu, Zhang, Du, Wang and Lin, "When attention sink emerges in language models: an empirical view", ICLR
2025, arXiv 2410.10781. That a blank token of a set becomes the sink is our conjecture, not theirs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from gamesim.attention import Layout
from gamesim.attention.diagnostics import attention_weights, effective_number, received, sinks
from gamesim.charts import Chart, Panel
from gamesim.experiments.over_seeds import band, below, mean_interval
from gamesim.networks.adam import Trained, adam
from gamesim.randomness import Stream
from gamesim.study import Claim, Scale, Study, at_least, at_most

TYPES = ("agent", "landmark", "blank")
AGENTS = 6
"""And as many landmarks."""
LAYERS, WIDTH, HEADS = 2, 32, 4
BATCH, TESTS = 48, 64
STEP_SIZE = 3e-3
VARIANTS = ("softmax", "softmax-slot", "sigmoid")
EFFORT: Mapping[Scale, tuple[int, int]] = {"quick": (4, 320), "full": (8, 3000)}
"""Seeds, and steps of Adam."""
Weights = tuple[Tensor, ...]
"""Embedding, read-out, then for each layer q, k, v, out, first, second and the scores of the slot: [seed, in, out]."""


@dataclass
class Watched:
    """What was measured while the networks of a variant were trained; tensors are [seed, type] unless said."""

    steps: list[int] = field(default_factory=list)
    strongest: list[Tensor] = field(default_factory=list)
    """alpha of the token of a type that receives most, mean over layers and heads."""
    score: list[Tensor] = field(default_factory=list)
    """Sink_eps, rows of sigmoids divided by their sums."""
    raw: list[Tensor] = field(default_factory=list)
    """Sink_eps of the weights as they are."""
    slot: list[Tensor] = field(default_factory=list)
    """What the slot takes, mean over layers and heads, [seed]."""
    number: list[Tensor] = field(default_factory=list)
    """Effective number of tokens attended to, [seed]."""
    explained: list[Tensor] = field(default_factory=list)
    """Share of the variance of the reward that is explained on new sets, [seed]."""

    def over_time(self, name: str) -> Tensor:
        """[seed, ..., record]."""
        return torch.stack(getattr(self, name), -1).double()


@dataclass(frozen=True)
class AttentionSinkInSets:
    """Three kinds of attention trained on the same sets from the same weights."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        seeds, steps = EFFORT[scale]
        found = {variant: train(variant, seeds, steps) for variant in VARIANTS}
        last = {variant: watched.over_time("score")[..., -1] for variant, watched in found.items()}
        claims = list[Claim]()
        for variant, watched in found.items():
            said = ", ".join(f"{name} {float(x):.2f}" for name, x in zip(TYPES, last[variant].mean(0), strict=True))
            explained = watched.over_time("explained")[:, -1]
            say(f"  {variant}: Sink on {said}; slot {float(watched.slot[-1].mean()):.2f}, attends to "
                f"{float(watched.number[-1].mean()):.1f}, R^2 {float(explained.mean()):.2f}")  # fmt: skip
            value, interval = mean_interval(explained)
            words = f"{variant}: explains the reward of new sets, R^2 at least 0.5"
            claims.append(at_least(f"{variant}-learns", words, value, 0.5, interval))
        claims += judged(found)
        rows = [
            {"variant": variant, "seed": s, "step": step, "type": name,
             "strongest": float(watched.strongest[t][s, k]), "sink_score": float(watched.score[t][s, k]),
             "raw_sink_score": float(watched.raw[t][s, k]),
             "slot": float(watched.slot[t][s]), "effective_number": float(watched.number[t][s]),
             "explained": float(watched.explained[t][s])}
            for variant, watched in found.items() for t, step in enumerate(watched.steps)
            for s in range(seeds) for k, name in enumerate(TYPES)
        ]  # fmt: skip
        panels = [
            Panel(variant, "step", "most received by a token of a type",
                  [band(name, w.steps, w.over_time("strongest")[:, k].clamp(min=1e-6)) for k, name in enumerate(TYPES)],
                  log_y=False)
            for variant, w in found.items()
        ]  # fmt: skip
        notes = (
            f"{seeds} seeds, {steps} steps of Adam ({STEP_SIZE:g}) on {BATCH} new sets of {AGENTS} agents, {AGENTS} "
            f"landmarks and a blank token; {LAYERS} layers of {HEADS} heads, width {WIDTH}. Uniform attention is "
            f"{1 / (2 * AGENTS + 1):.3f} to each token. The networks are small and trained for minutes, on a task in "
            "which most queries have something to fetch: a sink that is missing here says nothing of larger ones. The "
            "token that receives most is another one in each set, so that what is above the threshold for agents and "
            "landmarks is attention to what they say (an agent far out) as much as to what they are."
        )
        return Study(claims, [Chart("sinks", panels)], rows, notes)


def judged(found: dict[str, Watched]) -> list[Claim]:
    """A type becomes a sink under softmax; less of it where there is a slot; none under sigmoids."""
    blank = TYPES.index("blank")
    score = {variant: watched.over_time("score") for variant, watched in found.items()}
    alpha = {variant: watched.over_time("strongest")[:, blank, -1] for variant, watched in found.items()}
    taken = found["softmax-slot"].over_time("slot")
    raw = found["sigmoid"].over_time("raw")[..., -1]

    def claim(make: Callable[..., Claim], name: str, words: str, x: Tensor, limit: float) -> Claim:
        value, interval = mean_interval(x)
        return make(name, words, value, limit, interval)

    return [
        claim(at_least, "softmax-sink", "softmax: Sink_0.3 of the type that has most, at least 0.1",
              score["softmax"][..., -1].amax(-1), 0.1),
        claim(at_least, "softmax-blank-grows",
              "softmax: attention that the blank token receives, over that before training, at least 1",
              alpha["softmax"] / found["softmax"].over_time("strongest")[:, blank, 0], 1.0),
        below("slot-absorbs", "attention that the blank token receives: less with a slot than without",
              alpha["softmax-slot"], alpha["softmax"]),
        claim(at_least, "slot-is-used", "softmax with a slot: what it takes, less that before training, at least 0",
              taken[:, -1] - taken[:, 0], 0.0),
        claim(at_most, "sigmoid-none", "sigmoid, shares of rows: Sink_0.3 of the type that has most, at most 0.05",
              score["sigmoid"][..., -1].amax(-1), 0.05),
        claim(at_most, "sigmoid-none-raw", "sigmoid, weights as such: Sink_0.3 of the type that has most, at most 0.05",
              raw.amax(-1), 0.05),
    ]  # fmt: skip


def scenes(generator: Stream, seeds: int, count: int) -> tuple[Tensor, Tensor]:
    """Tokens [seed, row, 2 + type] of so many sets, agents first, the blank one last; rewards [seed, set]."""
    place = 2 * generator.uniform((seeds, count, 2 * AGENTS, 2), torch.float32) - 1
    apart = torch.cdist(place[..., AGENTS:, :], place[..., :AGENTS, :])
    reward = -apart.amin(-1).mean(-1)
    blank = torch.zeros(seeds, count, 1, 2)
    flags = torch.nn.functional.one_hot(types(1)).float().expand(seeds, count, -1, -1)
    tokens = torch.cat([torch.cat([place, blank], -2), flags], -1)
    return tokens.flatten(1, 2), reward


def types(sets: int) -> Tensor:
    one = torch.tensor([0] * AGENTS + [1] * AGENTS + [2])
    return one.repeat(sets)


def draw(seeds: int) -> Weights:
    """The same weights for every variant."""
    generator = Stream(list(range(seeds)))

    def matrix(inputs: int, outputs: int) -> Tensor:
        x: Tensor = generator.normal((seeds, inputs, outputs), torch.float32) / inputs**0.5
        return x

    layer = (*[(WIDTH, WIDTH)] * 4, (WIDTH, 2 * WIDTH), (2 * WIDTH, WIDTH))
    parts = [matrix(2 + len(TYPES), WIDTH), matrix(WIDTH, 1)]
    for _ in range(LAYERS):
        parts += [*(matrix(*shape) for shape in layer), torch.zeros(seeds, 1, HEADS)]
    return tuple(parts)


def network(weights: Weights, tokens: Tensor, layout: Layout, variant: str) -> tuple[Tensor, list[Tensor]]:
    """A number for each set, [seed, set], and the weights of attention [seed, set, head, i, j] of each layer."""
    x, watched = tokens @ weights[0], list[Tensor]()
    for at in range(2, len(weights), 7):
        query, key, value, out, first, second, slot = weights[at : at + 7]
        y = layer_norm(x, (WIDTH,))
        q, k, v = ((y @ w).unflatten(-1, (HEADS, -1)) for w in (query, key, value))
        if variant == "sigmoid":
            p = attention_weights(q, k, layout, kind="sigmoid") + 0 * slot.sum()
        elif variant == "softmax":
            p = attention_weights(q, k, layout) + 0 * slot.sum()
        else:
            p = attention_weights(q, k, layout, sink=slot[:, 0])
        watched.append(p)
        mixed = p @ v.unflatten(1, (layout.count, -1)).transpose(2, 3)
        x = x + mixed.transpose(2, 3).flatten(1, 2).flatten(-2) @ out
        x = x + torch.relu(layer_norm(x, (WIDTH,)) @ first) @ second
    return (layout.mean(layer_norm(x, (WIDTH,))) @ weights[1])[..., 0], watched


def train(variant: str, seeds: int, steps: int) -> Watched:
    """Networks of all seeds at once, on the same sets whatever the variant."""
    numbers, layout = list(range(seeds)), Layout.repeated(2 * AGENTS + 1, BATCH)
    trained, watched = Trained.fresh(draw(seeds)), Watched()
    tests = scenes(Stream(numbers, 2**31), seeds, TESTS)
    for step in range(steps + 1):
        if step % max(1, steps // 10) == 0:
            look(trained.parameters, variant, tests, step, watched)
        if step == steps:
            break
        tokens, reward = scenes(Stream(numbers, step), seeds, BATCH)

        def loss(weights: Weights, tokens: Tensor = tokens, reward: Tensor = reward) -> Tensor:
            return (network(weights, tokens, layout, variant)[0] - scaled(reward)).square().mean(-1)

        size = STEP_SIZE * min(1.0, (step + 1) / 20)
        trained = adam(trained, loss, size, step + 1)
    return watched


def scaled(reward: Tensor) -> Tensor:
    """About mean 0 and variance 1, the same for all."""
    return (reward + 0.457) / 0.119


def look(weights: Weights, variant: str, tests: tuple[Tensor, Tensor], step: int, watched: Watched) -> None:
    layout = Layout.repeated(2 * AGENTS + 1, TESTS)
    tokens, reward = tests
    guess, layers = network(weights, tokens, layout, variant)
    error = (guess - scaled(reward)).square().mean(-1) / scaled(reward).var(-1, correction=0)
    every = torch.stack(layers, 1)  # [seed, layer, set, head, i, j]
    raw = sinks(received(every, layout), layout, types(TESTS))
    found = sinks(received(every, layout, normalized=True), layout, types(TESTS)) if variant == "sigmoid" else raw
    watched.steps.append(step)
    watched.strongest.append(found.strongest.mean((1, 2)))
    watched.score.append(found.by_head().mean((1, 2)))
    watched.raw.append(raw.by_head().mean((1, 2)))
    watched.slot.append(
        (1 - every.sum(-1)).mean((1, 2, 3, 4)) if variant == "softmax-slot" else torch.zeros(len(error))
    )
    watched.number.append(effective_number(every, layout).mean((1, 2, 3)))
    watched.explained.append(1 - error)

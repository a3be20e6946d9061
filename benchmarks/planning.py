"""The suite `planning`: runs of planners side by side against one by one, and training on the attention core."""

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gamesim.algorithms.bail import BAIL
from gamesim.benchmarks.timing import Row, interleaved, row
from gamesim.envs.latent.needle import Needle
from gamesim.loop import solve
from gamesim.randomness import Stream
from gamesim.sequence.decoder import Decoder
from gamesim.sequence.pretraining import BATCH, Recipe, batches
from gamesim.sequence.streams import Vocabulary
from gamesim.sequence.training import train

RUNS, EPISODES, MINUTE = 48, 2048, 60.0
STEPS, TIMED, TRAINING = 2500, 20, 180.0
"""Steps of the pretraining, how many are timed, and its bar in seconds."""


def suite() -> Iterator[Row]:
    """Rows as they are measured."""
    yield from runs()
    yield from training()


def runs() -> Iterator[Row]:
    """The needle with as many boxes as episodes: seconds of 48 runs, and against so many runs one by one."""
    world = Needle(boxes=EPISODES)
    for name, solver in {"naive": BAIL(), "exploring": BAIL(exploration=f"theory({EPISODES})")}.items():  # type: ignore[arg-type]

        def all_at_once(solver: BAIL = solver) -> None:
            solve(world, solver, iterations=EPISODES, seeds=RUNS, every=EPISODES)

        seconds = interleaved({"ours": all_at_once}, rounds=1)["ours"]
        note = f"CPU seconds of {RUNS} runs of {EPISODES:,} episodes, against a minute"
        yield row(f"needle-{name}", seconds, MINUTE, 1.0, note)
    short = 64

    def side_by_side() -> None:
        solve(world, BAIL(), iterations=short, seeds=RUNS, every=short)

    def one_by_one() -> None:
        for seed in range(RUNS):
            solve(world, BAIL(), iterations=short, seed=seed, every=short)

    found = interleaved({"ours": side_by_side, "loop": one_by_one}, rounds=3)
    yield row("side-by-side", found["ours"], found["loop"], None, f"{RUNS} runs of {short} episodes against a loop")


def training() -> Iterator[Row]:
    """Pretraining of the decoder: seconds of all steps, and a step against torch's own transformer of the same size."""
    world, recipe = Needle(boxes=8), Recipe(episodes=24)
    words = Vocabulary.of(world)
    documents = batches(world, words, recipe)
    tokens, targets = documents(0, Stream(0))
    decoder = Decoder(len(words.words), context=tokens.shape[-1])
    theirs = Stock(len(words.words), tokens.shape[-1])
    adam = torch.optim.AdamW(theirs.parameters(), lr=3e-3, weight_decay=0.01)

    def ours() -> None:
        train(decoder, lambda t, luck: (tokens, targets), TIMED, 0)

    def peer() -> None:
        for _ in range(TIMED):
            adam.zero_grad()
            theirs.loss(tokens, targets).backward()
            adam.step()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that its fast path is for inference
        found = interleaved({"ours": ours, "torch": peer}, rounds=7)
    note = f"{TIMED} steps, {BATCH} documents of {tokens.shape[-1]} tokens, {decoder.size:,} numbers"
    yield row("step", found["ours"], found["torch"], None, f"{note}, against torch's TransformerEncoder")

    def whole() -> None:
        train(decoder, documents, 5 * TIMED, 0)

    seconds = interleaved({"ours": whole}, rounds=3)["ours"] * STEPS / (5 * TIMED)
    note = f"CPU seconds of {STEPS:,} steps with their documents, from {5 * TIMED}, against three minutes"
    yield row("pretraining", seconds, TRAINING, 1.0, note)


class Stock(nn.Module):
    """The same decoder of torch's layers."""

    def __init__(self, vocabulary: int, context: int, width: int = 48) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)
        self.tokens, self.head = nn.Embedding(vocabulary, width), nn.Linear(width, vocabulary)
        self.places = nn.Parameter(torch.zeros(context, width))
        self.hidden = nn.Transformer.generate_square_subsequent_mask(context)

    def loss(self, tokens: Tensor, targets: Tensor) -> Any:
        rows = self.body(self.tokens(tokens) + self.places, mask=self.hidden, is_causal=True)
        return nn.functional.cross_entropy(self.head(rows).flatten(0, -2), targets.flatten(), ignore_index=-1)

"""A decoder pretrained on documents of a latent world, and kept: what stands for a language model, made by ourselves.

Documents are fresh (gamesim.sequence.streams), 64 to a step, and cross entropy is descended by AdamW with a step size
that rises over 100 steps to 6e-3 and falls to 0 like a cosine. With labelled documents the minimiser over all laws is

    P(g | prompt) = sum_z P(z | prompt) pi*_z(g | episode so far)

where the next token is a subgoal, and the exact law of the next report elsewhere.

Models are kept under the folder of `GAMESIM_CACHE`, or else `gamesim` in that of `XDG_CACHE_HOME` or in ~/.cache, by
the sha256 of everything that made them. A file is put there at once and whole, read back with care, and made anew where
it is damaged; a second process that wants the same model waits for the first.

He et al., "From words to actions", ICML 2024, arXiv 2405.19883.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from torch import Tensor

from gamesim.errors import InvalidInput, refuse
from gamesim.games.latent import LatentWorld
from gamesim.parameters import Count, Natural, check, plain
from gamesim.randomness import Stream
from gamesim.sequence.decoder import Decoder
from gamesim.sequence.streams import Data, Documents, Vocabulary, documents
from gamesim.sequence.training import Batches, Training, train
from gamesim.sequence.weights import load, save

BATCH, STEP_SIZE, WARM_UP = 64, 6e-3, 100
"""The step size is that of rows of up to 48 numbers; wider ones take one that falls like 1 / width."""
VERSION = 1
"""Of documents, training and files: another one makes other models."""
AT_ONCE = 2**18
"""Numbers of a belief that are held at once where documents are made."""
SAYS_AFTER, SAYS_EVERY = 2.0, 20.0
"""Seconds."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """What a model of a world is made by."""

    episodes: Count = 24
    """Episodes of a document; the longest prompt of the model."""
    data: Data = "labelled"
    """labelled: what the expert would say is the answer, whoever acted. demonstrations: the expert acted."""
    steps: Count = 2500
    """Steps of training."""
    width: Count = 48
    """Numbers of a token's row."""
    heads: Count = 4
    """Of attention."""
    blocks: Count = 2
    """Layers."""
    seed: Natural = 0
    """Of training."""

    def __post_init__(self) -> None:
        check(self)
        if self.width % self.heads:
            raise refuse("heads", self.heads, f"a number that divides width, {self.width}")

    def fingerprint(self, world: LatentWorld, words: Vocabulary) -> str:
        """sha256 of everything that the weights depend on, the truth of runs not among it."""
        kept = {name: value for name, value in plain(world).items() if name not in ("truth", "device")}
        made = {f.name: getattr(self, f.name) for f in fields(Recipe)}
        seen = [plain(world.prior), plain(world.task_law), words.words, words.reports, words.horizon]
        parts = [VERSION, kept, made, seen, BATCH, STEP_SIZE, WARM_UP]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Pretrained:
    """A model with the vocabulary that it speaks."""

    model: Decoder
    words: Vocabulary
    episodes: int
    """Episodes of a document it was trained on."""


def pretrain(world: LatentWorld, recipe: Recipe | None = None, say: Say = lambda text: None) -> Pretrained:
    """Train a model, without a look at what is kept; `say` hears of work that takes more than two seconds."""
    recipe = recipe or Recipe()
    words = Vocabulary.of(world)
    context = words.context(recipe.episodes)
    blank = Decoder(words.size, width=recipe.width, heads=recipe.heads, blocks=recipe.blocks, context=context)
    began = time.monotonic()
    told = began - SAYS_EVERY + SAYS_AFTER

    def watch(run: Training) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told > SAYS_EVERY:
            told, rest = now, (now - began) / run.step * (recipe.steps - run.step)
            loss = float(run.losses[-100:].mean())
            say(f"pretraining: step {run.step:,} of {recipe.steps:,}, loss {loss:.3f}, about {rest:.0f} s more")

    run = train(
        blank, batches(world, words, recipe), recipe.steps, recipe.seed,
        step_size=STEP_SIZE * min(1.0, 48 / recipe.width), warm_up=WARM_UP, observe=watch, every=20,
    )  # fmt: skip
    return Pretrained(blank.holding(run.weights), words, recipe.episodes)


def batches(world: LatentWorld, words: Vocabulary, recipe: Recipe) -> Batches:
    """Tokens and targets [64, place] of fresh documents; those of many steps are made at once."""
    held = len(world.prior) + sum(x.numel() for x in world.believe(()).inside)
    most = max(1, min(64, AT_ONCE // (held * BATCH)))
    kept = dict[int, Documents]()

    def batch(t: int, generator: Stream) -> tuple[Tensor, Tensor]:
        chunk, place = divmod(t, most)
        if chunk not in kept:
            kept.clear()
            kept[chunk] = documents(world, words, recipe.episodes, most * BATCH, generator.at(chunk), recipe.data)
        part = slice(place * BATCH, (place + 1) * BATCH)
        return kept[chunk].tokens[part].contiguous(), kept[chunk].targets[part].contiguous()

    return batch


# --- kept models ---------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where models are kept."""
    own, shared = os.environ.get("GAMESIM_CACHE"), os.environ.get("XDG_CACHE_HOME")
    folder = Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "gamesim"
    return folder.expanduser() / "models"


_LOADED = dict[str, Pretrained]()
"""What this process has read, by fingerprint."""


def pretrained(world: LatentWorld, recipe: Recipe | None = None, say: Say = lambda text: None) -> Pretrained:
    """The model of a world and a recipe: the kept one, or else trained now and kept."""
    recipe = recipe or Recipe()
    words = Vocabulary.of(world)
    name = recipe.fingerprint(world, words)
    if name not in _LOADED:
        path = cache_folder() / f"{name}.safetensors"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _waiting(path.with_suffix(".lock")):
                _LOADED[name] = _kept(path, world, words, recipe, say)
        except OSError as error:
            say(f"{path.parent}: models cannot be kept there ({error.strerror}); GAMESIM_CACHE names another folder")
            _LOADED[name] = pretrain(world, recipe, say)
    return _LOADED[name]


def _kept(path: Path, world: LatentWorld, words: Vocabulary, recipe: Recipe, say: Say) -> Pretrained:
    if path.exists():
        try:
            return read_model(path, words)
        except InvalidInput as error:
            say(f"{error}; the model is made anew")
    made = pretrain(world, recipe, say)
    try:
        write_model(path, made)
    except InvalidInput as error:  # as where the disk is full: the work is not lost
        say(f"{error}; the model is not kept")
    return made


@contextmanager
def _waiting(path: Path) -> Iterator[None]:
    """Alone among processes, after those that came before."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_model(path: Path, made: Pretrained) -> None:
    """A model and its vocabulary, as safetensors; the file is there whole or not at all."""
    save(path, made.model, words=made.words.words, about={"episodes": made.episodes, "version": VERSION})


def read_model(path: Path, words: Vocabulary) -> Pretrained:
    """The model of a file, refused if it speaks another vocabulary than this one."""
    saved = load(path)
    name, model = f"weights {path}", saved.decoder
    episodes = saved.about.get("episodes")
    if saved.about.get("version") != VERSION or not isinstance(episodes, int) or episodes < 1 or model.front:
        raise refuse(name, str(saved.about), "a model that this version pretrained on a latent world")
    if saved.words != words.words:
        other = next((x for x in saved.words if x not in words.words), f"{len(saved.words)} words")
        raise refuse(name, f"a model that speaks of {other!r}", f"one of this world, with its {words.size} words")
    if model.context != words.context(episodes):
        raise refuse(name, f"{model.context} places", f"{words.context(episodes)}, those of {episodes} episodes")
    return Pretrained(model, words, episodes)


def pretrain_model(
    world: LatentWorld, out: Path, recipe: Recipe | None = None, say: Say = lambda text: None
) -> Pretrained:
    """Pretrain, or take what is kept, and write it to a file, for transformer(weights=FILE)."""
    if out.suffix != ".safetensors" or out.is_dir():
        raise refuse("out", str(out), "a file whose name ends in .safetensors")
    if not out.absolute().parent.is_dir():
        raise refuse("out", str(out), "a file in a folder that exists")
    made = pretrained(world, recipe, say)
    write_model(out, made)
    return made

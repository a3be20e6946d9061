"""What a language model of ours answers to a request of OpenAI's protocol: a planner behind a prompt.

    prompt -> episodes -> the planner's memory -> its law of subgoals -> decoding -> the reply

The law is that of the planner called in the same process, number for number. Draws are a function of the request (its
seed, conversation and settings), so that the same request has the same answer whenever it is sent.
"""

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import InvalidInput, refuse
from gamesim.games.latent import LatentWorld
from gamesim.planning.language.reading import Told, read_back
from gamesim.planning.language.text import HEAD, LABELS, Episode
from gamesim.planning.planner import Planner
from gamesim.randomness import Stream
from gamesim.sequence import generation
from gamesim.simplex import TIE, drawn

LEAST = -9999.0
"""The log-probability of what never comes: JSON has no infinity."""
MOST_MESSAGES = 256
REMEMBERED = 64
"""Histories of which memories are kept, so that the next prompt of a run costs one episode, not all."""
SMALL_TALK = "hello"
"""To whoever does not send a prompt of ours, as clients do to see whether anybody is there."""


@dataclass(frozen=True)
class Asked:
    """A request, checked."""

    messages: tuple[tuple[str, str], ...]
    """Role and text."""
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int | None = None
    top_logprobs: int | None = None
    """How many are asked for; None where no log-probabilities are."""
    choices: tuple[str, ...] | None = None
    seed: int | None = None
    stream: bool = False
    stream_usage: bool = False

    @property
    def prompt_tokens(self) -> int:
        """Words."""
        return sum(len(text.split()) for _, text in self.messages)


@dataclass(frozen=True)
class Reply:
    """What is answered."""

    text: str
    finish: str
    """stop, or length where max_tokens cut it."""
    tokens: int
    likely: tuple[tuple[str, float], ...]
    """What may be answered, with log-probabilities before decoding: the likeliest first."""
    chosen: tuple[str, float]


def asked(given: Any) -> Asked:
    """A chat request as it came, read strictly where it matters; what no model of ours has is not looked at."""
    if not isinstance(given, Mapping):
        raise refuse("request", type(given).__name__, "a JSON object")
    n = given.get("n")
    if n is not None and (n != 1 or isinstance(n, bool)):
        raise refuse("n", n, "1, one choice")
    tokens = given.get("max_completion_tokens", given.get("max_tokens"))
    top = _number(given, "top_logprobs", 0, len(LABELS), whole=True) if given.get("logprobs") else None
    options = given.get("stream_options")
    return Asked(
        messages=_messages(given.get("messages")),
        temperature=_number(given, "temperature", 0, 100, otherwise=1.0),
        top_p=_number(given, "top_p", 0, 1, otherwise=1.0),
        max_tokens=None if tokens is None else int(_number({"max_tokens": tokens}, "max_tokens", 1, 10**9, whole=True)),
        top_logprobs=None if top is None else int(top),
        choices=_choices(given),
        seed=None if given.get("seed") is None else int(_number(given, "seed", -(2**63), 2**64, whole=True)),
        stream=bool(given.get("stream")),
        stream_usage=isinstance(options, Mapping) and bool(options.get("include_usage")),
    )


def _number(
    given: Mapping[str, Any], name: str, low: float, high: float, whole: bool = False, otherwise: float = 0.0
) -> float:
    value = given.get(name)
    if value is None:
        return otherwise
    right = isinstance(value, int) if whole else isinstance(value, int | float)
    if not right or isinstance(value, bool) or not low <= value <= high:
        raise refuse(name, value, f"a {'whole ' if whole else ''}number from {low:g} to {high:g}")
    return value  # type: ignore[no-any-return]


def _messages(given: Any) -> tuple[tuple[str, str], ...]:
    wanted = f"a list of 1 to {MOST_MESSAGES} messages, each with a role and a content of text"
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_MESSAGES:
        raise refuse("messages", type(given).__name__, wanted)
    found = []
    for message in given:
        role, content = (message.get("role"), message.get("content")) if isinstance(message, Mapping) else (None, None)
        if isinstance(content, list):  # parts of a text
            parts = [
                part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str)
            ]
            content = "".join(parts) if len(parts) == len(content) else None
        if not isinstance(role, str) or not isinstance(content, str):
            raise refuse("messages", json.dumps(message)[:200], wanted)
        found.append((role, content))
    return tuple(found)


def _choices(given: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What a reply may be: vLLM's structured outputs, or its older guided choice."""
    structured = given.get("structured_outputs")
    choices = structured.get("choice") if isinstance(structured, Mapping) else given.get("guided_choice")
    if choices is None:
        return None
    if not isinstance(choices, list) or not choices or not all(isinstance(c, str) and c for c in choices):
        raise refuse("guided_choice", choices, "a list of texts")
    return tuple(choices)


class Mind:
    """A planner that reads prompts of its world; it may be asked from several threads."""

    def __init__(self, planner: Planner, world: LatentWorld, seed: int = 0) -> None:
        planner.require(world)
        if not planner.has_law:
            raise refuse("planner", str(planner), "one that knows the law of what it says, as bail")
        self.planner, self.world, self.seed = planner, world, seed
        self._lock = Lock()
        self._memories: OrderedDict[tuple[Episode, ...], Any] = OrderedDict()
        self._unseeded = 0
        self._past = Stream(0)  # what was drawn in an episode that ended is not looked at any more

    def law(self, told: Told, seed: int | None = None) -> Tensor:
        """Of the subgoal of the actor that is asked for, [g].

        What a planner draws when an episode begins, as a latent to follow, is a function of the seed and of what is
        told until then: the same at all decisions of the episode.
        """
        if not told.whole:
            wanted = "a prompt in style raw or summary: counts do not tell episodes of several decisions apart"
            raise refuse("messages", "counts", wanted)
        memory = self.memory(told, seed)
        with self._lock, torch.no_grad():
            law = self.planner.law(self.world, told.inside, self._long(told.current[0]), memory)
        return law.reshape(self.world.actors, -1)[told.actor].double().cpu()

    def memory(self, told: Told, seed: int | None = None) -> Any:
        """What the planner holds after all that is told."""
        luck = self._stream(json.dumps([seed, told.count, told.ended, told.current[:2]]))
        with self._lock, torch.no_grad():
            return self._lived(self._memory(told.ended), told.current, luck)

    def _long(self, value: Any) -> Tensor:
        """Of one run, [1, ...]."""
        return torch.tensor([value], dtype=torch.long, device=self.world.like["device"])

    def _memory(self, ended: tuple[Episode, ...]) -> Any:
        """What is held after some episodes: from the longest history that is known to begin alike."""
        known, memory = 0, None
        for length in (len(ended), len(ended) - 1):
            if length > 0 and (memory := self._memories.get(ended[:length])) is not None:
                known = length
                break
        memory = self.planner.begin(self.world, (1,)) if memory is None else memory
        for episode in ended[known:]:
            memory = self._lived(memory, episode, self._past)
        if ended:
            self._memories[ended] = memory
            self._memories.move_to_end(ended)
            if len(self._memories) > REMEMBERED:
                self._memories.popitem(last=False)
        return memory

    def _lived(self, memory: Any, episode: Episode, luck: Stream) -> Any:
        task, first, steps = episode
        memory = self.planner.meet(self.world, memory, self._long(task), self._long(first), luck)
        for h, (subgoals, observation) in enumerate(steps):
            memory = self.planner.hear(self.world, h, memory, self._long(subgoals), self._long(observation))
        return memory

    def _stream(self, said: str) -> Stream:
        digest = hashlib.sha256(f"{self.seed}\n{said}".encode("utf-8", "surrogatepass")).digest()
        return Stream(int.from_bytes(digest[:8], "big") >> 1)

    def _luck(self, request: Asked) -> float:
        """One uniform number, of the request."""
        seed: Any = request.seed
        if seed is None:
            with self._lock:
                self._unseeded += 1
                seed = f"unseeded {self._unseeded}"
        said = json.dumps([seed, request.messages, request.temperature, request.top_p, request.choices])
        return float(self._stream(said).uniform((1,)))

    def reply(self, request: Asked) -> Reply:
        """What is answered to a conversation: its last prompt counts, and what was said after that is luck alone."""
        prompts = [text for role, text in request.messages if role == "user" and text.startswith(HEAD)]
        if prompts:
            told = read_back(self.world, prompts[-1])
            law = self.law(told, request.seed)
            names: Sequence[str] = LABELS[: len(law)] if told.labelled else self.world.subgoals
        else:
            law, names = torch.ones(1, dtype=torch.float64), (SMALL_TALK,)
        law = (law / law.sum()).clamp(min=0)
        if request.choices is not None:
            law, names = _among(law, names, request.choices)
        k = int(drawn(decoded(law, request.temperature, request.top_p), torch.tensor(self._luck(request))))
        logs = [max(log, LEAST) for log in law.log().tolist()]
        order = sorted(range(len(names)), key=lambda i: (-logs[i], i))
        likely = tuple((names[i], logs[i]) for i in order)
        words, most = names[k].split(" "), request.max_tokens
        cut = most is not None and len(words) > most
        text = " ".join(words[:most]) if cut else names[k]
        return Reply(
            text, "length" if cut else "stop", most if cut and most else len(words), likely, (names[k], logs[k])
        )


def _among(law: Tensor, names: Sequence[str], choices: Sequence[str]) -> tuple[Tensor, Sequence[str]]:
    """The law of those that may be answered; of what is no name of ours, any is as good."""
    place = {name: i for i, name in enumerate(names)}
    found = torch.stack([law[place[c]] if c in place else law.new_zeros(()) for c in choices])
    total = found.sum()
    return (found / total if total > 0 else torch.full_like(found, 1 / len(choices))), choices


def decoded(law: Tensor, temperature: float, top_p: float) -> Tensor:
    """law[a]^(1 / temperature), of which the likeliest are kept that have a mass of top_p together; 0: the likeliest.

    >>> decoded(torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), 1.0, 0.7)
    tensor([0.6250, 0.3750, 0.0000], dtype=torch.float64)
    """
    return generation.law(law.log(), temperature, top_p or TIE)


def finite(value: str) -> float:
    """Of JSON: no infinity, no NaN."""
    raise InvalidInput(f"request: got {value}, expected finite numbers")


def loaded(body: bytes) -> Any:
    """JSON in UTF-8, or a refusal."""
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=finite)
    except InvalidInput:
        raise
    except UnicodeDecodeError:
        raise InvalidInput("request: got bytes that are no UTF-8, expected JSON") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"request: got no JSON ({str(error)[:100]}), expected a JSON object") from None
    if isinstance(found, Mapping):
        for name, value in found.items():
            if isinstance(value, float) and not math.isfinite(value):  # 1e999
                raise refuse(str(name)[:100], value, "a finite number")
    return found

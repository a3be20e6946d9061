"""An endpoint that speaks OpenAI's protocol, at arm's length: what comes from it is bounded, read as data, and counted.

    POST BASE_URL/chat/completions    a conversation -> a reply, and log-probabilities of its first token
    GET  BASE_URL/models              what is served there

vLLM, llama.cpp, Ollama, LM Studio, LiteLLM's proxy, `gamesim llm serve` and hosted services speak it. Its address is
https, or http on this machine; no redirect is followed, no proxy taken, no cookie kept, no compressed answer accepted.
The key is read from an environment variable when it is needed, and struck out of every text that comes back; nothing
else of the environment is sent.
"""

import json
import math
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gamesim.errors import missing_extra, refuse
from gamesim.planning.language.addresses import Key, require_address
from gamesim.planning.language.wire import LARGEST, TooLarge, bounded_client

RETRIED = ("rate-limited", "server-error", "timeout", "unreachable", "redirected", "too-large", "broken")
"""Failures that another try may mend: nothing came that can be read."""
STATUSES = ("ok", "empty", "rejected", *RETRIED)
TRIES = 5
"""Of what is asked before a run."""
LONGEST_WAIT = 60.0
"""Seconds that an endpoint may ask to be left alone."""
KEPT = 400
"""Characters of an error that are kept."""
OTHERWISE = "one of ours is started with: gamesim llm serve"


@dataclass(frozen=True)
class Answer:
    """How one request ended: `ok`, or what was wrong."""

    status: str
    """One of STATUSES."""
    text: str | None = None
    logprobs: tuple[tuple[str, float], ...] = ()
    """The likeliest first tokens with their log-probabilities."""
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    finish: str | None = None
    http: int | None = None
    seconds: float = 0.0
    wait: float = 0.0
    """Seconds before another try, where the endpoint asks for that."""
    error: str | None = None


class Endpoint:
    """Requests to one address, by as many threads as one likes."""

    def __init__(
        self, base_url: str, key_env: str = "OPENAI_API_KEY", timeout: float = 60.0, transport: Any = None
    ) -> None:
        """transport: what carries requests instead of the network, such as an httpx2.MockTransport."""
        self.address = require_address(base_url)
        self.key = Key(key_env, self.address)
        try:
            import openai
        except ModuleNotFoundError:
            raise missing_extra("planner: openai", "openai", "gamesim[llm]") from None
        self._timeout, self._closed = timeout, threading.Event()
        self._client = openai.OpenAI(
            api_key=self.key.reveal(),
            base_url=self.address,
            timeout=timeout,
            max_retries=0,
            http_client=bounded_client(timeout, self.key, self._closed, transport),
        )
        weakref.finalize(self, self._client.close)
        self._renamed = False  # max_tokens is max_completion_tokens to this endpoint

    def close(self) -> None:
        """Requests that are under way end soon."""
        self._closed.set()
        self._client.close()

    def models(self) -> list[str] | None:
        """What it serves; None where it does not say. One that cannot be reached, or used, is refused."""
        for i in range(TRIES):
            answer, found = self._sent(lambda: self._client.models.with_raw_response.list())
            if answer.status not in RETRIED or answer.status in ("unreachable", "redirected"):
                break
            time.sleep(_pause(i, answer) if i < TRIES - 1 else 0.0)
        if answer.status in ("unreachable", "timeout", "redirected"):
            wanted = f"an endpoint that answers ({answer.error or answer.status}); is it running there? {OTHERWISE}"
            raise refuse("base_url", self.address, wanted)
        if answer.http in (401, 403):
            raise refuse("base_url", self.address, f"one that takes the key of key_env ({answer.error})")
        listed = found.get("data") if isinstance(found, dict) else None
        if answer.status != "ok" or not isinstance(listed, list):
            return None
        names = [entry.get("id") for entry in listed if isinstance(entry, dict)]
        return [self.key.struck(name)[:200] for name in names if isinstance(name, str) and name.isprintable()][:10_000]

    def ask(self, request: Mapping[str, Any]) -> Answer:
        """One request; whatever happens is an Answer."""
        renamed = self._renamed
        answer, found = self._sent(lambda: self._create(request))
        if answer.http == 400 and "max_completion_tokens" in (answer.error or "") and not renamed:
            self._renamed = True
            answer, found = self._sent(lambda: self._create(request))
        return self._read(answer, found) if answer.status == "ok" else answer

    def try_out(self, model: str, **more: Any) -> Answer:
        """A request that costs next to nothing, made again while nothing comes that can be read."""
        request = {"model": model, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8} | more
        for i in range(TRIES):
            answer = self.ask(request)
            if answer.status not in RETRIED:
                break
            time.sleep(_pause(i, answer) if i < TRIES - 1 else 0.0)
        return answer

    def _create(self, request: Mapping[str, Any]) -> Any:
        given = dict(request)
        if self._renamed and "max_tokens" in given:
            given["max_completion_tokens"] = given.pop("max_tokens")
        return self._client.chat.completions.with_raw_response.create(**given)

    def _sent(self, send: Any) -> tuple[Answer, Any]:
        """Status and JSON of one request."""
        import httpx2
        import openai

        started = time.perf_counter()

        def ended(status: str, error: object = None, http: int | None = None, wait: float = 0.0) -> Answer:
            words = None if error is None else shown(self.key.struck(str(error)))[:KEPT]
            return Answer(status, error=words, http=http, wait=wait, seconds=time.perf_counter() - started)

        try:
            raw = send()
            content, http = raw.http_response.content, int(raw.http_response.status_code)
        except openai.APITimeoutError:
            return ended("timeout", f"nothing within {self._timeout:g} seconds"), None
        except openai.APIStatusError as error:
            http = error.status_code
            status = {408: "timeout", 409: "server-error", 425: "rate-limited", 429: "rate-limited"}.get(http)
            status = status or ("server-error" if http >= 500 else "rejected" if http >= 400 else "redirected")
            return ended(status, f"HTTP {http}: {_said(error)}", http, _wait(error.response.headers)), None
        except openai.APIConnectionError as error:
            cause = error.__cause__
            if isinstance(cause, TooLarge):
                return ended("too-large", cause), None
            status = "broken" if isinstance(cause, httpx2.DecodingError) else "unreachable"
            return ended(status, f"{type(cause or error).__name__}: {cause or error}"), None
        except TooLarge as error:
            return ended("too-large", error), None
        except httpx2.TimeoutException:
            return ended("timeout", f"not whole within {self._timeout:g} seconds"), None
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            return ended("unreachable", f"{type(error).__name__}: {error}"), None
        except Exception as error:  # whatever an answer makes of the client
            return ended("broken", f"{type(error).__name__}: {error}"), None
        if len(content) > LARGEST:
            return ended("too-large", f"{len(content)} bytes, where at most {LARGEST} are read", http), None
        try:
            found = json.loads(content.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            return ended("broken", f"no JSON in UTF-8 ({type(error).__name__}): {content!r}", http), None
        return ended("ok", http=http), found

    def _read(self, answer: Answer, found: Any) -> Answer:
        """The parts of a completion that are as they should be."""
        choices = found.get("choices") if isinstance(found, dict) else None
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
        if choice is None:
            return replace(answer, status="broken", error="no choices in the answer")
        message = choice.get("message")
        text = message.get("content") if isinstance(message, dict) else None
        text = self.key.struck(text) if isinstance(text, str) else None
        logprobs = tuple((self.key.struck(token)[:100], log) for token, log in _first_token(choice.get("logprobs")))
        finish, used = choice.get("finish_reason"), found.get("usage")
        used = used if isinstance(used, dict) else {}
        return replace(
            answer,
            status="ok" if (text and text.strip()) or logprobs else "empty",
            text=text,
            logprobs=logprobs,
            prompt_tokens=counted(used.get("prompt_tokens")),
            reply_tokens=counted(used.get("completion_tokens")),
            finish=self.key.struck(finish)[:40] if isinstance(finish, str) else None,
        )


def shown(text: str) -> str:
    """A text of somebody else in one line that a terminal may be given.

    >>> shown("no \\n such\\x1b[31m model")
    'no such\ufffd[31m model'
    """
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def _said(error: Any) -> str:
    """What an endpoint says of its refusal."""
    body = error.body
    if isinstance(body, dict):
        body = body.get("message", body)
    return str(body or error.message)


def _wait(headers: Mapping[str, str]) -> float:
    try:
        seconds = float(headers.get("retry-after", 0))
    except ValueError:  # a date
        return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT) if math.isfinite(seconds) else 0.0


def _pause(i: int, answer: Answer) -> float:
    return max(0.2 * 2.0**i, min(answer.wait, 5.0))


def counted(x: object) -> int | None:
    """Tokens, where these may be some."""
    return x if isinstance(x, int) and not isinstance(x, bool) and 0 <= x < 10**9 else None


def _first_token(logprobs: object) -> Iterator[tuple[str, float]]:
    """Token and log-probability of what may come first."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    top = first.get("top_logprobs") if isinstance(first, dict) else None
    for entry in (top if isinstance(top, list) else [])[:200]:
        token, log = (entry.get("token"), entry.get("logprob")) if isinstance(entry, dict) else (None, None)
        if isinstance(token, str) and isinstance(log, int | float) and not isinstance(log, bool):
            try:
                number = float(log)
            except OverflowError:
                continue
            if math.isfinite(number):
                yield token, number

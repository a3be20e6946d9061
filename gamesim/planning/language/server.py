"""A server of OpenAI's protocol whose model is a planner of ours: everything that speaks to one can be tried offline.

    GET  /v1/models                what is served
    POST /v1/chat/completions      a conversation -> the next subgoal, with log-probabilities; also as a stream
    POST /v1/completions           a prompt -> the same

It listens on this machine alone unless told otherwise, keeps nothing of what it is sent, and may break on purpose
(gamesim.planning.language.faults).
"""

import ipaddress
import json
import select
import socket
import struct
import time
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import BoundedSemaphore, Event, Thread
from types import TracebackType
from typing import Any

from gamesim.errors import Caution, InvalidInput, refuse
from gamesim.games.latent import LatentWorld
from gamesim.planning.language.answering import Asked, Mind, Reply, asked, loaded
from gamesim.planning.language.faults import Answer, Fault, Faults
from gamesim.planning.language.text import HEAD
from gamesim.planning.planner import Planner

LARGEST = 2**23
"""Bytes of a request."""
MODEL = "gamesim"
PATIENCE = 30.0
"""Seconds until a client that sends nothing is left alone."""
AT_ONCE = 64
"""Requests that are worked on together; more wait."""


class Served:
    """A running server; leaving its `with` block stops it."""

    def __init__(self, mind: Mind, host: str, port: int, model: str, faults: Faults | None) -> None:
        self.mind, self.model, self.faults = mind, model, faults
        self.requests = count()
        self.closing = Event()
        self.room = BoundedSemaphore(AT_ONCE)
        handler = type("_Handler", (_Handler,), {"served": self})
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = type("_Server", (_Server,), {"address_family": family})
        try:
            self._server = server((host, port), handler)
        except (OSError, OverflowError) as error:
            wanted = "an address of this machine and a free port, as --host 127.0.0.1 --port 0"
            raise refuse("host, port", f"{host}, {port} ({error})", wanted) from None
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The base_url that a client is given."""
        host, port = self._server.server_address[:2]
        return f"http://{f'[{host!s}]' if ':' in str(host) else host!s}:{port}/v1"

    def wait(self) -> None:
        """Until it is stopped."""
        self._thread.join()

    def close(self) -> None:
        """Stop listening; who is being made to wait is let go."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- answers ----------------------------------------------------------------------------------------------------

    def models(self) -> Answer:
        return Answer.of(200, {"object": "list", "data": [_card(self.model)]})

    def completed(self, body: bytes, chat: bool) -> Answer:
        """What is answered to a POST."""
        number = next(self.requests)
        try:
            given = loaded(body)
            if not chat and isinstance(given, dict):
                given = _as_chat(given)
            request = asked(given)
            if given.get("model", self.model) != self.model:
                wanted = f"the model {self.model!r} is served here, and no other"
                return Answer.error(404, wanted, "invalid_request_error", code="model_not_found")
            fault = self.faults.inject(number) if self.faults else None
            reply = self.mind.reply(request)
            return self._answer(number, request, reply, fault, chat)
        except InvalidInput as error:
            return Answer.error(400, str(error), "invalid_request_error")

    def _answer(self, number: int, request: Asked, reply: Reply, fault: Fault | None, chat: bool) -> Answer:
        text = fault.said(reply.text) if fault and fault.said else reply.text
        form = _chat if chat else _plain
        if request.stream:
            answer = Answer(200, _stream(form, self.model, number, request, reply, text), "text/event-stream")
        else:
            whole = _completion(form, self.model, number, reply, [form(request, reply, text, "message", reply.finish)])
            answer = Answer.of(200, whole | {"usage": _usage(request, reply)})
        return fault.sent(answer, self.faults) if fault and fault.sent and self.faults else answer


def serve(
    planner: Planner,
    world: LatentWorld,
    host: str = "127.0.0.1",
    port: int = 0,
    faults: Faults | None = None,
    model: str = MODEL,
    seed: int = 0,
) -> Served:
    """Serve a planner of a world, in a thread, until the handle is closed; port 0 is any that is free.

    A host that others can reach is warned of: there is no key, and everybody may ask. Requests without a seed of their
    own have their luck from `seed` and their number.
    """
    if not 0 <= port < 2**16:
        raise refuse("port", port, "a port from 0 (any that is free) to 65535")
    if not _of_this_machine(host):
        words = f"host: {host or 'every address'} can be reached from other machines, and anybody there may ask: no key"
        warnings.warn(words, Caution, stacklevel=2)
    return Served(Mind(planner, world, seed), host, port, model, faults)


def _of_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# --- the protocol --------------------------------------------------------------------------------------------------


def _card(model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": 0, "owned_by": "gamesim"}


def _as_chat(given: dict[str, Any]) -> dict[str, Any]:
    """A request for a completion as one of a conversation: its prompt from where ours begins."""
    prompt = given.get("prompt")
    if not isinstance(prompt, str):
        raise refuse("prompt", type(prompt).__name__, "a text")
    at = 0 if prompt.startswith(HEAD) else prompt.rfind("\n" + HEAD) + 1
    top = given.get("logprobs")
    more = {} if top is None else {"logprobs": True, "top_logprobs": top}
    return given | {"messages": [{"role": "user", "content": prompt[at:]}]} | more


def _completion(
    form: Any, model: str, number: int, reply: Reply, choices: list[Any], chunk: bool = False
) -> dict[str, Any]:
    name, short = ("chat.completion", "chatcmpl") if form is _chat else ("text_completion", "cmpl")
    name += ".chunk" if chunk and form is _chat else ""
    return {"id": f"{short}-{number}", "object": name, "created": 0, "model": model, "choices": choices}


def _usage(request: Asked, reply: Reply) -> dict[str, int]:
    """In words."""
    total = request.prompt_tokens + reply.tokens
    return {"prompt_tokens": request.prompt_tokens, "completion_tokens": reply.tokens, "total_tokens": total}


def _chat(request: Asked, reply: Reply, text: str, part: str, finish: str | None, logs: bool = True) -> dict[str, Any]:
    """A choice; what may be answered is one token, a letter or a name."""
    found = None
    if request.top_logprobs is not None and logs:
        top = [_token(*each) for each in reply.likely[: request.top_logprobs]]
        found = {"content": [_token(*reply.chosen) | {"top_logprobs": top}], "refusal": None}
    message = {"role": "assistant", "content": text} | ({"refusal": None} if part == "message" else {})
    return {"index": 0, part: message, "logprobs": found, "finish_reason": finish}


def _plain(request: Asked, reply: Reply, text: str, part: str, finish: str | None, logs: bool = True) -> dict[str, Any]:
    found = None
    if request.top_logprobs is not None and logs:
        top, (token, log) = dict(reply.likely[: request.top_logprobs]), reply.chosen
        found = {"tokens": [token], "token_logprobs": [log], "top_logprobs": [top], "text_offset": [0]}
    return {"index": 0, "text": text, "logprobs": found, "finish_reason": finish}


def _token(token: str, log: float) -> dict[str, Any]:
    return {"token": token, "logprob": log, "bytes": list(token.encode())}


def _stream(form: Any, model: str, number: int, request: Asked, reply: Reply, text: str) -> bytes:
    """Server-sent events: a word each, why it ends, and what was used where that is asked for."""
    words = text.split(" ")
    pieces = [word if i == 0 else f" {word}" for i, word in enumerate(words)]
    choices = [[form(request, reply, piece, "delta", None, i == 0)] for i, piece in enumerate(pieces)]
    last = form(request, reply, "", "delta", reply.finish, False)
    chunks = [_completion(form, model, number, reply, each, chunk=True) for each in [*choices, [last]]]
    if request.stream_usage:
        chunks.append(_completion(form, model, number, reply, [], chunk=True) | {"usage": _usage(request, reply)})
    events = [json.dumps(chunk, allow_nan=False) for chunk in chunks]
    return "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()


# --- the wire ------------------------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    served: Served
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "gamesim", ""
    timeout = PATIENCE
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].rstrip("/")
        if path == "/v1/models":
            return self._send(self.served.models())
        if path == f"/v1/models/{self.served.model}":
            return self._send(Answer.of(200, _card(self.served.model)))
        if path in ("", "/health", "/v1"):
            return self._send(Answer.of(200, {"status": "ok"}))
        return self._send(_nowhere(self.path))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        self.close_connection = True  # unless the whole request has been read
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            return self._send(Answer.error(411, "Content-Length: a number of bytes is needed", "invalid_request_error"))
        if int(length) > LARGEST:
            words = f"request: got {length} bytes, expected at most {LARGEST}"
            return self._send(Answer.error(413, words, "invalid_request_error"))
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return None
        self.close_connection = self.headers.get("Connection", "").lower() == "close"
        path = self.path.partition("?")[0].rstrip("/")
        if path not in ("/v1/chat/completions", "/v1/completions"):
            return self._send(_nowhere(self.path))
        with self.served.room:
            try:
                answer = self.served.completed(body, chat=path.endswith("chat/completions"))
            except Exception as error:  # a defect of ours is an answer, too: who asks must not hang
                answer = Answer.error(500, f"{type(error).__name__}: {error}", "server_error")
        return self._send(answer)

    def _send(self, answer: Answer) -> None:
        if answer.wait and self._alone(answer.wait):
            return
        if answer.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        if answer.missing or answer.pace:
            self.close_connection = True
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.type)
        self.send_header("Content-Length", str(len(answer.body) + answer.missing))
        for name, value in answer.headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        try:
            self.end_headers()
            piece = 16 if answer.pace else max(1, len(answer.body))
            for i in range(0, len(answer.body), piece):
                if answer.pace and self._alone(answer.pace):
                    return
                self.wfile.write(answer.body[i : i + piece])
        except OSError:  # the client went away
            self.close_connection = True

    def _alone(self, seconds: float) -> bool:
        """Wait; whether the client or the server has gone meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.served.closing.is_set() or select.select([self.connection], [], [], min(left, 0.05))[0]:
                self.close_connection = True
                return True
        return False

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the HTTP of a request is wrong in, in the form of the protocol."""
        self.close_connection = True
        self._send(Answer.error(code, message or "not to be read", "invalid_request_error"))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is written: prompts are nobody's business."""


def _nowhere(path: str) -> Answer:
    words = f"{path[:100]!r} is not served; there is /v1/models, /v1/chat/completions and /v1/completions"
    return Answer.error(404, words, "invalid_request_error")

"""What once broke the path to a language model: servers that never end, texts that nobody can send, stopped runs."""

import io
import json
import os
import socket
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gamesim import cli
from gamesim.algorithms.bail import BAIL
from gamesim.cli import llm as _llm  # noqa: F401
from gamesim.envs.latent.needle import Needle
from gamesim.errors import Caution, InvalidInput
from gamesim.loop import solve
from gamesim.planning.language.addresses import Key, require_address
from gamesim.planning.language.budget import Account, Budget
from gamesim.planning.language.calls import Asker, Persistence, Question, tally
from gamesim.planning.language.endpoint import RETRIED, Answer, Endpoint, shown
from gamesim.planning.language.model import LanguageModel
from gamesim.planning.language.replay import usage
from gamesim.planning.language.text import checked
from gamesim.planning.language.transcripts import Line, Place, Transcript, hash_of, read_transcript

WORLD = Needle(boxes=4)
KEY = "sk-canary/0123456789+abc\\def"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
LOCAL = "http://127.0.0.1:1/v1"
Act = Callable[[socket.socket], None]


@contextmanager
def answering(act: Act) -> Iterator[tuple[str, list[bytes]]]:
    """A server that does as it likes once a request is there: its address, and what it was sent."""
    listening, sent = socket.create_server(("127.0.0.1", 0)), list[bytes]()

    def one(client: socket.socket) -> None:
        with client:
            try:
                sent.append(client.recv(2**16))
                act(client)
            except OSError:  # the client went away
                pass

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1", sent
        listening.shutdown(socket.SHUT_RDWR)


def drip(client: socket.socket, first: bytes, again: bytes) -> None:
    client.sendall(first)
    for _ in range(100):
        client.sendall(again)
        time.sleep(0.05)


def flood(client: socket.socket) -> None:
    while True:
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


ENDLESS: dict[str, tuple[Act, str]] = {
    "headers": (lambda c: drip(c, b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"), "timeout"),
    "hints": (lambda c: drip(c, b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), "timeout"),
    "chunk": (lambda c: drip(c, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"a"), "timeout"),
    "interim": (flood, "too-large"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_ends_is_ended(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    act, status = ENDLESS[name]
    with answering(act) as (address, _):
        endpoint = Endpoint(address, timeout=0.3 if status == "timeout" else 20.0)
        assert endpoint.ask(ASKED).status == status
        endpoint.close()


def test_closing_ends_a_request_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    there = threading.Event()

    def wait(client: socket.socket) -> None:
        there.set()
        client.recv(1)

    with answering(wait) as (address, _):
        endpoint, found = Endpoint(address, timeout=600.0), list[Answer]()
        thread = threading.Thread(target=lambda: found.append(endpoint.ask(ASKED)), daemon=True)
        thread.start()
        there.wait(20)
        endpoint.close()
        thread.join(20)
    assert len(found) == 1
    assert found[0].status in RETRIED


def carried(handle: Callable[[Any], Any]) -> Endpoint:
    """An endpoint whose requests go to a function."""
    import httpx2

    return Endpoint(LOCAL, timeout=20.0, transport=httpx2.MockTransport(handle))


def test_nothing_of_the_environment_is_sent_but_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    import httpx2

    seen = list[dict[str, str]]()

    def handle(request: Any) -> Any:
        seen.append(dict(request.headers))
        return httpx2.Response(200, json={"choices": []}, headers={"Set-Cookie": "who=you; Path=/"})

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-mine")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: mine\nAuthorization: Bearer another")
    endpoint = carried(handle)
    for _ in range(2):
        assert endpoint.ask(ASKED).status == "broken"
    endpoint.close()
    for headers in seen:
        assert headers["authorization"] == f"Bearer {KEY}"
        assert headers["accept-encoding"] == "identity"
        assert "mine" not in str(headers)
        assert "cookie" not in headers
        assert not any(name.startswith("x-") for name in headers)


@pytest.mark.parametrize("charset", ["zlib_codec", "idna", "punycode", "rot13"])
def test_character_sets_unpack_nothing(charset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    import httpx2

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    body, headers = zlib.compress(b"x" * 10**6), {"content-type": f"text/html; charset={charset}"}
    endpoint = carried(lambda request: httpx2.Response(400, content=body, headers=headers))
    answer = endpoint.ask(ASKED)
    endpoint.close()
    assert (answer.status, answer.http) == ("rejected", 400)
    assert "xxx" not in (answer.error or "")


def test_terminals_are_given_no_control_characters(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    pytest.importorskip("openai")
    import httpx2

    def handle(request: Any) -> Any:
        if request.method == "GET":
            return httpx2.Response(200, json={"data": [{"id": "red\x1b[31m"}, {"id": "b"}, {"id": "c\u202e"}]})
        return httpx2.Response(400, json={"error": {"message": "\x1b]0;title\x07 no\x9b2J\u202e"}})

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    endpoint = carried(handle)
    assert endpoint.models() == ["b"]
    assert endpoint.ask(ASKED).error == "HTTP 400: \ufffd]0;title\ufffd no\ufffd2J\ufffd"
    endpoint.close()
    assert shown("a\n\tb\u2028c") == "a b c"


def test_keys_are_struck_out_however_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    key = Key("OPENAI_API_KEY", LOCAL)
    quoted = "sk-canary%2F0123456789%2Babc%5Cdef"
    for form in (KEY, json.dumps(KEY), repr(KEY.encode()), quoted, KEY.replace("/", "\\/")):
        assert "canary" not in key.struck(f"it is {form}.")


@pytest.mark.parametrize(
    "url",
    ["https://[::::]/v1", "https://[1.2.3.4]", "https://a..b", "https://.", f"https://{'a' * 64}.com",
     f"https://{'a.' * 130}com", "http://127.0.0.1:\uff11\uff12/v1"],
    ids=range(7),
)  # fmt: skip
def test_addresses_of_no_machine_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="base_url"):
        require_address(url)


# --- what is said ---------------------------------------------------------------------------------------------------


def test_a_reply_that_nobody_can_send_is_asked_again_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("openai")
    import httpx2

    received = list[int]()

    def handle(request: Any) -> Any:
        if request.method == "GET":
            return httpx2.Response(200, json={"data": [{"id": "m"}]})
        received.append(1)
        return httpx2.Response(200, content=b'{"choices": [{"message": {"content": "\\ud800 \\u0000 hm"}}]}')

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(LanguageModel, "transport", httpx2.MockTransport(handle))
    planner = LanguageModel(base_url=LOCAL, backoff=0.0, transcript=str(tmp_path / "t.jsonl"))
    solve(WORLD, BAIL(planner=planner), iterations=2, seeds=2, every=2)
    assert planner.account.statuses == {"ok": 12}
    assert len(received) == planner.account.calls == 12
    again = usage(tmp_path / "t.jsonl")
    assert again["prompt_tokens"] == planner.account.prompt_tokens


@pytest.mark.parametrize(
    "name", ["a\x0bb", "a\x1eb", "a\x85b", "a\x00b", "a\x1b[31mb", "a\ud800b", "a\tb"], ids=range(7)
)
def test_names_that_cut_a_line_or_rule_a_terminal_are_refused(name: str) -> None:
    world: Any = SimpleNamespace(tasks=("t",), subgoals=(name, "z"), observations=("o",))
    with pytest.raises(InvalidInput, match="names of one line"):
        checked(world)
    world.subgoals = ("日本 語", "a\xa0b", "a\u2028b", "Subgoal: z")
    assert checked(world)["subgoals"] == world.subgoals


# --- transcripts ----------------------------------------------------------------------------------------------------


class Fake:
    """An endpoint of this process; what it counts is not what anybody would guess."""

    address = LOCAL

    def __init__(self, reply: Callable[[dict[str, Any]], Answer]) -> None:
        self.reply, self.closed = reply, False

    def models(self) -> list[str]:
        return ["m"]

    def ask(self, request: dict[str, Any]) -> Answer:
        return self.reply(request)

    def close(self) -> None:
        self.closed = True


def place(run: int) -> Place:
    return Place(run, 0, 0, 0)


def test_a_run_that_was_killed_while_it_was_refused_is_refused_the_same(tmp_path: Path) -> None:
    """What a budget refuses does not depend on how much of a round was written down before."""
    questions = [Question(place(run), "x" * length) for run, length in enumerate((40, 4000, 40, 40))]

    def calls(path: Path) -> list[int]:
        account, persistence = Account(Budget(tokens=200)), Persistence()
        transcript = Transcript(path, {"world": 1})
        tally(transcript.recorded, lambda answer: answer.text, persistence, account)
        fake: Any = Fake(lambda request: Answer("ok", "x", (), 1, 1))
        asker = Asker(fake, transcript, account, {"max_tokens": 1}, "s", "again", persistence)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Caution)
            asker.ask(questions, lambda answer: answer.text)
        transcript.close()
        assert (account.calls, account.refused, account.decisions) == (1, 3, 4)
        return [place.run for place, line in sorted(read_transcript(path).lines.items()) if line.answer is not None]

    assert calls(tmp_path / "whole.jsonl") == [0]
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    for cut in range(1, len(lines) + 1):
        (tmp_path / "cut.jsonl").write_bytes(b"".join(lines[:cut]))
        assert calls(tmp_path / "cut.jsonl") == [0]


def test_half_a_line_on_a_full_disk_is_taken_back(tmp_path: Path) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            super().write(bytes(data)[:10])
            raise OSError(28, "No space left on device")

    path = tmp_path / "t.jsonl"
    made = Transcript(path, {"world": 1})
    made.keep(place(0), "p", Line(hash_of("p"), Answer("ok", "x")))
    before, file = path.read_bytes(), made._file
    made._file = Full(os.dup(file.fileno()), "ab")
    with pytest.raises(OSError, match="No space"):
        made.keep(place(1), "p", Line(hash_of("p"), Answer("ok", "y")))
    made.close()
    assert path.read_bytes() == before
    made._file = file  # there is room again
    made.keep(place(2), "p", Line(hash_of("p"), Answer("ok", "z")))
    made.close()
    assert sorted(read_transcript(path).lines) == [place(0), place(2)]


@pytest.mark.parametrize(
    "edit",
    [{"seconds": "x"}, {"seconds": float("nan")}, {"prompt_tokens": 10**400}, {"reply_tokens": -1},
     {"status": "\x1b[31m"}, {"prompt": []}, {"error": 1}, {"reply": 1}, {"run": 0}],
    ids=range(9),
)  # fmt: skip
def test_answers_that_were_edited_are_refused_by_their_line(edit: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    made = Transcript(path, {"world": 1})
    for run in range(2):
        made.keep(place(run), "p", Line(hash_of("p"), Answer("ok", "x", (), 1, 1)))
    made.close()
    lines = path.read_text().splitlines()
    lines[-1] = json.dumps(json.loads(lines[-1]) | edit)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InvalidInput, match=r"t\.jsonl:4: no line of a transcript .*name another file"):
        read_transcript(path)


def test_a_pipe_is_no_transcript(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.jsonl"
    os.mkfifo(path)
    with pytest.raises(InvalidInput, match="a file, no link"):
        Transcript(path, {})
    assert cli.main(["llm", "usage", str(path)]) == 2
    assert "expected a file" in capsys.readouterr().err


def test_who_breaks_off_waits_for_nobody_and_keeps_what_came(tmp_path: Path) -> None:
    """A second Ctrl-C: what came is kept, what was cut short is not, and is asked another time."""
    path, stopped = tmp_path / "t.jsonl", threading.Event()

    def reply(request: dict[str, Any]) -> Answer:
        if "p0" in request["messages"][1]["content"]:
            raise KeyboardInterrupt
        stopped.wait(20)
        return Answer("ok", "came") if "p1" in request["messages"][1]["content"] else Answer("timeout")

    class Closing(Fake):
        def close(self) -> None:
            stopped.set()

    asker = Asker(Closing(reply), Transcript(path, {"world": 1}), Account(), {"max_tokens": 1}, "s", "again")  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        asker.ask([Question(place(run), f"p{run}") for run in range(3)], lambda answer: answer.text)
    asker.transcript.close()
    assert sorted(read_transcript(path).lines) == [place(1)]

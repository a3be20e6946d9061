"""A process that has collected the tests once, and forks for every mutant: a mutant costs what its tests cost.

A mistake within a function is put in place by giving the function the mutated code; one in what runs on import takes
a process that has imported nothing of gamesim yet. A fork runs the tests that went through the statement, the
quickest first, until one fails; one that takes far longer than those tests did is stopped, and counts as killed.
"""

import gc
import importlib
import importlib.machinery
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from mutation.mutating import Mutant, mutated

KILLED, SURVIVED, TIMEOUT, UNREACHED, CRASHED = "killed", "survived", "timeout", "unreached", "crashed"
ELSEWHERE = 72  # an exit status
ARGUMENTS = ("-q", "--no-header", "--no-summary", "--capture=sys", "-p", "no:xdist", "-p", "no:unraisableexception")
ARGUMENTS += ("-W", "ignore::pytest.PytestAssertRewriteWarning")
MOST = 8.0
"""Seconds of tests for one mutant, at most: the quickest of those that reach it."""


@dataclass
class Test:
    """What the suite did without a mistake: how long a test took, and which lines of the module it went through."""

    id: str
    seconds: float
    lines: set[int] = field(default_factory=set)


def forked(work: Callable[[], int], cpu: float | None = None) -> int | None:
    """The exit status of work() in a process of its own; None if it was stopped for its time."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.setpgid(0, 0)
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 1)
            if "GAMESIM_MUTANTS_SHOWN" not in os.environ:
                os.dup2(nothing, 2)
            if cpu is not None:
                resource.setrlimit(resource.RLIMIT_CPU, (int(cpu) + 1, int(cpu) + 2))
            status = work()
        except BaseException:  # whatever a mutant raises, the fork ends here
            status = 71
            traceback.print_exc()
        finally:
            os._exit(status)
    end = None if cpu is None else time.monotonic() + 6 * cpu + 30
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)  # what the tests left running
            if os.WIFSIGNALED(status):
                late = os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
                return None if late else 128 + os.WTERMSIG(status)
            return os.WEXITSTATUS(status)
        if end is not None and time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.005)


def outcome(status: int | None) -> str:
    if status is None:
        return TIMEOUT
    return {0: SURVIVED, 1: KILLED}.get(status, CRASHED)


class Server:
    """A pytest plugin: in place of running the tests it measures them, then tries the mutants within functions."""

    def __init__(self, path: Path, mutants: Sequence[Mutant], report: Callable[[Mutant, str, str], None]) -> None:
        self.path, self.mutants, self.report = path, mutants, report
        self.source = path.read_text()
        self.tests: list[Test] = []
        self.dropped: list[str] = []
        self.elsewhere: list[Mutant] = []
        """Functions that cannot be given other code, or are not there under their name."""
        self.failed = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        if session.testsfailed:
            raise session.Interrupted("a test file cannot be collected")
        self.items = {item.nodeid: item for item in session.items}
        self.tests, self.dropped = self.measured()
        functions = self.functions()
        gc.collect()
        gc.freeze()
        killers: list[str] = []  # the last one first: neighbours tend to die of the same test
        for mutant in self.mutants:
            chosen = reaching(self.tests, mutant, killers)
            if not chosen:
                self.report(mutant, UNREACHED, "")
                continue
            with tempfile.TemporaryDirectory() as folder:
                note = Path(folder, "killer")
                status = forked(lambda m=mutant, c=chosen, n=note: self.tried(m, c, functions, n), allowed(chosen))
                if status == ELSEWHERE:
                    self.elsewhere.append(mutant)
                else:
                    killer = note.read_text() if note.exists() else ""
                    killers = [killer, *(k for k in killers if k != killer)][:5] if killer else killers
                    self.report(mutant, outcome(status), killer)
        return True

    def run(self, ids: Sequence[str], each: Callable[[str, float, bool], bool]) -> None:
        """The tests in order, until `each` says no."""
        items = [self.items[i] for i in ids]
        for item, after in zip(items, [*items[1:], None], strict=False):
            self.failed, began = "", time.process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if not each(item.nodeid, time.process_time() - began, bool(self.failed)):
                return

    def tried(self, mutant: Mutant, ids: Sequence[str], functions: dict[str, list[FunctionType]], note: Path) -> int:
        gc.disable()
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(note.parent)
        name, found = mutant.function, False
        for code in codes(mutated(self.source, mutant, str(self.path))):
            for function in functions.get(name, []):
                if code.co_qualname == name and code.co_firstlineno == function.__code__.co_firstlineno:
                    if code.co_freevars != function.__code__.co_freevars:  # `super()` is gone, say
                        return ELSEWHERE
                    function.__code__ = code
                    found = True
        if not found:
            return ELSEWHERE

        def each(nodeid: str, seconds: float, failed: bool) -> bool:
            if failed:
                note.write_text(nodeid)
            return not failed

        self.run(ids, each)
        return int(note.exists())

    def functions(self) -> dict[str, list[FunctionType]]:
        """The live functions of the module, by qualified name."""
        found = dict[str, list[FunctionType]]()
        for x in gc.get_objects():
            if type(x) is FunctionType and os.path.realpath(x.__code__.co_filename) == str(self.path):
                found.setdefault(x.__code__.co_qualname, []).append(x)
        return found

    def measured(self) -> tuple[list[Test], list[str]]:
        with tempfile.TemporaryDirectory() as folder:
            found = Path(folder, "tests")
            forked(lambda: self.measure(found))
            rows = [json.loads(line) for line in found.read_text().splitlines()]
        if len(rows) != len(self.items):
            raise RuntimeError(f"{self.path.name}: the tests stopped after {len(rows)} of {len(self.items)}")
        good = [Test(row["id"], row["seconds"], set(row["lines"])) for row in rows if not row["failed"]]
        return good, [row["id"] for row in rows if row["failed"]]

    def measure(self, found: Path) -> int:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(found.parent)
        lines, known = set[int](), dict[str, bool]()

        def here(frame: Any, event: str, argument: Any) -> Any:
            name = frame.f_code.co_filename
            if name not in known:
                known[name] = os.path.realpath(name) == str(self.path)
            if not known[name]:
                return None
            lines.add(frame.f_lineno)
            return here

        with found.open("w") as f:

            def each(nodeid: str, seconds: float, failed: bool) -> bool:
                f.write(json.dumps({"id": nodeid, "seconds": seconds, "failed": failed, "lines": sorted(lines)}) + "\n")
                f.flush()
                lines.clear()
                sys.settrace(here)
                return True

            sys.settrace(here)
            self.run(list(self.items), each)
            sys.settrace(None)
        return 0


def codes(code: CodeType) -> list[CodeType]:
    """A module's code and all that is nested in it."""
    return [code, *(x for c in code.co_consts if isinstance(c, CodeType) for x in codes(c))]


def reaching(tests: Sequence[Test], mutant: Mutant, killers: Sequence[str] = ()) -> list[str]:
    """The tests that go through a statement, killers and then the quickest first, as many as there is time for."""
    first, last = mutant.lines
    found, spent = list[str](), 0.0
    place = {name: i for i, name in enumerate(killers)}
    for test in sorted(tests, key=lambda test: (place.get(test.id, 5) if test.seconds < 1 else 5, test.seconds)):
        if not mutant.function or any(first <= line <= last for line in test.lines):
            spent += test.seconds
            if found and spent > MOST:
                break
            found.append(test.id)
    allowances[tuple(found)] = min(spent, MOST)
    return found


allowances: dict[tuple[str, ...], float] = {}


def allowed(ids: Sequence[str]) -> float:
    """Seconds of processor time for a mutant: well above what its tests took."""
    return 10 + 4 * allowances[tuple(ids)]


def quiet_hypothesis() -> None:
    """Property tests that draw the same examples for every mutant, keep none, and look for no smaller ones."""
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")


def inside(path: Path, mutants: Sequence[Mutant], files: Sequence[str], report: Any) -> Server:
    """Try the mutants within functions."""
    quiet_hypothesis()
    server = Server(path, mutants, report)
    status = pytest.main([*ARGUMENTS, *files], plugins=[server])
    if status not in (0, 5):
        raise RuntimeError(f"{path.name}: pytest ends with {status}")
    if status == 5:  # there are no tests
        for mutant in mutants:
            report(mutant, UNREACHED, "")
    return server


def on_import(path: Path, mutant: Mutant, tests: Sequence[Test]) -> tuple[str, str]:
    """Try a mutant of what runs on import, in a process that imports everything anew."""
    ids = reaching(tests, mutant)

    def work() -> int:
        quiet_hypothesis()
        os.environ["PYTEST_DEBUG_TEMPROOT"] = folder
        source, original = path.read_text(), importlib.machinery.SourceFileLoader.get_code

        def get_code(self: Any, fullname: str) -> Any:
            if os.path.realpath(self.path) == str(path):
                return mutated(source, mutant, self.path)
            return original(self, fullname)

        importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
        parts = Path(mutant.file).with_suffix("").parts  # before pytest, which loads files that it is given by itself
        importlib.import_module(".".join(parts if parts[0] == "gamesim" else ("gamesim", *parts)))
        return 0 if pytest.main([*ARGUMENTS, "-x", *ids]) == 0 else 1

    with tempfile.TemporaryDirectory() as folder:
        return outcome(forked(work, 20 + allowed(ids))), ""

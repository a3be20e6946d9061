"""A folder in which command lines are tried, in this process or in one of their own, and what they left there."""

import contextlib
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import gamesim
from gamesim.benchmarks.fuzzing import trials
from gamesim.benchmarks.fuzzing.trials import Outcome, TimeUp, judge, place, short, timed
from gamesim.catalog import load

PROGRAM = (sys.executable, "-m", "gamesim")
STARTING = 5.0  # seconds of CPU time more for a process, which imports everything first
WHOLE = ("trace.csv", "summary.json", "DONE")
"""What stands beside the config.json of a run that has ended well."""


class Sandbox:
    """A folder with files in it, in which commands run; it is as it was before each of them."""

    def __init__(self, pristine: Path, folder: Path) -> None:
        self.pristine, self.folder = pristine, folder
        self._restore()

    def _restore(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.pristine, self.folder, symlinks=True)
        self._state, self._put = self._look(), False

    def _look(self) -> dict[str, tuple[int, int]]:
        found = dict[str, tuple[int, int]]()
        for path in self.folder.rglob("*"):
            about = path.lstat()
            found[str(path.relative_to(self.folder))] = (
                about.st_size * path.is_file(),
                about.st_mtime_ns * path.is_file(),
            )
        return found

    def put(self, name: str, data: bytes) -> None:
        """Another text for a file of the folder, until the next command is done."""
        (self.folder / name).write_bytes(data)
        self.look()

    def look(self) -> None:
        """Take the folder as it now is for what the next command finds; after that it is as it was at first."""
        self._state, self._put = self._look(), True

    def command(self, arguments: Sequence[str]) -> Outcome:
        """Run a command line in the folder, in this process."""
        return self._left(timed(lambda: self._judged(arguments)))

    def process(self, arguments: Sequence[str]) -> Outcome:
        """Run a command line in the folder, in a process of its own that has bounded memory and time."""
        return self._left(timed(lambda: self._started(arguments)))

    def _left(self, outcome: Outcome) -> Outcome:
        """The outcome, and what was left behind beside it; the folder is as it was at first."""
        now, before, put = self._look(), self._state, self._put
        changed = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
        spares = [name for name in changed if name in now and _spare(name)]
        parts = [name for name in changed if name in now and self._half(name)]
        if changed or put:
            self._restore()
        if outcome.verdict == "refused" and changed:
            return Outcome("defect", f"refused, but it left {', '.join(changed[:4])} behind ({outcome.words})")
        if outcome.verdict in ("succeeded", "stopped") and spares:
            return Outcome("defect", f"it left {spares[0]} behind")
        if outcome.verdict == "succeeded" and parts:
            return Outcome("defect", f"it left {parts[0]} of a run that is not whole behind")
        return outcome

    def _half(self, name: str) -> bool:
        """Whether this is the config.json of a run without the rest of it."""
        path = self.folder / name
        return path.name == "config.json" and not all((path.parent / each).exists() for each in WHOLE)

    def _judged(self, arguments: Sequence[str]) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        kept = list(sys.path), Path.cwd(), sys.argv
        sys.argv = ["gamesim", *arguments]
        os.chdir(self.folder)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = load("gamesim.cli:main")(list(arguments))
        except (Exception, SystemExit) as error:  # that is what is looked for
            return Outcome("defect", f"{type(error).__name__}: {short(error)} {place()}")
        finally:
            sys.path[:], sys.argv = kept[0], kept[2]
            os.chdir(kept[1])
        return judge(code, out.getvalue(), err.getvalue(), "--json" in arguments)

    def _started(self, arguments: Sequence[str]) -> Outcome:
        bound = resource.getrlimit(resource.RLIMIT_AS)[0]
        memory = trials.GIGABYTES * 1e9 if bound == resource.RLIM_INFINITY else min(trials.GIGABYTES * 1e9, bound)
        seconds = trials.CPU_SECONDS + STARTING
        bounds = f'ulimit -c 0; ulimit -S -t {seconds:.0f} && ulimit -S -v {memory / 1024:.0f} && exec "$@"'
        paths = [str(Path(gamesim.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        started = subprocess.Popen(
            ["sh", "-c", bounds, "sh", *PROGRAM, *map(os.fsencode, arguments)],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
        )
        with started:
            try:
                out, err = map(os.fsdecode, started.communicate())
            except BaseException:  # time is up for it and for whatever it began
                os.killpg(started.pid, signal.SIGKILL)
                raise
        if started.returncode == -signal.SIGXCPU:
            raise TimeUp(f"{seconds:g} s of CPU time")
        return judge(started.returncode, out, err, "--json" in arguments)


def _spare(name: str) -> bool:
    """Whether a file is one that is written before it takes its name."""
    return name.endswith(".tmp") or Path(name).name.startswith(".tmp")

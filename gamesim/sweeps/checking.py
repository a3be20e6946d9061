"""What is refused before a sweep starts: too many runs, a run twice, and what cannot be built or does not fit."""

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

from gamesim import catalog
from gamesim.errors import Caution, InvalidInput, refuse
from gamesim.loop import require_fit
from gamesim.sweeps.axes import MOST
from gamesim.sweeps.plans import Block, Planned
from gamesim.sweeps.work import built_game, built_solver


def require_few(block: Block, lengths: Sequence[int]) -> None:
    """Refuse a block of more runs than a sweep may have; lengths: of what is crossed with games, solvers and seeds."""
    total = len(block.games) * len(block.solvers) * block.settings.seeds
    for n in lengths:
        total *= n
    if total > MOST:
        raise refuse(block.where, f"{total:,} runs", f"at most {MOST:,}: fewer values or seeds, or a random design")


def require_once(runs: Sequence[Planned]) -> None:
    """Refuse a run that stands twice."""
    seen = dict[Any, str]()
    for run in runs:
        key = run.command
        if key in seen:
            raise refuse("runs", run.command, f"each run once; it stands twice, as {seen[key]} and {run.name}")
        seen[key] = run.name


def require_buildable(groups: Sequence[Sequence[Planned]], allow: Sequence[str]) -> None:
    """Build every game and every solver once, and see that they fit: what is wrong is said before anything runs."""
    games, solvers, pairs = dict[Any, Any](), dict[Any, Any](), set[Any]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        for run in itertools.chain.from_iterable(groups):
            g, s = (run.game, run.settings.device, *run.g.items()), (run.solver, *run.s.items())
            try:
                if g not in games:
                    if len(games) > 8:  # they may be large
                        games.clear()
                    require_allowed("game", run.game, allow)
                    games[g] = built_game(run)
                if s not in solvers:
                    require_allowed("solver", run.solver, allow)
                    solvers[s] = built_solver(run)
                if (g, s) not in pairs:
                    require_fit(games[g], solvers[s])
                    pairs.add((g, s))
            except InvalidInput as error:
                raise type(error)(f"runs: {run.game} {run.solver} {_words(run)}: {error}") from None


def _words(run: Planned) -> str:
    return " ".join(f"-{k[0]} {k[2:]}={v}" for k, v in run.varied.items()) or "(no parameters)"


def require_allowed(what: str, name: str, allow: Sequence[str]) -> None:
    """A file may name ids of the catalogue; a class of the user's only where the command line allows it."""
    if ":" in name and name not in catalog.entries(f"{what}s") and name not in allow:
        raise refuse(what, name, f"an id of `gamesim list {what}s`, or --allow {name} on the command line: "
                     "a file of settings imports nothing by itself")  # fmt: skip

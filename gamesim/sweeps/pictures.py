"""Pictures of a sweep's table: every game together, or a folder for each."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gamesim.comparison import Table, draw_table, read_table
from gamesim.comparison.samples import MOST
from gamesim.errors import Caution, InvalidInput
from gamesim.files import own_folder
from gamesim.traces import about


def figures_of(root: Path) -> list[str]:
    """Pictures of the table: of all games together, or, where no solver ran on all of them, of each game."""
    table, found = read_table(root), list[Path]()
    try:
        found = _drawn(table, root / "figures")
    except InvalidInput as whole:
        games = list(dict.fromkeys(run.cells["game"] for run in table.runs))
        for game in games if len(games) > 1 else ():
            part = replace(table, runs=tuple(run for run in table.runs if run.cells["game"] == game))
            folder = own_folder(root / "figures") / folder_name(game, games)
            try:
                found += _drawn(part, folder)
            except InvalidInput as error:
                warnings.warn(f"no figures of {game}: {error}", Caution, stacklevel=2)
        if len(games) == 1:
            warnings.warn(f"no figures: {whole}", Caution, stacklevel=2)
    return [str(path) for path in found if path.suffix == ".png"]


def _drawn(table: Table, folder: Path) -> list[Path]:
    return draw_table(table, out=folder, metric=about(table.metrics) if table.metrics else None, pool=_pooled(table))


def _pooled(table: Table) -> tuple[str, ...]:
    """Parameters of which there are more settings than pictures have room for: then these count as seeds do."""
    names = [name for name in table.columns if name.startswith("s.") and len(table.cells(name)) > 1]
    groups = {tuple(run.cells.get(name, "") for name in ("solver", *names)) for run in table.runs}
    return tuple(names) if len(groups) > MOST else ()


def folder_name(game: str, games: Sequence[str] = ()) -> str:
    """A game as the name of a folder; of a file without its folders, and with its place where two would be the same.

    >>> folder_name("matrix/shapley"), folder_name("../my games/a b.nfg")
    ('matrix-shapley', 'a-b.nfg')
    >>> folder_name("2/a.nfg", ["1/a.nfg", "2/a.nfg"])
    'a.nfg-1'
    """

    def plainly(name: str) -> str:
        last = Path(name).name if "." in name else name
        return re.sub(r"[^A-Za-z0-9._-]+", "-", last)[-80:].lstrip("-._") or "game"

    found = [plainly(other) for other in games]
    return f"{plainly(game)}-{list(games).index(game)}" if found.count(plainly(game)) > 1 else plainly(game)

"""Equilibria of normal-form and stochastic games: list them, and name them to other commands."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gamesim.cli import shell
from gamesim.cli.shell import GAME_OPTIONS, JSON, THREADS, cli, game_named, pairs, print_json
from gamesim.errors import refuse

SHOWN = 24
"""Rows of a table on a terminal, at most."""
MANY, WIDE = 4, 60
"""Players, and letters of a profile, up to which each player has a column."""


@cli.command(short_help="Equilibria of GAME: pure, mixed, correlated.")
@click.argument("game", metavar="FILE|GAME")
@GAME_OPTIONS
@click.option(
    "--figure", type=click.Path(path_type=Path), help="Draw a small game and its equilibria here (.png, .pdf, .svg)."
)
@click.option(
    "--logit", is_flag=True, help="Follow the logit quantal response equilibria, too, to the one they lead to."
)
@THREADS
@JSON
def equilibria(
    game: str, game_options: tuple[str, ...], figure: Path | None, logit: bool, threads: int, as_json: bool
) -> None:
    """All that is known of a game's equilibria: pure ones and their strictness, mixed ones, the value, correlated ones.

    Of two players all extreme equilibria are listed, in exact arithmetic; of more players what a search finds. Indices
    count from 0 in the order of the file.

    \b
    gamesim equilibria matrix/battle-of-the-sexes
    gamesim equilibria path/to/game.nfg --figure game.png
    gamesim equilibria matrix/zero-sum -g action_count=4 -g seed=3 --json
    gamesim equilibria stochastic/soccer                 stationary: all pure ones of small games, one in any case
    """
    played = build_game(game, game_options, threads)
    from gamesim.games import TabularGame

    if isinstance(played, TabularGame):
        return _of_states(game, played, figure, logit, as_json)
    if figure is not None:
        from gamesim.figures import require_figure

        require_figure(figure)
    from gamesim.equilibria.listing import find_equilibria
    from gamesim.progress import announced

    with announced("looking for equilibria; a large game takes a while", after=5.0):
        found = find_equilibria(played)
    drawn = None
    if figure is not None:
        from gamesim.figures import draw_game, save_as

        drawn = save_as(draw_game(played, found), figure)
    path = None
    if logit:
        from gamesim.equilibria.listing import payoffs_of
        from gamesim.equilibria.quantal import logit_path

        path = logit_path(payoffs_of(played)[0])
    if as_json:
        more = {} if path is None else {"logit": path.plain()}
        return print_json(found.plain() | more | {"game": game, "figures": [str(drawn)] if drawn else []})
    _print_listing(game, found)
    if path is not None:
        profile, regret = path.limit
        shown = "; ".join(" ".join(_short(float(p)) for p in x) for x in profile)
        click.echo(f"logit        leads to ({shown}) with a regret of {regret:.2g}: {path.message}")
    if drawn:
        click.echo(f"figure  {drawn}")


def _of_states(game: str, played: Any, figure: Path | None, logit: bool, as_json: bool) -> None:
    """Stationary equilibria of a stochastic game."""
    for name, given in (("--figure", figure), ("--logit", logit)):
        if given:
            raise refuse(name, given, f"nothing: {game} is a stochastic game; the option is for normal-form games")
    from gamesim.equilibria.markov_listing import find_markov_equilibria
    from gamesim.progress import announced

    with announced("looking for stationary equilibria; a large game takes a while", after=5.0):
        found = find_markov_equilibria(played)
    if as_json:
        return print_json(found.plain() | {"game": game})
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    if found.pure is not None and len(found.pure):
        table = Table(title=f"{game} · pure stationary equilibria, an action in each state", title_justify="left")
        for heading in (*(f"player {name}" for name in found.players), "strict", "margin"):
            table.add_column(heading)
        for k in range(min(len(found.pure), SHOWN)):
            rows = (" ".join(map(str, row)) for row in found.pure.actions[k].tolist())
            table.add_row(*rows, "yes" if found.pure.strict[k] else "no", _short(found.pure.margin[k]))
        console.print(table)
        if len(found.pure) > SHOWN:
            click.echo(f"{len(found.pure) - SHOWN} more: --json has all")
    table = Table(title=f"{game} · a stationary equilibrium, by {found.found.how}", title_justify="left")
    for heading in ("state", *(f"player {name}" for name in found.players), "values"):
        table.add_column(heading)
    for s, name in enumerate(found.states[:SHOWN]):
        rows = (" ".join(_short(p) for p in x[s].tolist()) for x in found.found.policy)
        table.add_row(name, *rows, ", ".join(map(_short, found.found.values[:, s].tolist())))
    console.print(table)
    if len(found.states) > SHOWN:
        click.echo(f"{len(found.states) - SHOWN} more states: --json has all")
    click.echo(f"payoffs      {', '.join(map(_short, found.found.payoffs.tolist()))} from the initial law")
    click.echo(f"gain         {found.found.gain:.2g}, what the best deviation brings in any state")
    if found.value is not None:
        click.echo(f"value        {found.value:.10g} to player {found.players[0]}")
    click.echo(f"complete     {'yes' if found.complete else 'no'}: {found.message}")


def build_game(game: str, game_options: Sequence[str], threads: int) -> Any:
    kind, given = game_named(game, pairs("-g", game_options))
    shell.limit_threads(threads)
    from gamesim.parameters import build

    return build(kind, given, what=game)


def _print_listing(game: str, found: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    if found.pure:
        table = Table(title=f"{game} · pure equilibria", title_justify="left")
        for heading in ("profile", "actions", "strict", "margin"):
            table.add_column(heading)
        for e in found.pure[:SHOWN]:
            names = ", ".join(found.actions[i][a] for i, a in enumerate(e.profile))
            table.add_row(str(e.profile), names, "yes" if e.strict else "no", _short(e.margin))
        console.print(table)
    if found.equilibria:
        _print_equilibria(console, found)
    for count, what in ((len(found.pure), "pure equilibria"), (len(found.equilibria), "equilibria")):
        if count > SHOWN:
            click.echo(f"{count - SHOWN} more {what}: --json has all")
    if found.value is not None:
        click.echo(f"value        {found.value:.10g} to player {found.players[0]}")
    if found.welfare is not None:
        click.echo(f"correlated   welfare from {found.welfare[0]:.10g} to {found.welfare[1]:.10g}")
    click.echo(f"complete     {'yes' if found.complete else 'no'}: {found.message}")


def _print_equilibria(console: Any, found: Any) -> None:
    """A column for each player while they are few, a line for each equilibrium otherwise."""
    from rich.table import Table

    rows = [
        ([" ".join(_short(p) for p in x) for x in e.profile], ", ".join(map(_short, e.payoffs)), float(e.max_regret))
        for e in found.equilibria[:SHOWN]
    ]
    if max(len("  ".join(profile)) for profile, _, _ in rows) > WIDE or len(found.players) > MANY:
        click.echo("equilibria, player by player")
        for profile, payoffs, regret in rows:
            click.echo(f"  {'; '.join(profile)}\n      payoffs {payoffs}; regret {regret:.2g}")
        return
    table = Table(title="equilibria", title_justify="left")
    for heading in (*(f"player {name}" for name in found.players), "payoffs", "regret"):
        table.add_column(heading)
    for profile, payoffs, regret in rows:
        table.add_row(*profile, payoffs, f"{regret:.2g}")
    console.print(table)


def _short(x: Any) -> str:
    """A fraction while it is short, digits otherwise."""
    text = str(x)
    return text if "/" in text and len(text) <= 9 else f"{float(x):.6g}"


def profiles_named(game: Any, text: str) -> list[Any]:
    """What --equilibrium may say: `all`, actions by number or name, or a JSON list of probabilities per player."""
    if text == "all":
        from gamesim.equilibria.listing import find_equilibria

        found = find_equilibria(game)
        if not found.equilibria:
            raise refuse("equilibrium", "all", f"one that you name: none was found ({found.message})")
        return [tuple(x.tolist() for x in e.probabilities) for e in found.equilibria]
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except (ValueError, RecursionError):
            raise refuse("equilibrium", text, "probabilities such as [[0.5, 0.5], [1, 0]]") from None
        whole = all(isinstance(a, int) and not isinstance(a, bool) for a in rows)
        if not whole and not all(isinstance(r, list) and all(type(p) in (int, float) for p in r) for r in rows):
            raise refuse("equilibrium", text, "probabilities such as [[0.5, 0.5], [1, 0]]")
        return [tuple(rows)]
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != len(game.action_counts):
        raise refuse("equilibrium", text, f"{len(game.action_counts)} actions, numbers from 0 or names, such as 0,1")
    return [tuple(_action(game, i, part) for i, part in enumerate(parts))]


def _action(game: Any, player: int, part: str) -> int:
    names = game.actions[player]
    if part in names and names.count(part) == 1 and not part.isdecimal():
        return int(names.index(part))
    if part.isdecimal() and part.isascii() and int(part) < len(names):
        return int(part)
    raise refuse(f"equilibrium[{player}]", part, f"an action from 0 to {len(names) - 1}, or its name")

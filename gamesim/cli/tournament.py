"""Round robins of planners, learners and automata in a repeated matrix game."""

import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from gamesim.cli import shell
from gamesim.cli.shell import GAME_OPTIONS, JSON, THREADS, cli, game_named, pairs, print_json
from gamesim.errors import refuse, unknown

DATA = (".json", ".csv")
PICTURES = (".png", ".pdf", ".svg")
RECKONED = 0.02
"""Tremble that planners reckon with at least: who is of no type at all must not be impossible."""


@cli.command(short_help="Everyone plays everyone in GAME: a ranking.")
@click.argument("game")
@GAME_OPTIONS
@click.option(
    "--entrant",
    "entrants",
    multiple=True,
    required=True,
    metavar="NAME",
    help="A planner (bail, map), a solver (ftrl, exp3) or an automaton (tit-for-tat, TFT); parameters in parentheses.",
)
@click.option("--type", "types", multiple=True, metavar="NAME", help="An opponent that planners reckon with; repeated.")
@click.option("--rounds", type=click.IntRange(1), default=1000, show_default=True, help="Of each pair.")
@click.option(
    "--match", type=click.IntRange(1), default=10, show_default=True, help="Rounds until automata begin anew."
)
@click.option(
    "--tremble",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="How often an automaton's hand slips.",
)
@click.option("--seeds", type=click.IntRange(1, 10**6), default=32, show_default=True, help="Of everything random.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The first seed.")
@click.option(
    "--out",
    "outs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Write results (.json, .csv) or draw them (.png, .pdf, .svg); may be repeated.",
)
@THREADS
@JSON
def tournament(
    game: str,
    game_options: tuple[str, ...],
    entrants: tuple[str, ...],
    types: tuple[str, ...],
    rounds: int,
    match: int,
    tremble: float,
    seeds: int,
    seed: int,
    outs: tuple[Path, ...],
    threads: int,
    as_json: bool,
) -> None:
    """Everyone plays everyone, and a twin, in GAME: payoffs per round, a ranking, and regrets in hindsight.

    Planners suppose that they face one of the types, by default the usual ones of the game, in matches of so many
    rounds. Solvers learn from every round. Intervals are of 95%, over seeds.

    \b
    gamesim tournament matrix/prisoners-dilemma --entrant bail --entrant map --entrant ftrl --entrant tit-for-tat
    gamesim tournament matrix/rock-paper-scissors --entrant bail --entrant 'exp3(0.05)' --entrant 'always rock'
    gamesim tournament matrix/chicken --entrant 'ftrl(feedback=bandit(0.1))' --entrant equilibrium --out table.png
    """
    kinds = [_require_out(path) for path in outs]
    if math.isnan(tremble):  # no bound of the option stops it
        raise refuse("tremble", tremble, "a probability, between 0 and 1")
    kind, parameters = game_named(game, pairs("-g", game_options))
    shell.limit_threads(threads)
    from gamesim.games import DenseGame, NormalFormGame, tabulate
    from gamesim.parameters import build

    if not issubclass(kind, NormalFormGame):
        raise refuse("game", game, "a normal-form game: its id begins with matrix/")
    built = build(kind, parameters, what=game)
    if len(built.action_counts) != 2 or built.batch:
        raise refuse("game", game, "one game of two players")
    stage = built if isinstance(built, DenseGame) else tabulate(built)
    from gamesim.envs.latent.automata import automaton
    from gamesim.planning.tournament import tournament as hold
    from gamesim.progress import announced

    for name in types:  # refused though nobody reckons with them
        automaton(name, stage)
    taking_part = [_entrant(text, stage, types, match, tremble) for text in entrants]
    with announced("playing; the work grows with the square of the entrants", after=5.0):
        found = hold(stage, taking_part, rounds=rounds, match=match, seeds=seeds, seed=seed)
    data = {"game": game, "tremble": tremble, "types": list(types) or None} | found.plain()
    for path, ending in zip(outs, kinds, strict=True):
        _write(path, ending, data, found, game)
    if as_json:
        return print_json(data | {"out": [str(path) for path in outs]})
    _print_standings(game, data)
    for path in outs:
        click.echo(f"written to {path}")


def _entrant(text: str, game: Any, types: Sequence[str], match: int, tremble: float) -> Any:
    """Whoever is meant: a planner, an automaton of the game, or a solver."""
    from gamesim import catalog
    from gamesim.envs.latent.automata import automata, automaton
    from gamesim.envs.latent.opponents import Opponents
    from gamesim.parameters import convert
    from gamesim.planning import Planner
    from gamesim.planning.learners import Learner
    from gamesim.planning.seats import Machine, Planned

    text = " ".join(text.split())
    name = text.partition("(")[0].strip()
    if name in Planner.kinds:
        named = tuple(types) or None
        world = partial(_supposed, Opponents, types=named, rounds=match, tremble=max(tremble, RECKONED))
        planner: Any = convert(text, Planner, "entrant")
        world(game)  # types that the game does not have are refused before anything is played
        return Planned(text, planner, world)
    machines = {key.lower(): key for key in automata(game)}
    if text.lower() in machines:
        return Machine(machines[text.lower()], partial(automaton, text), tremble)
    solvers = catalog.entries("solvers")
    if name not in solvers and ":" not in name:
        raise unknown("entrant", name, {*Planner.kinds, *machines.values(), *solvers})
    family = type("Solvers", (), {"kinds": {name: catalog.find("solvers", name)}})
    return Learner(text, convert(text, family, "entrant"))


def _supposed(made: Any, game: Any, **parameters: Any) -> Any:
    return made(game=game, **parameters)


def _require_out(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in DATA + PICTURES:
        raise refuse("out", str(path), f"a file that ends in {', '.join(DATA + PICTURES)}")
    if path.is_dir():
        raise refuse("out", str(path), "a file; that is a folder")
    if not path.parent.is_dir():
        raise refuse("out", str(path), f"a file in a folder that exists; {path.parent} does not")
    return ending


def _write(path: Path, ending: str, data: dict[str, Any], found: Any, game: str) -> None:
    from gamesim.files import write_json, write_text

    if ending == ".json":
        write_json(path, data)
    elif ending == ".csv":
        from gamesim.study import table

        rows = [
            {"entrant": found.names[i], "against": found.names[j], "seed": s, "payoff": float(u), "regret": float(r)}
            for i in range(len(found.names))
            for j in range(len(found.names))
            for s, (u, r) in enumerate(zip(found.payoffs[i, j], found.regrets[i, j], strict=True), data["first_seed"])
        ]
        write_text(path, table(rows))
    else:
        from gamesim.figures import save_as
        from gamesim.figures.tournaments import draw_tournament

        save_as(draw_tournament(found, f"{game}, {found.rounds:,} rounds"), path)


def _print_standings(game: str, data: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    ranked = sorted(data["entrants"], key=lambda each: int(each["rank"]))
    order = [data["entrants"].index(each) for each in ranked]
    seeds = f"{data['seeds']} seed{'s' if data['seeds'] > 1 else ''}"
    title = f"{game} · payoff per round, {data['rounds']:,} rounds in matches of {data['match']}, {seeds}"
    table = Table(show_edge=False)
    table.add_column("")
    table.add_column("entrant", no_wrap=True)
    for heading in ("payoff", "regret", *(str(k + 1) for k in range(len(ranked)))):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in ranked:
        cells = [f"{each['against'][j]['mean']:.3g}" for j in order]
        table.add_row(str(each["rank"]), each["name"], _said(each["payoff"]), _said(each["regret"]), *cells)
    click.echo(title)
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120 + 7 * len(order)).print(table)


def _said(x: dict[str, Any]) -> str:
    return f"{x['mean']:.4g}" + ("" if x["half"] is None else f" ± {x['half']:.2g}")

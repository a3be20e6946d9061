"""What there is: list, describe, doctor."""

import inspect
import sys
from typing import Any

import click

from gamesim import catalog
from gamesim.cli.shell import JSON, KINDS, cli, here_on_path, print_json
from gamesim.errors import unknown


@cli.command("list", short_help="List games, solvers and experiments.")
@click.argument("kind", required=False, type=click.Choice(KINDS))
@JSON
def list_command(kind: str | None, as_json: bool) -> None:
    """What there is: games, solvers and experiments, with a line each.

    Example: gamesim list solvers
    """
    kinds = [kind] if kind else list(KINDS)
    rows = [
        {"id": name, "kind": k[:-1], "summary": summary}
        for k in kinds
        for name, (_, summary) in sorted(catalog.entries(k).items())
    ]
    if as_json:
        return print_json(rows)
    width = max((len(row["id"]) for row in rows), default=0)
    for k in kinds:
        if len(kinds) > 1:
            click.echo(f"{k}:")
        for row in rows:
            if row["kind"] == k[:-1]:
                click.echo(f"  {row['id']:<{width}}  {row['summary']}")


@cli.command(short_help="Parameters, equations and source of an ID.")
@click.argument("name", metavar="ID")
@JSON
def describe(name: str, as_json: bool) -> None:
    """Parameters of a game, solver or experiment: types, defaults, meaning; its equations and source.

    Example: gamesim describe graphon/sis
    """
    from gamesim.parameters import describe as parameters_of

    kind, found = _find_any(name)
    rows = sorted(parameters_of(found), key=lambda p: p.name in ("dtype", "device"))  # what is its own comes first
    about = sys.modules[found.__module__].__doc__, found.__doc__
    text = "\n\n".join(inspect.cleandoc(part) for part in about if part and not part.startswith(f"{found.__name__}("))
    summary = catalog.entries(kind).get(name, ("", text.partition("\n")[0]))[1]
    if as_json:
        data = [{"name": p.name, "type": p.type, "default": p.default, "help": p.help} for p in rows]
        return print_json({"id": name, "kind": kind[:-1], "summary": summary, "parameters": data, "source": text})
    click.echo(f"{name}: {summary}\n\n{text}\n")
    if rows:
        flag = {"games": "-g", "solvers": "-s"}.get(kind, "")
        click.echo("Parameters" + (f" ({flag} name=value):" if flag else ":"))
    for p in rows:
        default = "required" if p.default is None else f"default {p.default}"
        click.echo(f"  {p.name}  ({p.type}; {default})\n      {p.help}")


def _find_any(name: str) -> tuple[str, Any]:
    for kind in KINDS:
        if name in catalog.entries(kind):
            return kind, catalog.find(kind, name)
    if ":" in name:
        here_on_path()
        found = catalog.find("games", name)
        return ("solvers" if hasattr(found, "step") and hasattr(found, "init") else "games"), found
    raise unknown("id", name, [n for kind in KINDS for n in catalog.entries(kind)])


@cli.command(short_help="Versions, devices, what is missing, how to mend it.")
@JSON
def doctor(as_json: bool) -> None:
    """Versions, devices, threads, what is missing and the command that would fix it.

    Example: gamesim doctor
    """
    from gamesim.diagnosis import diagnose

    report = diagnose()
    if as_json:
        print_json(report)
    else:
        for name, found in report["versions"].items():
            click.echo(f"  {name:<14} {found or 'missing'}")
        click.echo(f"  {'devices':<14} {', '.join(report['devices']) or 'none'}")
        click.echo(f"  {'processors':<14} {report['processors']}")
        for problem in report["problems"]:
            click.echo(f"  fix: {problem['problem']} -> {problem['fix']}")
        click.echo(
            "everything that gamesim needs is here"
            if report["healthy"]
            else "something is missing; see the lines marked 'fix'"
        )
    raise SystemExit(0 if report["healthy"] else 1)

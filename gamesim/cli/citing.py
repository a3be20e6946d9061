"""What to cite: cite."""

import click

from gamesim import catalog
from gamesim.cli.shell import JSON, KINDS, cli, print_json
from gamesim.errors import unknown


@cli.command(short_help="BibTeX of the papers that a result rests on.")
@click.argument("ids", nargs=-1, metavar="[EXPERIMENT | GAME | SOLVER]...")
@JSON
def cite(ids: tuple[str, ...], as_json: bool) -> None:
    """BibTeX of the papers behind experiments, games and solvers, each once; without an id, of gamesim itself.

    Example: gamesim cite graphon-rate gmfg-ppo graphon/sis > paper.bib
    """
    from gamesim.citations import ITSELF, cited_by, references

    known = {name: kind for kind in KINDS for name in catalog.entries(kind)}
    for name in ids:
        if name not in known:
            raise unknown("id", name, known)
    papers = {name: cited_by(name) for name in ids}
    entries = {paper.key: paper for found in papers.values() for paper in found}
    if not ids:
        entries = {ITSELF: references()[ITSELF]}
    if as_json:
        shown = [{"key": entry.key, "form": entry.form, "fields": entry.fields} for entry in entries.values()]
        cited = [{"id": n, "kind": known[n][:-1], "papers": [p.key for p in found]} for n, found in papers.items()]
        return print_json({"cited": cited, "entries": shown})
    for name, found in papers.items():
        if not found:
            click.echo(f"% {name}: no paper stands behind it; `gamesim describe {name}` says what it is\n")
    click.echo("\n\n".join(entry.bibtex() for entry in entries.values()))

"""What holds: reproduce, bench."""

from pathlib import Path
from typing import Any

import click

from gamesim import catalog
from gamesim.cli import shell
from gamesim.cli.shell import JSON, THREADS, cli, here_on_path, print_json
from gamesim.errors import unknown


@cli.command(short_help="Run experiments and judge a paper's claims.")
@click.argument("experiments", nargs=-1, required=True, metavar="EXPERIMENT...")
@click.option(
    "--scale",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="quick: minutes; full: what the claim is about.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("reports"),
    show_default=True,
    help="Folder for the report, data and figures.",
)
@THREADS
@JSON
def reproduce(experiments: tuple[str, ...], scale: Any, out: Path, threads: int, as_json: bool) -> None:
    """Run experiments and judge their claims: holds, fails or undecided, with statistics, figures and report.html.

    `gamesim list experiments` has the ids, `gamesim describe ID` what is claimed.

    Example: gamesim reproduce graphon-monotone graphon-rate --scale quick
    """
    here_on_path()
    found = [catalog.find("experiments", name) for name in experiments]
    shell.limit_threads(threads)
    from gamesim.study import reproduce as judge

    say = (lambda text: None) if as_json else (lambda text: click.echo(text, err=True))
    results = judge(dict(zip(experiments, found, strict=True)), scale, out, say)
    if as_json:
        print_json(results)
    else:
        for result in results:
            for claim in result["claims"]:
                interval = claim["interval"] and f" [{claim['interval'][0]:.4g}, {claim['interval'][1]:.4g}]"
                click.echo(
                    f"{claim['verdict'].upper():<10} {result['experiment']}/{claim['id']}: {claim['statement']} "
                    f"({claim['statistic']:.4g}{interval or ''})"
                )
        click.echo(f"report  {out / 'report.html'}")
    raise SystemExit(int(any(c["verdict"] == "fails" for r in results for c in r["claims"])))


@cli.command(short_help="Measure speed, crash safety or bad input here.")
@click.argument("suite", required=False)
@JSON
def bench(suite: str | None, as_json: bool) -> None:
    """Measure speed here: ratios to plain code that does the same and, where installed, to other libraries.

    Suites: attention, estimation, graphon, matrix, planning, population, sets, stochastic, of minutes each, which all
    run if none is named; and faults, fuzz and scale, which take longer and run when they are named.

    Example: gamesim bench graphon
    """
    table = catalog.table("benchmarks")
    if suite is not None and suite not in table:
        raise unknown("suite", suite, table)
    shell.limit_threads(1)
    rows = []
    long = catalog.room("benchmarks").LONG
    for name in [suite] if suite else [name for name in sorted(table) if name not in long]:
        for row in catalog.load(table[name][0])():
            rows.append(row)
            if not as_json:
                bar = _or_dash(row["bar"])
                verdict = {True: "holds", False: "misses", None: "-"}[row["holds"]]
                click.echo(
                    f"{row['id']:<34} ours {_or_dash(row['ours'])}  peer {_or_dash(row['peer'])}  "
                    f"ratio {_or_dash(row['ratio'])}  bar {bar}  {verdict}  {row['note']}"
                )
    if as_json:
        print_json(rows)
    raise SystemExit(int(any(row["holds"] is False for row in rows)))


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"

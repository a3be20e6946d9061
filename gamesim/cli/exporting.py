"""Runs and sweeps as files for other programs."""

from pathlib import Path

import click

from gamesim.cli.shell import JSON, cli, print_json


@cli.command("export", short_help="A policy or results as a file for other programs.")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--to", metavar="FORMAT", help="npz, safetensors, onnx, csv or parquet  [default: as OUT is named]")
@click.option("--out", type=click.Path(path_type=Path), help="The file  [default: RUN/policy.FORMAT and the like]")
@click.option("--what", metavar="WHAT", help="policy, trace, or results of a sweep  [default: policy, or results]")
@click.option("--best", is_flag=True, help="The best policy that the run kept, instead of its last.")
@click.option("--member", type=click.IntRange(0), help="One of a batch, from 0; a network is always of one.")
@click.option(
    "--allow", multiple=True, metavar="MODULE:CLASS", help="A class of yours that the run names; may be repeated."
)
@JSON
def export_command(
    run: Path,
    to: str | None,
    out: Path | None,
    what: str | None,
    best: bool,
    member: int | None,
    allow: tuple[str, ...],
    as_json: bool,
) -> None:
    """The policy or the trace of RUN, or the results of a sweep, as a file that needs no gamesim to be read.

    \b
    gamesim export runs/shapley --to npz                     a table policy, for numpy
    gamesim export runs/spread --to onnx --best              a policy network, for onnxruntime
    gamesim export runs/spread --to safetensors              the same, for torch alone
    gamesim export runs/shapley --what trace --to parquet    what was measured
    gamesim export runs/study --to parquet                   all results of a sweep
    """
    from gamesim.cli.shell import here_on_path
    from gamesim.errors import refuse
    from gamesim.exports import export, read_run

    if to is None and out is None:
        raise refuse("to", "nothing", "npz, safetensors, onnx, csv or parquet")
    sweep = (run / "plan.json").is_file()
    path = out or run / f"{what or ('results' if sweep else 'policy')}.{to}"
    if sweep and path.absolute() == (run / "results.csv").absolute():
        raise refuse("out", str(path), "another file: this is the sweep's own table")
    here_on_path()
    source = run if sweep else read_run(run, allow=allow)
    written = export(source, path, to=to, what=what, best=best, member=member)
    if as_json:
        return print_json({"file": str(written), "bytes": written.stat().st_size})
    click.echo(str(written))

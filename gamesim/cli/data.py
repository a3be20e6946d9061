"""Datasets of sets of agents: recorded in worlds, looked at, and carried to other libraries and from them."""

import sys
from pathlib import Path
from typing import Any

import click

from gamesim.cli import shell
from gamesim.cli.shell import GAME_OPTIONS, JSON, THREADS, Suggesting, cli, game_named, pairs, print_json
from gamesim.errors import InvalidInput, refuse

"""Of a parameter of a world that a file names, to be played again: beyond it nobody records anything."""
FORMS = ("minari", "omar", "d3rlpy")


@cli.group("data", cls=Suggesting, short_help="Record play, look at it, take it elsewhere.")
def data_group() -> None:
    """Record play in worlds of sets, to learn from offline; look at it; take it to other libraries and back.

    \b
    gamesim data make sets/spread --behaviour medium --out spread.npz     a dataset
    gamesim data inspect spread.npz                                       what is in it, checked; also with --json
    gamesim run sets/offline bc -g data=spread.npz --every 10             learn from it
    """


@data_group.command(short_help="Record episodes in WORLD.")
@click.argument("world")
@GAME_OPTIONS
@click.option("--agents", default="", metavar="N[,N...]", help="How many act; several numbers make one dataset of all.")
@click.option(
    "--behaviour",
    "behaviours",
    multiple=True,
    default=("medium",),
    show_default="medium",
    help="Who acts: random, medium, expert, replay, medium(0.2) for other chances of a random move; may be repeated.",
)
@click.option(
    "--episodes", type=click.IntRange(1), default=1000, show_default=True, help="Of each number and behaviour."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything random.")
@click.option("--no-references", is_flag=True, help="Do not measure what random play and the expert get.")
@click.option("--out", type=click.Path(path_type=Path), help="The file, .npz  [default: by the world and behaviour]")
@THREADS
@JSON
def make(
    world: str,
    game_options: tuple[str, ...],
    agents: str,
    behaviours: tuple[str, ...],
    episodes: int,
    seed: int,
    no_references: bool,
    out: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Record episodes in WORLD and write them to a file, with what random play and the expert get beside.

    \b
    gamesim data make sets/spread --behaviour expert
    gamesim data make sets/spread -g variant=omar -g actions=continuous --behaviour replay --episodes 4000
    gamesim data make sets/spread --agents 3,6,15 --behaviour random --behaviour medium --out spread.npz
    """
    given = pairs("-g", game_options)
    name = world.rpartition("/")[2].rpartition(":")[2].lower()
    said = "-".join("".join(c if c.isalnum() or c == "." else "-" for c in b).strip("-") for b in behaviours)
    out = out or Path(f"{name}-{said}.npz")
    _absent(out, ".npz")
    shell.limit_threads(threads)
    from gamesim.offline.recording import record_sets
    from gamesim.progress import announced

    places = [_world(world, given | many) for many in _numbers(agents, given)]
    with announced("recording; the work grows with the square of the agents", after=5.0):
        data = record_sets(places, behaviours, episodes, seed, references=not no_references)
    data.save(out)
    if as_json:
        return print_json({"data": str(out)} | data.plain())
    click.echo(f"{data}\nwritten to {out}; now: gamesim data inspect {out}")


@data_group.command(short_help="What is in FILE: worlds, returns, scores.")
@click.argument("file", type=click.Path(path_type=Path))
@THREADS
@JSON
def inspect(file: Path, threads: int, as_json: bool) -> None:
    """What is in FILE: worlds, behaviours, returns and scores; whether it is whole, and whether its world did that.

    A score is 0 for random play and 100 for the expert. Hashes, sizes and flags are checked, and some transitions are
    played again in the world that the file names.

    \b
    gamesim data inspect spread.npz
    gamesim data inspect spread.npz --json
    """
    shell.limit_threads(threads)
    from gamesim.data import SetData
    from gamesim.files import fingerprint

    data = SetData.load(file)
    groups, replays = _groups(data), _replays(data)
    if as_json:
        whole = {"file": str(file), "bytes": file.stat().st_size, "sha256": fingerprint(file)}
        return print_json(whole | data.plain() | {"groups": groups, "replayed": replays})
    click.echo(f"{file}: {data}")
    _print_groups(groups)
    _print_header(data, replays)


@data_group.command(short_help="Write FILE in the form of another library.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "form", type=click.Choice(FORMS), required=True, help="Whose form.")
@click.option("--agents", type=click.IntRange(1), help="Episodes of this number of agents only.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="A new folder, or an .npz for d3rlpy  [default: beside FILE]"
)
@THREADS
@JSON
def export(file: Path, form: str, agents: int | None, out: Path | None, threads: int, as_json: bool) -> None:
    """Write FILE in the form of another library; those know one number of agents at a time.

    \b
    minari   Box(entity, d), MultiDiscrete or Box, rewards [t, n]:  minari.MinariDataset("OUT/data")
    omar     obs_0.npy acs_0.npy rews_0.npy next_obs_0.npy dones_0.npy ..., what each agent observes
    d3rlpy   one .npz of joint observations, actions and rewards:  MDPDataset(**numpy.load("OUT"))

    \b
    gamesim data export spread.npz --to omar --agents 3
    """
    shell.limit_threads(threads)
    if not file.name:
        raise refuse("file", str(file), "a dataset of sets, .npz")
    out = out or file.with_name(file.name.removesuffix(".npz") + {"d3rlpy": ".d3rlpy.npz"}.get(form, f".{form}"))
    _absent(out, ".npz" if form == "d3rlpy" else "")
    from gamesim.data import SetData

    data = SetData.load(file)
    if agents is not None:
        chosen = data.agents[data.episode_offsets[:-1]] == agents
        if not bool(chosen.any()):
            numbers = ", ".join(map(str, data.agents.unique().tolist()))
            raise refuse("agents", agents, f"one of {numbers}, as the data have")
        data = data.select(chosen)
    if form == "minari":
        from gamesim.envs.wrappers.minari_data import write_minari

        write_minari(data, out)
    elif form == "omar":
        from gamesim.formats.omar import write_omar

        write_omar(data, out, _observing(data))
    else:
        from gamesim.formats.joint import write_d3rlpy

        write_d3rlpy(data, out)
    if as_json:
        return print_json({"out": str(out), "form": form, "episodes": data.episodes, "transitions": len(data)})
    click.echo(f"{data}\nwritten to {out}")


@data_group.command("import", short_help="Read recordings of another library.")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--world", help="The world that they are from, an id of `gamesim list games`; unknown where left out.")
@GAME_OPTIONS
@click.option("--behaviour", default="unknown", show_default=True, help="What to call who acted.")
@click.option("--steps", type=click.IntRange(1), help="Steps of an episode, where no flag says where one ends.")
@click.option("--no-references", is_flag=True, help="Do not measure what random play and the expert get.")
@click.option("--out", type=click.Path(path_type=Path), help="The file, .npz  [default: beside SOURCE]")
@THREADS
@JSON
def import_data(
    source: Path,
    world: str | None,
    game_options: tuple[str, ...],
    behaviour: str,
    steps: int | None,
    no_references: bool,
    out: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Read arrays (.npz), a folder of OMAR or of Minari, and write a dataset; docs/set-data.md tells the arrays.

    With --world its entities are named, states are recovered from observations where they can be, and some transitions
    are played again, which tells whether the world and its variant are the right ones.

    \b
    gamesim data import mine.npz
    gamesim data import mine.npz --world sets/spread -g agents=3 -g variant=mpe2
    gamesim data import seed_0_data --world sets/spread -g variant=omar -g actions=continuous --steps 25
    """
    given = pairs("-g", game_options)
    if world is None and given:
        raise refuse("-g", next(iter(given)), "nothing without --world: it is a parameter of the world")
    if not source.name:
        raise refuse("source", str(source), "arrays (.npz), or a folder of OMAR or of Minari")
    out = out or source.with_name(source.name.removesuffix(".npz") + ".sets.npz")
    _absent(out, ".npz")
    shell.limit_threads(threads)
    from gamesim.offline.importing import import_sets

    place = None if world is None else _world(world, given)
    data, told = import_sets(_reader(source, steps), place, behaviour, references=not no_references)
    data.save(out)
    if as_json:
        return print_json({"data": str(out), "replayed": _told(told)} | data.plain())
    click.echo(f"{data}")
    for note in data.header["notes"]:
        click.echo(f"note: {note}", err=True)
    click.echo(f"written to {out}; now: gamesim data inspect {out}")


def _reader(source: Path, steps: int | None) -> Any:
    """What reads a file or folder, by what stands in it."""
    if not source.is_dir():
        from gamesim.formats.set_arrays import read_sets

        return lambda meaning: read_sets(source, meaning, steps)
    if (source / "obs_0.npy").is_file():
        from gamesim.formats.omar import read_omar

        return lambda meaning: read_omar(source, meaning, steps)
    if (source / "data").is_dir() or (source / "metadata.json").is_file():
        from gamesim.envs.wrappers.minari_data import read_minari

        return lambda meaning: read_minari(source, meaning)
    raise refuse("data", str(source), "an .npz, or a folder with obs_0.npy (OMAR) or data (Minari) in it")


def _told(agreement: Any) -> dict[str, int] | None:
    if agreement is None or not agreement.transitions:
        return None
    return {name: getattr(agreement, name) for name in ("transitions", "states", "rewards")}


def _absent(path: Path, suffix: str) -> None:
    if suffix and path.suffix != suffix:
        raise refuse("out", str(path), f"a file that ends in {suffix}")
    if path.exists():
        raise refuse(
            "out", str(path), f"a {'file' if suffix else 'folder'} that is not there yet; name another with --out"
        )
    if not path.parent.is_dir():
        raise refuse("out", str(path), f"a place in a folder that exists; {path.parent} does not")


def _numbers(agents: str, given: dict[str, str]) -> list[dict[str, str]]:
    """Parameters for each number of agents that was asked for."""
    if not agents:
        return [{}]
    if "agents" in given:
        raise refuse("-g agents", given["agents"], "nothing beside --agents, which says it already")
    numbers = [part.strip() for part in agents.split(",")]
    for number in numbers:
        if not number.isdecimal() or int(number) < 1:
            raise refuse("agents", agents, "whole numbers of at least 1 with commas between, as 3,6,15")
    return [{"agents": number} for number in dict.fromkeys(numbers)]


def _world(name: str, given: dict[str, str]) -> Any:
    kind, parameters = game_named(name, given)
    from gamesim.games.worlds import SetWorld
    from gamesim.parameters import build

    if not issubclass(kind, SetWorld):
        raise refuse("world", name, "a world of sets: gamesim list games shows them as sets/...")
    return build(kind, parameters, what=name)


def _named_world(entry: dict[str, Any]) -> Any:
    """The world that a header names, if there is one of that name here; nothing is imported because a file says so."""
    from gamesim.offline.recording import world_of

    try:
        return world_of(entry)
    except InvalidInput:
        return None


def _observing(data: Any) -> Any:
    """What agents see in the world of the data, or nothing where that is not known."""
    world = _named_world(data.header["worlds"][int(data.world[0])])
    if world is None or not hasattr(world, "observations") or bool((data.world != data.world[0]).any()):
        return None
    import torch

    def observe(tokens: Any) -> list[Any]:
        seen = world.observations(world.restored(torch.from_numpy(tokens).to(**world.like)))
        teams = seen if isinstance(seen, tuple) else (seen,)
        return [team[..., i, :].float().cpu().numpy() for team in teams for i in range(team.shape[-2])]

    return observe


def _groups(data: Any) -> list[dict[str, Any]]:
    """Counts, returns and scores by world and behaviour."""
    import torch

    found = []
    lengths = data.episode_offsets.diff()
    for w, world in enumerate(data.header["worlds"]):
        for b, behaviour in enumerate(data.header["behaviours"]):
            here = (data.world == w) & (data.behaviour == b)
            if not bool(here.any()):
                continue
            many, returns, scores = int(here.sum()), data.returns[here], data.scores[here]
            agents = data.agents[data.episode_offsets[:-1][here]].unique().tolist()
            ended = int((data.terminated & here[data.episode]).sum())
            row = {"world": world["id"], "variant": world["parameters"].get("variant"), "agents": agents}
            row |= {"behaviour": behaviour, "episodes": many, "transitions": int(lengths[here].sum())}
            row |= {"terminated": ended, "return": float(returns.mean())}
            row |= {"return_error": float(returns.std() / many**0.5) if many > 1 else None}
            row |= {"score": None if bool(torch.isnan(scores).any()) else float(scores.mean())}
            found.append(row)
    return found


def _replays(data: Any) -> list[dict[str, Any] | None]:
    """How many transitions the world that a header names repeats; null where it is not known here."""
    from gamesim.offline.replaying import replayed

    found = list[dict[str, Any] | None]()
    for place, entry in enumerate(data.header["worlds"]):
        world = _named_world(entry)
        try:
            found.append(None if world is None else _told(replayed(data, world, place)))
        except InvalidInput:
            found.append(None)
    return found


def _print_groups(groups: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_edge=False)
    for heading in ("world", "agents", "behaviour", "episodes", "transitions", "return", "score"):
        table.add_column(heading, justify="left" if heading in ("world", "behaviour") else "right", no_wrap=True)
    for row in groups:
        error = "" if row["return_error"] is None else f" ± {row['return_error']:.2g}"
        where = row["world"] + (f", {row['variant']}" if row["variant"] else "")
        table.add_row(
            where,
            ", ".join(map(str, row["agents"])),
            row["behaviour"],
            f"{row['episodes']:,}",
            f"{row['transitions']:,}",
            f"{row['return']:.4g}{error}",
            "-" if row["score"] is None else f"{row['score']:.1f}",
        )
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)


def _print_header(data: Any, replays: list[dict[str, Any] | None]) -> None:
    header = data.header
    kind, count = header["actions"]
    entities = ", ".join(header["kinds_of_entity"])
    click.echo(f"tokens    {', '.join(header['features'])}; kinds {entities}")
    click.echo(f"actions   {f'{count} moves' if kind == 'discrete' else f'{count} numbers in [-1, 1]'}")
    over, cut = int(data.terminated.sum()), int(data.truncated.sum())
    click.echo(f"ends      {over:,} episodes ended by themselves, {cut:,} were cut off")
    click.echo(f"content   sha256 {data.content[:16]}..., all arrays as they were written")
    for entry, told in zip(header["worlds"], replays, strict=True):
        if told is None:
            click.echo(f"replayed  nothing: {entry['id']} is no world here that could repeat them")
        else:
            shown = (
                f"{told['states']:,} next states and {told['rewards']:,} rewards of {told['transitions']:,} transitions"
            )
            click.echo(f"replayed  {entry['id']} repeats {shown}")
    for note in header["notes"]:
        click.echo(f"note      {note}")

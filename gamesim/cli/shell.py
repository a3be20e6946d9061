"""What every command shares: the group, options, output in words and JSON, errors in one line, exit codes."""

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

import gamesim
from gamesim.errors import InvalidInput, cautions_in_a_line, refuse, unknown

KINDS = ("games", "solvers", "experiments")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else there.")
GAME_OPTIONS = click.option(
    "-g", "game_options", multiple=True, metavar="NAME=VALUE", help="A parameter of the game; may be repeated."
)
THREADS = click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Threads; results are bit-identical at a fixed number.",
)


class Suggesting(click.Group):
    """A group whose unknown commands are answered with the nearest ones."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise unknown("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `gamesim list | head`: nothing is wrong; click would exit with 1
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None


@click.group(
    cls=Suggesting,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(gamesim.__version__, prog_name="gamesim")
@click.pass_context
def cli(context: click.Context) -> None:
    """Simulate games and the agents that learn in them, and measure how far they are from equilibrium.

    \b
    gamesim list games                                  what there is
    gamesim describe graphon/sis                        its parameters, equations and source
    gamesim run graphon/sis gmfg-ppo                    solve it; the run and its figure stay on disk
    gamesim sweep study.toml                            many runs from one file; --resume goes on after a crash
    gamesim compare runs/study                          who is better, with intervals
    gamesim reproduce graphon-monotone                  check a paper's claim
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def pairs(flag: str, options: Sequence[str]) -> dict[str, str]:
    found = dict[str, str]()
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name.strip():
            raise refuse(flag, option, "name=value")
        if name.strip() in found:
            raise refuse(flag, option, f"each name once; {name.strip()} stands twice")
        found[name.strip()] = value.strip()
    return found


def game_named(name: str, given: dict[str, str]) -> tuple[Any, dict[str, str]]:
    """The class behind a game's name, and its parameters: those of the name itself and those typed beside it."""
    from gamesim import catalog

    here_on_path()
    found, own = catalog.named("games", name)
    for field in sorted(own.keys() & given.keys()):
        raise refuse(f"-g {field}", given[field], f"nothing beside {name!r}, which says it already; or matrix/file")
    return found, own | given


def here_on_path() -> None:
    """`mymodule:MyGame` means a module of the folder that the user stands in."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)


def limit_threads(threads: int) -> None:
    from gamesim.kernels import threads as used

    used.limit_threads(threads)


def print_json(data: Any) -> None:
    import json

    try:
        text = json.dumps(data, indent=2, allow_nan=False)
    except ValueError:  # a number that is not finite becomes null; listing never needs this import
        from gamesim.files import to_json

        text = to_json(data)
    click.echo(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        with cautions_in_a_line():
            cli.main(args=None if arguments is None else list(arguments), prog_name="gamesim", standalone_mode=False)
    except InvalidInput as error:
        return _refused(str(error), 2)
    except click.exceptions.Abort:
        return 130
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        return _refused(error.format_message(), 2)
    except KeyboardInterrupt:
        return 130
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except (MemoryError, OSError, RuntimeError) as error:
        words = _shortage(error)
        if words is None:
            raise
        return _refused(words, 1)
    return 0


def _shortage(error: Exception) -> str | None:
    """What the machine could not give, in words; None for a defect of a program."""
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        return "memory: there is too little for this; lower positions, horizon, states or seeds"
    return f"file: {error}" if isinstance(error, OSError) and error.errno is not None else None


def _refused(text: str, code: int) -> int:
    """One line on stderr."""
    words = " ".join(text.split())  # click quotes a value in full, however long
    click.echo(f"error: {words if len(words) <= 1000 else f'{words[:700]}...{words[-290:]}'}", err=True)
    return code


def entry() -> NoReturn:
    raise SystemExit(main())

"""Language models as planners: is an endpoint fit, what will a run cost, what did it cost, and one of our own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gamesim.cli import shell
from gamesim.cli.shell import GAME_OPTIONS, JSON, THREADS, Suggesting, cli, game_named, pairs, print_json
from gamesim.errors import refuse

KEY_ENV = click.option(
    "--key-env", default="OPENAI_API_KEY", show_default=True, help="The environment variable that holds the key."
)


@cli.group("llm", cls=Suggesting, short_help="Plan with a language model.")
def llm_group() -> None:
    """Plan with a language model: any endpoint that speaks OpenAI's protocol, hosted, local, or ours.

    \b
    gamesim llm serve latent/needle -g boxes=8 --port 8000                one of our own, on this machine
    gamesim llm check http://127.0.0.1:8000/v1                            what an endpoint can do
    gamesim llm estimate latent/needle -g boxes=8 --iterations 24 --seeds 12 -s "planner=openai(price_in=0.15)"
    gamesim run latent/needle bail -g boxes=8 --iterations 24 --seeds 12 \\
        -s "planner=openai(base_url=http://127.0.0.1:8000/v1, max_calls=400)" --name first
    gamesim llm usage runs/first                                          calls, tokens, cost; also with --json
    gamesim run latent/needle bail -g boxes=8 --iterations 24 --seeds 12 -s "planner=replay(file=runs/first)"
    """


@llm_group.command(short_help="Does the endpoint answer, and what does it serve?")
@click.argument("base_url", default="http://127.0.0.1:8000/v1")
@click.option("--model", default="", help="Which of its models  [default: the only one]")
@KEY_ENV
@click.option("--timeout", type=click.FloatRange(0.1, 3600), default=30.0, show_default=True, help="Seconds.")
@JSON
def check(base_url: str, model: str, key_env: str, timeout: float, as_json: bool) -> None:
    """Whether the endpoint at BASE_URL answers, what it serves, and which modes of the planner it can do.

    It is asked four or five short questions. The exit code is 1 if it gives no text.
    """
    from gamesim.planning.language.abilities import form_of_choosing, gives_logprobs, served
    from gamesim.planning.language.endpoint import Endpoint

    endpoint = Endpoint(base_url, key_env, timeout)
    known = endpoint.models()
    model = served(endpoint, model)
    said, likely = endpoint.try_out(model), gives_logprobs(endpoint, model)
    form = form_of_choosing(endpoint, model) if said.status == "ok" else "none"
    found = {
        "base_url": endpoint.address,
        "models": known,
        "model": model,
        "sample": said.status == "ok",
        "logprobs": bool(likely.logprobs),
        "guided": None if form == "none" else form,
        "counts_tokens": said.prompt_tokens is not None,
        "seconds": round(said.seconds, 3),
        "error": said.error,
    }
    endpoint.close()
    if as_json:
        print_json(found)
    else:
        _print_check(found)
    if not found["sample"]:
        raise SystemExit(1)


def _print_check(found: dict[str, Any]) -> None:
    listed = "not told" if found["models"] is None else ", ".join(found["models"][:20]) or "none"
    yes = {True: "yes", False: "no"}
    click.echo(f"endpoint        {found['base_url']}")
    click.echo(f"models          {listed}; asked: {found['model']}")
    click.echo(f"mode=sample     {yes[found['sample']]}" + ("" if found["sample"] else f" ({found['error']})"))
    click.echo(f"mode=logprobs   {yes[found['logprobs']]}")
    click.echo(f"mode=guided     {found['guided'] or 'no: answers are parsed, as in mode=sample'}")
    click.echo(f"counts tokens   {yes[found['counts_tokens']]}")
    click.echo(f"an answer took  {found['seconds']} s")


@llm_group.command(short_help="What a run in WORLD would take: calls, tokens.")
@click.argument("world")
@GAME_OPTIONS
@click.option(
    "-s",
    "solver_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="As for `gamesim run`; planner=openai(...) counts.",
)
@click.option("--iterations", type=click.IntRange(1), default=100, show_default=True, help="Episodes.")
@click.option("--seeds", type=click.IntRange(1, 10**6), default=1, show_default=True, help="Runs.")
@JSON
def estimate(
    world: str, game_options: tuple[str, ...], solver_options: tuple[str, ...], iterations: int, seeds: int,
    as_json: bool,
) -> None:  # fmt: skip
    """What a run in WORLD would take: calls, tokens and, at the planner's prices, dollars; nothing is asked.

    \b
    gamesim llm estimate latent/needle -g boxes=8 --iterations 24 --seeds 12 \\
        -s "planner=openai(history=raw, price_in=0.15, price_out=0.6)"
    """
    place = _world(world, game_options)
    from gamesim.planning.language.model import LanguageModel
    from gamesim.planning.language.pricing import estimated

    planner = _planner(pairs("-s", solver_options).get("planner", "openai"))
    if not isinstance(planner, LanguageModel):
        raise refuse("planner", str(planner), "openai(...): what others say costs nothing")
    found = estimated(place, planner, iterations, seeds)
    if as_json:
        return print_json(found.plain())
    click.echo(f"calls           {found.calls:,}, without what has to be asked again")
    click.echo(
        f"prompt tokens   about {found.prompt_tokens:,}: {found.first_prompt:,} at first, {found.last_prompt:,} at last"
    )
    click.echo(f"reply tokens    at most {found.reply_tokens:,}")
    priced = planner.price_in + planner.price_out > 0
    said = f"at most about ${found.cost:.4g}" if priced else "give price_in and price_out, dollars for a million tokens"
    click.echo(f"cost            {said}")


@llm_group.command(short_help="What RUN has used: calls, tokens, time.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--price-in", type=click.FloatRange(0), default=0.0, help="Dollars for a million tokens of prompts.")
@click.option("--price-out", type=click.FloatRange(0), default=0.0, help="Dollars for a million tokens of replies.")
@JSON
def usage(run: Path, price_in: float, price_out: float, as_json: bool) -> None:
    """What RUN, a folder or a transcript, has used: calls, tokens, seconds, retries, invalid answers, dollars."""
    from gamesim.planning.language.budget import Prices
    from gamesim.planning.language.replay import usage as usage_of

    found = usage_of(run, Prices(price_in, price_out))
    if as_json:
        return print_json(found)
    for line in usage_lines(found):
        click.echo(line)


def usage_lines(found: dict[str, Any]) -> list[str]:
    """What was used, in words."""
    ended = ", ".join(f"{n:,} {status}" for status, n in found["statuses"].items())
    guessed = f", about: those of {found['calls_with_guessed_tokens']:,} calls nobody counted"
    lines = [
        f"calls           {found['calls']:,} ({ended})" if ended else "calls           0",
        f"tokens          {found['prompt_tokens']:,} in prompts, {found['reply_tokens']:,} in replies"
        + (guessed if found["calls_with_guessed_tokens"] else ""),
        f"decisions       {found['decisions']:,}, of which {found['invalid']:,} were made by the exploration law "
        f"({100 * found['invalid_rate']:.3g}%), {found['refused']:,} unasked",
        f"waiting         {found['seconds']:,.1f} s, summed over calls",
    ]
    return lines + ([f"cost            ${found['cost']:.4g}"] if found["cost"] else [])


@llm_group.command(short_help="Pretrain a small transformer on WORLD.")
@click.argument("world")
@GAME_OPTIONS
@click.option(
    "--episodes", type=click.IntRange(1), default=24, show_default=True, help="Of a document, and of a prompt."
)
@click.option(
    "--data",
    type=click.Choice(["labelled", "demonstrations"]),
    default="labelled",
    show_default=True,
    help="Documents labelled by an expert, whoever acts; or demonstrations alone.",
)
@click.option("--steps", type=click.IntRange(1), default=2500, show_default=True, help="Of training.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file, .safetensors")
@THREADS
@JSON
def pretrain(
    world: str, game_options: tuple[str, ...], episodes: int, data: Any, steps: int, seed: int, out: Path, threads: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Pretrain a small transformer on documents of WORLD, about two minutes for 2,500 steps, and write it to a file.

    \b
    gamesim llm pretrain latent/needle -g boxes=8 --out needle.safetensors
    gamesim llm serve latent/needle -g boxes=8 --planner "transformer(weights=needle.safetensors)"
    """
    shell.limit_threads(threads)
    place = _world(world, game_options)
    from gamesim.sequence.pretraining import Recipe, pretrain_model

    recipe = Recipe(episodes=episodes, data=data, steps=steps, seed=seed)
    made = pretrain_model(place, out, recipe, lambda words: click.echo(words, err=True))
    count = sum(x.numel() for x in made.model.parameters())
    if as_json:
        return print_json({"weights": str(out), "parameters": count, "episodes": made.episodes})
    click.echo(f"{count:,} parameters, written to {out}; now: gamesim llm serve {world} "
               f"{' '.join(f'-g {each}' for each in game_options)} --planner 'transformer(weights={out})'")  # fmt: skip


@llm_group.command("serve", short_help="Serve a planner of WORLD as a language model.")
@click.argument("world", default="latent/needle")
@GAME_OPTIONS
@click.option(
    "--planner", default="transformer", show_default=True, help="Who answers; bail for the exact law, at once."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Who may ask: this machine alone.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 is any that is free.")
@click.option("--model", default="gamesim", show_default=True, help="The name that it is asked by.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of requests without one.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME=P",
    help="Go wrong with this probability; or P alone, in all ways.",
)
@click.option(
    "--hang", type=click.FloatRange(0), default=30.0, show_default=True, help="Seconds of a fault that waits."
)
@THREADS
@JSON
def serve_planner(
    world: str, game_options: tuple[str, ...], planner: str, host: str, port: int, model: str, seed: int,
    faults: tuple[str, ...], hang: float, threads: int, as_json: bool,
) -> None:  # fmt: skip
    """Serve a planner of WORLD as a language model, until it is interrupted; for trying things without a key.

    \b
    gamesim llm serve latent/needle -g boxes=8
    gamesim llm serve latent/trap --planner bail --fault 0.2 --fault timeout=0.05
    """
    shell.limit_threads(threads)
    place = _world(world, game_options)
    from gamesim.planning.language.faults import Faults
    from gamesim.planning.language.server import serve

    broken = Faults.parse(faults, seed, hang=hang) if faults else None
    with serve(_planner(planner), place, host=host, port=port, faults=broken, model=model, seed=seed) as served:
        if as_json:
            print_json({"base_url": served.url, "model": model})
        else:
            click.echo(f"serving {planner} of {world} as {served.url}, model {model}; now, elsewhere: "
                       f"gamesim llm check {served.url}")  # fmt: skip
        served.wait()


def _planner(given: str) -> Any:
    from gamesim.parameters import convert
    from gamesim.planning import Planner

    return convert(given, Planner, "planner")


def _world(name: str, options: Sequence[str]) -> Any:
    kind, parameters = game_named(name, pairs("-g", options))
    from gamesim.games.latent import LatentWorld
    from gamesim.parameters import build

    if not issubclass(kind, LatentWorld):
        raise refuse("world", name, "a latent world: gamesim list games shows them as latent/...")
    return build(kind, parameters, what=name)

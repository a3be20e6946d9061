"""Coverage-guided fuzzing (atheris) of what parses strangers' texts; nightly, not a part of the tests.

    PYTHONPATH=tests python -m fuzzing.guided [--seconds 300] [--corpus FOLDER] [TARGET ...]

    nfg gam efg    the readers of games; what is read is written and read again, and must be the same game
    toml           sweeps: the plan that a file makes
    reply          a model's reply against several sets of names, and prompts read back

Each target runs in a process of its own for so many seconds of its CPU, on texts that libFuzzer mutates to reach new
branches. A text that ends in anything but a result or InvalidInput of one line, that takes five seconds or 2 GB, is a
defect: it is printed, kept in the corpus folder as crash-*, and the exit code is 1.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

Target = Callable[[str], None]
WORDS = {
    "nfg": ("NFG 1 R", '"', "{", "}", "1/3", "1e-3", ",", '\\"', "999999999", "D", "\ufeff"),
    "gam": ("2", "1/3", "-0.5", "1e9", "//", "#", "999999999", "\r", ","),
    "efg": ("EFG 2 R", 'c ""', 'p "" 1 1', 't ""', '{ "a" 1/2 "b" 1/2 }', "{ 1, 2 }", "0", '"', "1 2"),
    "toml": (
        "[[runs]]",
        "game =",
        "solver =",
        "matrix/shapley",
        "ftrl",
        "graphon/sis",
        "seeds",
        "every",
        "log",
        "linear",
        "draws",
        "uniform",
        "choice",
        "count",
        "design",
        "sobol",
        "[tune]",
        "s =",
        "g =",
        "{",
        "}",
        "[",
        "]",
        "1e400",
        "nan",
        "inf",
        "true",
    ),
    "reply": (
        "answer:",
        "</think>",
        "open box 1",
        "box 10",
        "subgoal",
        "1.5",
        "A",
        "\u2460",
        "\u200b",
        "\u0130",
        "\ud83d",
        "\n",
    ),
}


def targets() -> dict[str, Target]:
    """What is done with a text."""
    from gamesim.envs.latent.needle import Needle
    from gamesim.formats.efg import parse_efg
    from gamesim.formats.gam import format_gam, parse_gam
    from gamesim.formats.nfg import format_nfg, parse_nfg
    from gamesim.planning.language.parsing import Names, labelled
    from gamesim.planning.language.reading import read_back
    from gamesim.sweeps.design import plan_of

    sets = [
        Names(("open box 1", "open box 10", "read the sign")),
        Names(("a+", "a-", "1", "1.5")),
        Names(("\u00e4 b", "b", "a b c", "no", "north west")),
    ]
    world = Needle(boxes=2)

    def nfg(text: str) -> None:
        game = parse_nfg(text)
        assert parse_nfg(format_nfg(game)) == game, "written and read again, it is another game"

    def gam(text: str) -> None:
        game = parse_gam(text)
        again = parse_gam(format_gam(game))
        assert (again.payoffs == game.payoffs).all(), "written and read again, it is another game"

    def efg(text: str) -> None:
        game = parse_efg(text)
        assert game.payoffs.shape == (len(game.players), *map(len, game.actions)), "strategies without payoffs"

    def reply(text: str) -> None:
        for names in sets:
            found = names.find(text)
            assert found is None or 0 <= found < len(names.names), "no name of these"
        assert all(x >= 0 for x in labelled([(text[:8], -0.5), (text, -1.0)], "AB")), "a negative weight"
        read_back(world, text)

    return {"nfg": nfg, "gam": gam, "efg": efg, "toml": lambda text: void(plan_of(text)), "reply": reply}


def void(found: object) -> None:
    """What is found is of no interest here."""


def met(target: Target, text: str) -> None:
    """Let a target have a text; a refusal is fine, if it is one line."""
    import warnings

    from gamesim.errors import InvalidInput

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            target(text)
        except InvalidInput as error:
            words = str(error)
            if "\n" in words or not words.strip():
                raise RuntimeError(f"a refusal that is not one line: {words!r}") from None


def seeds(name: str) -> list[str]:
    """Texts to begin with."""
    from gamesim.benchmarks.fuzzing import files
    from gamesim.envs.latent.needle import Needle
    from gamesim.planning.language.text import system

    games = Path(__file__).parents[1] / "games"
    here = [path.read_text() for path in sorted(games.glob(f"*.{name}")) if path.stat().st_size < 3000]
    known = {
        "nfg": [files.NFG, files.OUTCOMES],
        "gam": [files.GAM],
        "efg": [files.EFG],
        "toml": [files.SWEEP],
        "reply": ["answer: open box 10", "<think>box 1</think>\nread the sign", system(Needle(boxes=2), False)],
    }
    return known[name] + here


def fuzz(name: str, seconds: int, corpus: Path) -> None:
    """One target, in this process, until its time is over."""
    import atheris

    with atheris.instrument_imports(
        include=["gamesim.formats", "gamesim.planning.language", "gamesim.sweeps", "tomllib"]
    ):
        import tomllib  # noqa: F401

        target = targets()[name]

    def once(data: bytes) -> None:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        met(target, text)

    for i, text in enumerate(seeds(name)):
        (corpus / f"seed-{i}").write_text(text, encoding="utf-8")
    words = corpus.parent / f"{name}.dict"
    said = [
        "".join(
            chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in w.encode("utf-8", "surrogatepass")
        )
        for w in WORDS[name]
    ]
    words.write_text("".join(f'"{word}"\n' for word in said))
    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_total_time={seconds}",
            f"-dict={words}",
            "-timeout=5",
            "-rss_limit_mb=2048",
            "-max_len=4096",
            "-print_final_stats=1",
            f"-artifact_prefix={corpus.parent}/{name}-",
            "-verbosity=1",
        ],
        once,
    )
    atheris.Fuzz()


def main() -> int:
    """Every target, one after the other, with a line for each."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("targets", nargs="*", metavar="TARGET", help=" ".join(WORDS))
    arguments.add_argument("--seconds", type=int, default=300, help="for each target")
    arguments.add_argument("--corpus", type=Path, help="texts that are kept from night to night")
    arguments.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if unknown := set(given.targets) - set(WORDS):
        arguments.error(f"no target {sorted(unknown)[0]}: one of {' '.join(WORDS)}")
    if given.inside:
        fuzz(given.targets[0], given.seconds, given.corpus)
        return 0
    failed = False
    with tempfile.TemporaryDirectory() as spare:
        for name in given.targets or WORDS:
            corpus = (given.corpus or Path(spare)) / name
            corpus.mkdir(parents=True, exist_ok=True)
            inside = [
                sys.executable,
                "-m",
                "fuzzing.guided",
                name,
                "--seconds",
                str(given.seconds),
                "--corpus",
                str(corpus),
                "--inside",
            ]
            done = subprocess.run(
                inside, capture_output=True, text=True, errors="replace", env=os.environ | {"OMP_NUM_THREADS": "1"}
            )
            counts = {
                word: found[-1] for word in ("cov", "ft") if (found := re.findall(rf"\b{word}: (\d+)", done.stderr))
            }
            units = re.findall(r"number_of_executed_units: (\d+)", done.stderr)
            failed |= done.returncode != 0
            verdict = "no defect" if done.returncode == 0 else f"DEFECT (exit code {done.returncode})"
            print(f"{name:<6} {int(units[-1]) if units else 0:>10,} executions  {counts}  {verdict}", flush=True)
            if done.returncode:
                print(done.stderr[-6000:])
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())

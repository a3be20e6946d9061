"""Mutation testing: `python tests/mutation` makes small mistakes in gamesim, one by one, and asks whether a test fails.

Which modules, by which tests, stands in mutants.toml; mistakes that change nothing, with the reason, in
equivalent.toml. Exploitability and validation are tried whole; of the rest so many as are asked for, the same ones for
the same seed. Exits with 1 if one of exploitability or validation survives, or more than 15 of 100 in all.
"""

import argparse
import hashlib
import json
import os
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE.parent)]

from mutation import serving  # noqa: E402
from mutation.mutating import Mutant, mutants  # noqa: E402
from mutation.serving import KILLED, SURVIVED, TIMEOUT, UNREACHED  # noqa: E402

WHOLE = ("exploitability", "validation")
"""Groups that are tried whole, and of which nothing may survive."""
ALIVE = (SURVIVED, UNREACHED)
ENOUGH = 0.85
EQUIVALENT = "equivalent"


def targets() -> list[dict[str, Any]]:
    """The rows of mutants.toml: group, file, tests, and patterns of functions, `only` these or all but `skip`."""
    found: list[dict[str, Any]] = tomllib.loads((HERE / "mutants.toml").read_text())["target"]
    return found


def equivalent() -> dict[str, dict[str, str]]:
    """File -> name of a mutant -> why no test can tell it from what stands there."""
    found: dict[str, dict[str, str]] = {}
    for row in tomllib.loads((HERE / "equivalent.toml").read_text()).get("mutant", []):
        found.setdefault(row["file"], {})[row["name"]] = row["why"]
    return found


def of(target: dict[str, Any]) -> list[Mutant]:
    """The mutants of a target."""

    def wanted(mutant: Mutant) -> bool:
        name = mutant.function or "(module)"
        chosen = any(fnmatch(name, p) for p in target.get("only", ["*"]))
        return chosen and not any(fnmatch(name, p) for p in target.get("skip", []))

    return [m for m in mutants((ROOT / target["file"]).read_text(), target["file"]) if wanted(m)]


def drawn(seed: int, mutant: Mutant) -> str:
    """Mutants in the order of this are a sample that an edit elsewhere leaves as it is."""
    return hashlib.sha256(f"{seed} {mutant.file} {mutant.name}".encode()).hexdigest()


def plan(arguments: argparse.Namespace) -> list[tuple[dict[str, Any], list[Mutant]]]:
    """What is tried of each target."""
    chosen = [t for t in targets() if fnmatch(t["group"], arguments.group) and fnmatch(t["file"], arguments.file)]
    found = [(t, [m for m in of(t) if arguments.name in m.name]) for t in chosen]
    sampled = [m for t, ms in found if t["group"] not in WHOLE for m in ms]
    kept = {m for t, ms in found if t["group"] in WHOLE for m in ms}
    kept |= set(sorted(sampled, key=lambda m: drawn(arguments.seed, m))[: max(0, arguments.count - len(kept))])
    return [(t, [m for m in ms if m in kept]) for t, ms in found]


def tried(target: dict[str, Any], chosen: Sequence[Mutant], out: Any) -> None:
    """Try the mutants of a target, each a line of JSON."""
    path, why = (ROOT / target["file"]).resolve(), equivalent().get(target["file"], {})

    def report(mutant: Mutant, found: str, killer: str) -> None:
        row = {"group": target["group"], "file": mutant.file, "name": mutant.name, "line": mutant.lines[0]}
        row |= {"outcome": EQUIVALENT if found in ALIVE and mutant.name in why else found, "by": killer}
        out.write(json.dumps(row) + "\n")
        out.flush()
        os.write(2, {KILLED: b".", TIMEOUT: b"t", SURVIVED: b"S", UNREACHED: b"U"}.get(found, b"c"))

    within = [m for m in chosen if m.function]
    server = serving.inside(path, within, target["tests"], report)
    if server.dropped:
        os.write(2, f"\nfail without any mistake, left out: {', '.join(server.dropped)}\n".encode())
    tests = [[t.id, t.seconds, sorted(t.lines)] for t in server.tests]
    left = {"tests": tests, "elsewhere": [m.name for m in server.elsewhere]}
    Path(out.name).with_suffix(".left").write_text(json.dumps(left))


def imported(target: dict[str, Any], chosen: Sequence[Mutant], out: Any) -> None:
    """Try the others, which run on import, each in a process that has imported nothing of gamesim."""
    path, why = (ROOT / target["file"]).resolve(), equivalent().get(target["file"], {})
    left = json.loads(Path(out.name).with_suffix(".left").read_text())
    tests = [serving.Test(name, seconds, set(lines)) for name, seconds, lines in left["tests"]]
    for mutant in chosen:
        if mutant.function and mutant.name not in left["elsewhere"]:
            continue
        found, killer = serving.on_import(path, mutant, tests)
        row = {"group": target["group"], "file": mutant.file, "name": mutant.name, "line": mutant.lines[0]}
        row |= {"outcome": EQUIVALENT if found in ALIVE and mutant.name in why else found, "by": killer}
        out.write(json.dumps(row) + "\n")
        out.flush()
        os.write(2, {KILLED: b".", TIMEOUT: b"t", SURVIVED: b"S"}.get(found, b"c"))


def results(out: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The last line about each mutant."""
    rows = map(json.loads, out.read_text().splitlines() if out.exists() else ())
    return {(row["group"], row["file"], row["name"]): row for row in rows}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Killed, survived, equivalent and stopped, by file and by group."""
    lines = ["| group | file | mutants | killed | by time | equivalent | survived | score |", "|" + "---|" * 8]
    keys = sorted({(r["group"], r["file"]) for r in rows})
    for group, file in [*keys, *((g, "") for g in sorted({g for g, _ in keys})), ("", "")]:
        some = [r for r in rows if group in ("", r["group"]) and file in ("", r["file"])]
        count = Counter(r["outcome"] for r in some)
        alive = sum(count[x] for x in ALIVE)
        dead = len(some) - alive - count[EQUIVALENT]
        name = file or f"all of {group}" if group else "all"
        score = f"{score_of(some):.1%}"
        cells = (group, name, len(some), dead - count[TIMEOUT], count[TIMEOUT], count[EQUIVALENT], alive, score)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def score_of(rows: Sequence[dict[str, Any]]) -> float:
    """The share that was killed, of those that are not equivalent."""
    live = [r["outcome"] in ALIVE for r in rows if r["outcome"] != EQUIVALENT]
    return 1 - sum(live) / max(1, len(live))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/mutation", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=10**6, help="mutants in all; exploitability and validation whole")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--group", default="*", help="exploitability, validation, metrics or solvers")
    parser.add_argument("--file", default="*", help="only of this file: gamesim/simplex.py, algorithms/*")
    parser.add_argument("--name", default="", help="only mutants whose name contains this")
    parser.add_argument("--out", type=Path, default=Path("runs/mutants.jsonl"), help="one line for every mutant")
    parser.add_argument("--resume", action="store_true", help="leave out those that were killed already, says --out")
    parser.add_argument("--list", action="store_true", help="say what would be tried, and stop")
    arguments = parser.parse_args()
    chosen = plan(arguments)
    if arguments.list:
        for target, some in chosen:
            print(f"{target['group']:15} {target['file']:40} {len(some):5}")
            if arguments.name or arguments.file != "*":
                print(*(f"    {m.lines[0]:4} {m.name}" for m in some), sep="\n")
        print(sum(len(some) for _, some in chosen), "mutants")
        return 0
    os.chdir(ROOT)
    for name in (
        "torch",
        "numpy",
        "scipy.optimize",
        "scipy.stats",
        "numba",
        "networkx",
        "hypothesis",
        "cvxpy",
        "click",
    ):
        __import__(name)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    known = (
        {key for key, row in results(arguments.out).items() if row["outcome"] not in ALIVE} if arguments.resume else ()
    )
    began = time.monotonic()
    with arguments.out.open("a" if arguments.resume else "w") as out:
        for target, some in chosen:
            new = [m for m in some if (target["group"], m.file, m.name) not in known]
            if not new:
                continue
            os.write(2, f"\n{target['group']} {target['file']} {len(new)} ".encode())
            os.environ["GAMESIM_MUTANTS_SHOWN"] = "1"
            if serving.forked(lambda t=target, n=new: tried(t, n, out) or 0):
                raise SystemExit(f"{target['file']}: its tests could not be measured")
            del os.environ["GAMESIM_MUTANTS_SHOWN"]
            imported(target, new, out)
    now = {(target["group"], m.file, m.name) for target, some in chosen for m in some}
    rows = [row for key, row in results(arguments.out).items() if key in now]  # not of code that has gone
    print("\n" + table(rows))
    for row in rows:
        if row["outcome"] in ALIVE:
            print(f"{row['outcome']}: {row['file']}:{row['line']} {row['name']}")
    print(f"{time.monotonic() - began:.0f} s")
    whole = [r for r in rows if r["group"] in WHOLE]
    return int(score_of(whole) < 1 or score_of(rows) < ENOUGH)


if __name__ == "__main__":
    sys.exit(main())

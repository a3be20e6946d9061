"""The shell lines of every page as a reader would type them: bash runs them all, in order, in a folder for each page.

Those of pages that take seconds run always, the others with `pytest -m slow`: a quarter of an hour on two cores.
"""

import doctest
import math
import re
import shutil
import socket
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_blocks import ROOT, SHELLS, blocks, calls
from readers_shell import Command, Ran, Shell

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="commands are asked for through a socket of packets")
BLOCKS = blocks()
RUN = sorted({b.page.as_posix() for b in BLOCKS if b.kind in SHELLS})
QUICK = {
    "docs/algorithms/bail.md",
    "docs/algorithms/bandits.md",
    "docs/algorithms/extragradient.md",
    "docs/algorithms/ftrl.md",
    "docs/bibliography.md",
    "docs/equilibria.md",
    "docs/games/matrix.md",
    "docs/games/variational.md",
    "docs/runs.md",
    "docs/serving.md",
}

# --- what a reader has in the folder --------------------------------------------------------------------------------

GAME = """NFG 1 R "Chicken" { "Row" "Column" } { { "go" "wait" } { "go" "wait" } }

0 0 2 7 7 2 6 6
"""
STUDY = """iterations = 50
seeds = 3
[[runs]]
game = ["matrix/shapley", "matrix/chicken"]
solver = "ftrl"
s = { step_size = [0.1, 0.5] }
"""
OWN_STUDY = """iterations = 20
[[runs]]
game = "mymodule:MyGame"
solver = "%s"
"""
NETWORK = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="undirected">
<node id="a"/><node id="b"/><node id="c"/><edge source="a" target="b"/><edge source="b" target="c"/></graph></graphml>
"""
LOG = "round,arm,accepted\n0,short,1\n0,long,4\n1,short,2\n1,long,1\n2,short,1\n2,long,3\n"
OWN = """
class MyGame(Routing):
    pass

class MySolver(OptimisticMirrorDescent):
    pass

make_env = Crossing
"""
ARRAYS = """
import numpy as np
from gamesim.data import SetData

made = SetData.load("made.npz")
names = "observations", "actions", "rewards"
shapes = (20, -1, 6, 4), (20, -1, 3), (20, -1, 3)
parts = made.tokens, made.actions, made.rewards
np.savez("mine.npz", **{n: x.reshape(s).numpy() for n, x, s in zip(names, parts, shapes, strict=True)})
"""
BEFORE = {
    "docs/algorithms/offline-baselines.md": """
gamesim data make sets/spread -g agents=3 --behaviour replay --episodes 200 --out spread.npz
""",
    "docs/certificates.md": "gamesim run stochastic/two-state policy-gradient --iterations 200 --seeds 3 --name my-run",
    "docs/comparing.md": """
gamesim sweep study.toml
for solver in ftrl omd; do
    gamesim run matrix/shapley ftrl --start random --seeds 3 --iterations 1000 --out runs/shapley-$solver-1
done
gamesim sweep long.toml
cp runs/long/results.csv results.csv
""",
    "docs/set-data.md": """
gamesim data make sets/spread -g agents=3 -g variant=mpe2 --behaviour random --episodes 20 --out made.npz
python arrays.py
""",
}
"""What pages suppose that one has made before."""


def definitions(page: str, *names: str) -> str:
    """What the sessions of a page import, and these classes that they define, as they would stand in a module."""
    found = []
    for example in doctest.DocTestParser().get_examples((ROOT / page).read_text(encoding="utf-8")):
        defined = re.search(r"(?m)^class (\w+)", example.source)
        if example.source.startswith(("import ", "from ")) or (defined and defined[1] in names):
            found.append(example.source)
    return "".join(found)


def files(page: str) -> dict[str, str]:
    """By name: those that blocks of the page are, and those that its lines suppose."""
    crossing = definitions("docs/bridges.md", "Crossing")
    roads = definitions("docs/adding-a-game.md", "Routing", "Camp")
    solver = definitions("docs/adding-a-solver.md", "OptimisticMirrorDescent", "Hopeful")
    found = {
        "game.nfg": GAME,
        "path/to/game.nfg": GAME,
        "my-network.graphml": NETWORK,
        "log.csv": LOG,
        "study.toml": OWN_STUDY % "policy-mirror-descent" if page == "docs/adding-a-game.md" else STUDY,
        "mine.toml": OWN_STUDY % "mymodule:MySolver",
        "long.toml": STUDY.replace("50", "1000"),
        "crossing.py": crossing,
        "mymodule.py": crossing + roads + solver + OWN,
        "arrays.py": ARRAYS,
    }
    return found | {b.file: b.text for b in BLOCKS if b.file is not None and b.page.as_posix() == page}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


# --- what is typed --------------------------------------------------------------------------------------------------


def as_typed(page: str) -> str:
    """Every line of a page, and its sweeps without a name.

    The port is one that is free. What serves until Ctrl-C goes into the background, as in a second terminal.
    """
    own = [b for b in BLOCKS if b.page.as_posix() == page]
    script = "\n".join(b.script for b in own if b.kind in SHELLS)
    for block in own:
        if block.kind == "toml" and block.file is None and "runs" in tomllib.loads(block.text):
            script += f"\ncat > unnamed.toml <<'END'\n{block.text}\nEND\ngamesim sweep unnamed.toml"
    port = str(free_port())
    ready = f"until listening {port}; do sleep 0.1; done"
    serves = re.compile(r"(?m)^gamesim llm serve [^#\n]*")
    for line in serves.findall(script):
        asked = line.rstrip() + ("" if "--port" in line else " --port 8000")
        script = script.replace(line, f"{asked} " if asked.endswith("&") else f"{asked} & {ready} ")
    return script.replace("8000", port).replace(".venv/bin/python", "python")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with Shell(tmp_path_factory.mktemp("shell")) as running:
        yield running


@pytest.mark.parametrize("page", [pytest.param(p, marks=[] if p in QUICK else [pytest.mark.slow]) for p in RUN])
def test_every_line_of_a_page_is_run(page: str, shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    for name, text in files(page).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    before = shell.run(BEFORE.get(page, ""), folder)
    assert [str(c) for c in before.commands if c.code] == [], before.said
    script = as_typed(page)
    ran = shell.run(script, folder)
    assert [str(c) for c in ran.commands if not well(c)] == [], ran.said
    assert ran.said == ""
    assert len(ran.commands) == len(calls(script, tmp_path)), "bash came to other commands than the page has"
    answered(page, ran)
    shutil.rmtree(folder)  # pytest keeps the folders of its last runs, and these are large


def test_what_goes_wrong_is_noticed(shell: Shell, tmp_path: Path) -> None:
    script = """
gamesim lists | cat
for game in nothing matrix/shapley; do
    gamesim run $game ftrl --iterations 10 --out $(basename $game) || echo "not $game"
done
no-such-program
gamesim llm serve latent/needle -g boxes=2 --port 0 &
"""
    ran = shell.run(script, tmp_path)
    served = [c for c in ran.commands if c.words[0] == "llm"]
    others = [c for c in ran.commands if c.words[0] != "llm"]
    assert [c.code for c in served if not well(c)] == []  # it may not even have begun
    assert [c.code for c in others] == [2, 2, 0]
    assert [well(c) for c in others] == [False, False, True]
    assert "did you mean list" in others[0].said
    assert "not nothing" in ran.printed
    assert "no-such-program" in ran.said
    assert (tmp_path / "shapley" / "DONE").exists()
    endless = "gamesim run matrix/shapley ftrl --iterations 1000000000 --every 1000000000 --no-fused --out endless"
    assert [c.code for c in shell.run(endless, tmp_path, limit=1).commands] == [124]


def well(command: Command) -> bool:
    """Whether a command ended as the page has it."""
    match command.words:
        case ["llm", "serve", *_]:
            return command.code is None  # until Ctrl-C
        case [*_, "--to", "minari", "--agents", _] if "gamesim[minari]" in command.said:
            return command.code == 2  # an extra that is not here
        case ["run", _, "gradient-descent-ascent", "-s", "step_size=100", *_]:
            return command.code == 1  # shown on the page: it diverges
        case ["run", *words] if "nash-q" in words and "which NashQ needs" in command.said:
            return command.code == 2  # said on the page: others than zero-sum games are refused
    return command.code == 0


def answered(page: str, ran: Ran) -> None:
    """What sessions show was printed, and tables that stand above the lines that printed them have these figures."""
    for block in (b for b in BLOCKS if b.page.as_posix() == page):
        for line in block.answers:
            assert untimed(line) in untimed(ran.printed)
    if page == "docs/how-to-choose.md":
        printed = re.findall(r"(?m)^.+, (.+): (\S+)$", ran.printed)
        tables = [b.line for b in BLOCKS if b.page.as_posix() == page and b.kind in SHELLS]
        written = [x for line in tables for x in figures_above(page, line)]
        assert len(printed) == len(written) > 150
        pairs = [(name, w, p) for w, (name, p) in zip(written, printed, strict=True)]
        assert [x for x in pairs if not alike(*x)] == []


def untimed(text: str) -> str:
    return re.sub(r"[\d.]+ s\b", "... s", text)


def figures_above(page: str, line: int) -> list[str]:
    """The cells of the last table before a line, but for its first two columns, row by row."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()[:line]
    end = max(i for i, text in enumerate(lines) if text.startswith("|"))
    rows = []
    while lines[end].startswith("|"):
        rows.append([cell.strip(" *") for cell in lines[end].strip("|").split("|")][2:])
        end -= 1
    return [cell for row in reversed(rows[:-2]) for cell in row]


def alike(solver: str, written: str, printed: str) -> bool:
    """To a tenth, and what is next to nothing as such: another processor gives other last digits."""
    if not written or printed == "refused":
        return not written and printed == "refused"
    if solver.startswith("independent-ppo"):  # networks in float32: other last digits are another run
        return float(printed) >= 0
    return math.isclose(float(written), float(printed), rel_tol=0.1, abs_tol=1e-9)

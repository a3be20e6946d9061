"""Files of every kind that is read, whole, and who reads them: functions in READERS, commands in COMMANDS.

`whole(folder)` writes one small file of each kind and three folders of runs. The same files stand in the folder in
which commands are tried.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gamesim.benchmarks.fuzzing.trials import Outcome, tried
from gamesim.catalog import load

NFG = 'NFG 1 R "title" { "one" "two" } { 2 2 } "comment"\n1 1 0 2/3 0 2e-1 1 .5\n'
OUTCOMES = 'NFG 1 R "t" { "one" "two" } { { "a" "b" } { "x" "y" } }\n{ { "o" 1, 1 } { "" 0, 2 } }\n1 2 0 1\n'
GAM = "# comment\n2\n2 2\n\n1 0 0 1\n1 2 2 1/3\n"
EFG = """EFG 2 R "t" { "one" "two" } "c"
c "" 1 "deal" { "high" 1/2 "low" 1/2 } 0
p "" 1 1 "sees" { "stay" "go" } 0
t "" 1 "out" { 1, -1 }
p "" 2 1 "asked" { "yes" "no" } 0
t "" 2 "both" { 2, 0 }
t "" 3 "none" { 0.5 1e-1 }
p "" 1 2 "sees" { "stay" "go" } 0
t "" 1
p "" 2 1 0
t "" 2
t "" 0
"""
GRAPHML = """<?xml version='1.0' encoding='utf-8'?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><key id="d0" for="edge" attr.name="weight" attr.type="double"/>
<graph edgedefault="undirected"><node id="a"/><node id="b"/><node id="c"/>
<edge source="a" target="b"><data key="d0">0.5</data></edge><edge source="b" target="c"><data key="d0">1</data></edge>
</graph></graphml>
"""
GML = (
    'graph [ node [ id 0 label "a" ] node [ id 1 label "b" ] node [ id 2 label "c" ]\n'
    "edge [ source 0 target 1 weight 0.5 ] edge [ source 1 target 2 weight 1 ] ]\n"
)
AGENTS = "episode,step,agent,state,action,reward\n" + "".join(
    f"{e},{h},{n},{(e + h + n) % 2},{(e * h + n) % 2},{0.5 * h}\n" for e in range(3) for h in range(3) for n in range(2)
)
LOG = "round,arm,accepted\n" + "".join(f"{t},{arm},{1 + (t + i) % 3}\n" for t in range(4) for i, arm in enumerate("ab"))
LINES = "".join(json.dumps({"round": t, "arm": arm, "accepted": 1 + t % 2}) + "\n" for t in range(3) for arm in "ab")
SWEEP = """iterations = 2
seeds = 2
every = "log"
[[runs]]
game = ["matrix/shapley", "matrix/chicken"]
solver = "ftrl"
s = { step_size = { log = [0.01, 1.0], count = 2 } }
[[runs]]
game = "graphon/sis"
solver = "gmfg-ppo"
iterations = 1
g = { positions = [3, 5], graphon = "exp(1)" }
design = "list"
"""
TEXTS = {
    "game.nfg": NFG,
    "outcomes.nfg": OUTCOMES,
    "game.gam": GAM,
    "game.efg": EFG,
    "graph.csv": "a,b,0.5\nb,c,1\n",
    "graph.graphml": GRAPHML,
    "graph.gml": GML,
    "agents.csv": AGENTS,
    "log.csv": LOG,
    "log.jsonl": LINES,
    "sweep.toml": SWEEP,
}


def whole(folder: Path) -> None:
    """One of each kind, in a folder that is empty."""
    import numpy as np

    from gamesim.formats.agents import read_agents
    from gamesim.making import make
    from gamesim.offline.recording import record_sets

    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    np.savez(folder / "graph.npz", np.array([[0.0, 0.5, 0], [0.5, 0, 1], [0, 1, 0]]))
    read_agents(folder / "agents.csv").save(folder / "agents.npz")
    record_sets([make("sets/spread", agents=2)], ["random"], 2, 0, references=False).save(folder / "sets.npz")
    _transcript(folder / "transcript.jsonl")
    main: Any = load("gamesim.cli:main")
    at = str(folder)
    quick = ["--iterations", "2", "--json"]
    for line in (
        ["run", "graphon/sis", "policy-mirror-descent", "-g", "positions=3", "-g", "horizon=2", "--out", f"{at}/run"],
        ["run", "stochastic/two-state", "policy-gradient", "--out", f"{at}/stochastic-run"],
        ["run", "bandits/bernoulli", "ucb", "--seeds", "2", "--out", f"{at}/bandit-run"],
    ):
        _quietly(main, [*line, *quick])
    _quietly(main, ["fit", f"{at}/agents.csv", "--restarts", "1", "--bootstrap", "0", "--json"])
    for picture in folder.rglob("*.p[nd][gf]"):
        picture.unlink()
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("run")


def _quietly(main: Callable[[list[str]], int], line: list[str]) -> None:
    import contextlib
    import io

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(line)
    if code:
        raise RuntimeError(f"{' '.join(line)}: exit code {code}: {err.getvalue()}")


def _transcript(path: Path) -> None:
    from gamesim.envs.latent.needle import Needle
    from gamesim.planning.language.endpoint import Answer
    from gamesim.planning.language.model import LanguageModel
    from gamesim.planning.language.sessions import header_of
    from gamesim.planning.language.text import system
    from gamesim.planning.language.transcripts import Line, Place, Transcript, hash_of

    world = Needle(boxes=2)
    planner = LanguageModel(base_url="http://127.0.0.1:9/v1")
    made = Transcript(path, header_of(planner, world, system(world, False)))
    made.require_seeds([0])
    made.keep(Place(0, 0, 0, 0), "which?", Line(hash_of("which?"), Answer("ok", "box 1")))
    made.close()


# --- who reads what -------------------------------------------------------------------------------------------------


def _design(path: str) -> Any:
    """The runs of a sweep, where this version has sweeps."""
    return load("gamesim.sweeps.design:read_plan")(Path(path))


def _run(path: str) -> Any:
    from gamesim.records import load_snapshot, read_trace

    return read_trace(Path(path)), load_snapshot(Path(path))


def _transcripts(path: str) -> Any:
    return load("gamesim.planning.language.replay:usage")(path)


READERS: dict[str, tuple[str, ...]] = {
    "gamesim.formats.game_files:read_game_file": ("game.nfg", "outcomes.nfg", "game.gam", "game.efg"),
    "gamesim.formats.graphs:read_graph": ("graph.csv", "graph.graphml", "graph.gml", "graph.npz"),
    "gamesim.formats.agents:read_agents": ("agents.csv", "agents.npz"),
    "gamesim.formats.acceptance:read_acceptance": ("log.csv", "log.jsonl"),
    "gamesim.data:SetData.load": ("sets.npz",),
    "gamesim.formats.set_arrays:read_sets": ("sets.npz",),
    "gamesim.estimation.storage:load_estimate": ("agents.fit.json",),
    "gamesim.benchmarks.fuzzing.files:_transcripts": ("transcript.jsonl",),
    "gamesim.benchmarks.fuzzing.files:_run": (
        "run/config.json",
        "run/trace.csv",
        "run/manifest.json",
        "run/state.safetensors",
        "run/summary.json",
    ),
    "gamesim.benchmarks.fuzzing.files:_design": ("sweep.toml",),
}

SMALL = "-g positions=3 -g horizon=2"
RESUMED = f"run graphon/sis policy-mirror-descent {SMALL} --out run --iterations 3 --resume"
SAMPLED = f"sample graphon/sis {SMALL} --policy run --agents 2 --episodes 1"
TYPED: dict[str, tuple[str, ...]] = {
    "game.nfg": (
        "run game.nfg ftrl --iterations 1",
        "equilibria game.nfg --json",
    ),
    "game.gam": ("certify game.gam --runs 4 --iterations 2",),
    "game.efg": ("run game.efg ftrl --iterations 1 --json",),
    "graph.csv": ("run graphon/sis gmfg-ppo --iterations 1 -g horizon=2 -g graph=graph.csv",),
    "graph.graphml": ("run graphon/sis gmfg-ppo --iterations 1 -g horizon=2 -g graph=graph.graphml",),
    "agents.csv": ("fit agents.csv --restarts 1 --bootstrap 0 --json",),
    "agents.npz": ("fit agents.npz --restarts 1 --bootstrap 0",),
    "agents.fit.json": ("run graphon/fitted gmfg-ppo --iterations 1 -g data=agents.fit.json",),
    "log.csv": ("run bandits/acceptance-log ucb --iterations 2 -g data=log.csv",),
    "sets.npz": (
        "data inspect sets.npz --json",
        "data import sets.npz --out new.npz",
        "run sets/offline bc --iterations 1 -g data=sets.npz -s network=mlp -s batch_size=2",
    ),
    "transcript.jsonl": ("llm usage transcript.jsonl --json",),
    "run/config.json": (
        "draw run",
        RESUMED,
        SAMPLED,
    ),
    "stochastic-run/config.json": ("certify stochastic/two-state --policy stochastic-run",),
    "stochastic-run/state.safetensors": ("certify stochastic/two-state --policy stochastic-run",),
    "run/trace.csv": (
        "draw run bandit-run --json",
        "draw run",
    ),
    "run/summary.json": ("draw run",),
    "run/play.safetensors": ("draw run",),
    "run/manifest.json": (RESUMED,),
    "run/state.safetensors": (SAMPLED,),
    "sweep.toml": (
        "sweep sweep.toml --plan",
        "sweep sweep.toml --plan --json",
    ),
}
COMMANDS = {name: tuple(tuple(line.split()) for line in lines) for name, lines in TYPED.items()}


def reader(name: str) -> Callable[[str], Any]:
    """The function behind a name of READERS."""
    head, _, method = name.partition(":")[2].partition(".")
    found = load(f"{name.partition(':')[0]}:{head}") if not head.startswith("_") else globals()[head]
    call: Callable[[str], Any] = getattr(found, method) if method else found
    return call


def read(name: str, file: Path) -> Outcome:
    """Let the reader of this name read a file, or the folder of the run that it is in."""
    at = str(file.parent) if name.endswith("_run") else str(file)
    return tried(lambda: reader(name)(at))

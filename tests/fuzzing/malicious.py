"""Files made to harm whoever reads them, each with the command that meets it; one process of bounded memory tries all.

    python -m fuzzing.malicious            one line of JSON: verdict, words, CPU seconds and peak memory of each case

Nothing in them does harm on its own: a pickle that is loaded leaves a file `owned` in the folder.
"""

import contextlib
import io
import json
import os
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

Command = Sequence[str]
Case = Callable[[Path], Command]
CASES: dict[str, Case] = {}
RUN = ("run", "graphon/sis", "policy-mirror-descent", "-g", "positions=3", "-g", "horizon=2", "--iterations", "3")
AGAIN = (*RUN, "--out", "run", "--resume")
FIT = ("fit", "--restarts", "1", "--bootstrap", "0")
BANDIT = ("run", "bandits/acceptance-log", "ucb", "--iterations", "1")
PLAIN = ("run", "graphon/sis", "gmfg-ppo", "-g", "horizon=2", "--iterations", "1")


def case(make: Case) -> Case:
    CASES[make.__name__] = make
    return make


def pickled() -> bytes:
    """What runs a command when it is unpickled (protocol 0, written by hand)."""
    return b"cos\nsystem\n(S'touch owned'\ntR."


def npy(shape: str, descr: str = "'<f8'", data: bytes = b"", version: int = 1) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(header)) + header + data


def npz(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def zeros(before: bytes, size: int, gzip: bool = False, fill: bytes = b"\0") -> tuple[bytes, int]:
    """A deflate stream of some bytes and then one byte again and again, made from one block; and its checksum."""
    block = 2**20
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if gzip else -15)
    head = packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    once = packer.compress(fill * block) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + once * (size // block) + b"\x03\x00", zlib.crc32(before)


def bomb(path: Path, name: str, header: bytes, size: int) -> None:
    """An archive whose one member says and holds so many zeros after a header; the file is a thousandth of that."""
    packed, crc = zeros(header, size)
    whole = len(header) + size
    big = struct.pack("<HHQQ", 1, 16, whole, len(packed))
    sizes = struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF)
    said = name.encode()
    local = (
        b"PK\x03\x04"
        + struct.pack("<HHHHHI", 45, 0, 8, 0, 33, crc)
        + sizes
        + struct.pack("<HH", len(said), 20)
        + said
        + big
    )
    entry = (
        b"PK\x01\x02"
        + struct.pack("<HHHHHHI", 45, 45, 0, 8, 0, 33, crc)
        + sizes
        + struct.pack("<HHHHHII", len(said), 20, 0, 0, 0, 0, 0)
        + said
        + big
    )
    start = len(local) + len(packed)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), start, 0)
    path.write_bytes(local + packed + entry + end)


# --- pickles under other names ---------------------------------------------------------------------------------------


def _pickle_as(name: str, *command: str) -> None:
    def make(folder: Path) -> Command:
        (folder / name).write_bytes(pickled())
        return command

    CASES[f"pickle_as_{name.replace('/', '_')}"] = make


for _name, _command in {
    "p.npz": (*FIT, "p.npz"),
    "p.csv": (*FIT, "p.csv"),
    "p.nfg": ("run", "p.nfg", "ftrl"),
    "p.gam": ("equilibria", "p.gam"),
    "p.efg": ("equilibria", "p.efg"),
    "p.graphml": (*PLAIN, "-g", "graph=p.graphml"),
    "p.gml": (*PLAIN, "-g", "graph=p.gml"),
    "p.edges": (*PLAIN, "-g", "graph=p.edges"),
    "g.npz": (*PLAIN, "-g", "graph=g.npz"),
    "s.npz": ("data", "inspect", "s.npz"),
    "l.jsonl": (*BANDIT, "-g", "data=l.jsonl"),
    "t.jsonl": ("llm", "usage", "t.jsonl"),
    "p.fit.json": ("run", "graphon/fitted", "gmfg-ppo", "-g", "data=p.fit.json"),
    "p.toml": ("sweep", "p.toml", "--plan"),
    "run/config.json": (*RUN, "--out", "run", "--resume"),
    "run/trace.csv": ("draw", "run"),
    "w.safetensors": (
        "run",
        "latent/needle",
        "bail",
        "-s",
        "planner=transformer(weights=w.safetensors)",
        "--iterations",
        "1",
    ),
}.items():
    _pickle_as(_name, *_command)


def _objects_in(name: str, inner: str, *command: str) -> None:
    def make(folder: Path) -> Command:
        members = dict.fromkeys(
            ("states.npy", "actions.npy", "rewards.npy", "header.npy", "graph.npy"), npy("(1, 1, 1)", data=b"\0" * 8)
        )
        npz(folder / name, members | {inner: npy("(1,)", "'|O'", pickled())})
        return command

    CASES[f"pickle_inside_{name}"] = make


_objects_in("agents-o.npz", "states.npy", *FIT, "agents-o.npz")
_objects_in("sets-o.npz", "header.npy", "data", "inspect", "sets-o.npz")
_objects_in("graph-o.npz", "graph.npy", *PLAIN, "-g", "graph=graph-o.npz")


@case
def state_of_a_run_is_a_pickle(folder: Path) -> Command:
    """Its hash stands in the manifest, so only its form can tell; the run begins anew from its trace."""
    from gamesim.files import fingerprint

    (folder / "run/state.safetensors").write_bytes(pickled())
    (folder / "run/manifest.json").write_text(json.dumps({"states": [fingerprint(folder / "run/state.safetensors")]}))
    (folder / "run/previous.safetensors").unlink(missing_ok=True)
    return AGAIN


# --- bombs -----------------------------------------------------------------------------------------------------------


@case
def npz_of_ten_gigabytes_of_zeros(folder: Path) -> Command:
    n = 10 * 2**30 // 8
    bomb(folder / "b.npz", "states.npy", npy(f"(1, 1, {n})"), 10 * 2**30)
    with zipfile.ZipFile(folder / "b.npz", "a") as archive:
        for name in ("actions", "rewards"):
            archive.writestr(f"{name}.npy", npy("(1, 1, 1)", data=b"\0" * 8))
    return (*FIT, "b.npz")


@case
def sets_of_ten_gigabytes_of_zeros(folder: Path) -> Command:
    bomb(folder / "b.npz", "tokens.npy", npy(f"({10 * 2**30 // 8},)"), 10 * 2**30)
    return "data", "inspect", "b.npz"


@case
def graph_of_ten_gigabytes_of_zeros(folder: Path) -> Command:
    bomb(folder / "b.npz", "a.npy", npy("(36635, 36635)"), 10 * 2**30)
    return (*PLAIN, "-g", "graph=b.npz")


@case
def graph_just_below_the_limit_but_of_too_many_nodes(folder: Path) -> Command:
    bomb(folder / "b.npz", "a.npy", npy("(10240, 10240)"), 800 * 2**20)
    return (*PLAIN, "-g", "graph=b.npz")


@case
def npz_that_says_less_than_it_holds(folder: Path) -> Command:
    bomb(folder / "b.npz", "states.npy", npy("(1, 1, 1)"), 4 * 2**30)
    with zipfile.ZipFile(folder / "b.npz", "a") as archive:
        for name in ("actions", "rewards"):
            archive.writestr(f"{name}.npy", npy("(1, 1, 1)", data=b"\0" * 8))
    return (*FIT, "b.npz")


@case
def npz_of_many_members(folder: Path) -> Command:
    with zipfile.ZipFile(folder / "b.npz", "w") as archive:
        for i in range(20_000):
            archive.writestr(f"{i}.npy", b"")
    return (*FIT, "b.npz")


@case
def npz_whose_members_overlap(folder: Path) -> Command:
    npz(
        folder / "b.npz", {f"{name}.npy": npy("(1, 1, 1)", data=b"\0" * 8) for name in ("states", "actions", "rewards")}
    )
    data = (folder / "b.npz").read_bytes()
    at = data.index(b"PK\x01\x02")
    entry_at = data.index(b"PK\x01\x02", at + 4)
    second = bytearray(data[entry_at:])
    second[42:46] = struct.pack("<I", 0)  # the second entry points at the first member
    (folder / "b.npz").write_bytes(data[:entry_at] + bytes(second))
    return (*FIT, "b.npz")


@case
def gzip_of_one_endless_line(folder: Path) -> Command:
    (folder / "b.csv.gz").write_bytes(zeros(b"", 8 * 2**30, gzip=True)[0])
    return (*FIT, "b.csv.gz")


@case
def gzip_of_endless_empty_lines(folder: Path) -> Command:
    (folder / "b.csv.gz").write_bytes(
        zeros(b"episode,step,agent,state,action,reward\n", 4 * 2**30, gzip=True, fill=b"\n")[0]
    )
    return (*FIT, "b.csv.gz")


@case
def gzip_within_gzip(folder: Path) -> Command:
    inner = zlib.compress(zeros(b"", 2**30, gzip=True)[0], wbits=31)
    (folder / "b.csv.gz").write_bytes(inner)
    return (*FIT, "b.csv.gz")


@case
def npz_with_a_compression_of_its_own(folder: Path) -> Command:
    with zipfile.ZipFile(folder / "b.npz", "w", zipfile.ZIP_LZMA) as archive:
        for name in ("states", "actions", "rewards"):
            archive.writestr(f"{name}.npy", npy("(1, 1, 1)", data=b"\0" * 8))
    return (*FIT, "b.npz")


# --- sizes that are declared -----------------------------------------------------------------------------------------


def _text(name: str, file: str, text: str | bytes, *command: str) -> None:
    def make(folder: Path) -> Command:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(text if isinstance(text, bytes) else text.encode())
        return command

    CASES[name] = make


DEEP = 100_000
LOL = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "lol"}">' for i in range(12))
XML = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="undirected">{}</graph></graphml>'
NODES = '<node id="a"/><node id="{}"/><edge source="a" target="{}"/>'

_text(
    "nfg_of_a_billion_actions", "g.nfg", 'NFG 1 R "" { "a" "b" } { 1000000000 1000000000 }\n1 2', "equilibria", "g.nfg"
)
_text(
    "nfg_of_a_thousand_digits", "g.nfg", 'NFG 1 R "" { "a" "b" } { ' + "9" * 1000 + " 2 }\n1 2", "run", "g.nfg", "ftrl"
)
_text(
    "nfg_of_sixty_players", "g.nfg", 'NFG 1 R "" { ' + '"p" ' * 60 + "} { " + "2 " * 60 + "}\n1", "run", "g.nfg", "ftrl"
)
_text("nfg_of_a_number_of_a_million_digits", "g.nfg", 'NFG 1 R "" { "a" } { 1 }\n' + "7" * 10**6, "equilibria", "g.nfg")
_text("nfg_of_a_huge_exponent", "g.nfg", 'NFG 1 R "" { "a" } { 1 }\n1e-999999999', "equilibria", "g.nfg")
_text("nfg_of_a_name_without_end", "g.nfg", 'NFG 1 R "' + '\\"' * 2_000_000, "run", "g.nfg", "ftrl")
_text("nfg_of_a_billion_outcomes", "g.nfg", 'NFG 1 R "" { "a" } { 1 } { { "" 1 } } 1000000000', "run", "g.nfg", "ftrl")
_text("nfg_with_nul", "g.nfg", 'NFG 1 R "a\0b" { "a\0" } { 1 }\n\0', "equilibria", "g.nfg")
_text("gam_of_a_billion_players", "g.gam", "1000000000\n2 2 2", "run", "g.gam", "ftrl")
_text("gam_of_a_billion_actions", "g.gam", "2\n999999999 999999999\n1", "run", "g.gam", "ftrl")
_text("gam_of_five_megabytes_of_comments", "g.gam", "//\n" * 1_700_000, "run", "g.gam", "ftrl")
_text(
    "efg_of_two_to_the_sixty_strategies",
    "g.efg",
    'EFG 2 R "" { "a" "b" }\n'
    + "".join(
        f'c "" {i + 1} "" {{ "l" 1/2 "r" 1/2 }} 0 p "" 1 {i + 1} "" {{ "x" "y" }} 0 t "" 0 t "" 0\n' for i in range(60)
    )
    + 't "" 0\n',
    "equilibria",
    "g.efg",
)
_text(
    "efg_of_chances_of_many_digits",
    "g.efg",
    'EFG 2 R "" { "a" }\n'
    + "".join(
        f'c "" {i + 1} "" {{ "l" 1/{10**3000 + i} "r" {10**3000 + i - 1}/{10**3000 + i} }} 0 t "" 0\n'
        for i in range(200)
    )
    + 't "" 0\n',
    "equilibria",
    "g.efg",
)
_text(
    "efg_of_many_nodes",
    "g.efg",
    'EFG 2 R "" { "a" }\n' + 'p "" 1 1 "" { "x" } 0\n' + 'p "" 1 1 0\n' * 200_000,
    "equilibria",
    "g.efg",
)
_text("safetensors_of_a_huge_header", "run/play.safetensors", struct.pack("<Q", 2**60) + b"{}", "draw", "run")
_text(
    "policy_of_a_huge_tensor",
    "run/play.safetensors",
    (lambda header: struct.pack("<Q", len(header)) + header)(
        json.dumps({"policy": {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]}}).encode()
    ),
    "draw",
    "run",
)
_text(
    "trace_of_a_huge_iteration",
    "run/trace.csv",
    "iteration,seed,metric,value\n" + "9" * 5000 + ",0,exploitability,1\n",
    "draw",
    "run",
)
_text("log_of_a_huge_round", "l.csv", "round,arm,accepted\n" + "9" * 400 + ",a,1\n", *BANDIT, "-g", "data=l.csv")
_text(
    "agents_of_a_huge_state",
    "a.csv",
    "episode,step,agent,state,action,reward,next_state\n0,0,0,1e300,0,0,0\n",
    *FIT,
    "a.csv",
)
_text(
    "agents_of_a_billion_states",
    "a.csv",
    "episode,step,agent,state,action,reward,next_state\n0,0,0,1000000000,0,0,0\n",
    *FIT,
    "a.csv",
)
_text("gml_of_a_billion_ids", "g.gml", "graph [ node [ id " + "9" * 5000 + " ] ]", *PLAIN, "-g", "graph=g.gml")
_text(
    "sweep_of_a_billion_runs",
    "s.toml",
    "seeds = 1000000\n[[runs]]\ngame = 'matrix/shapley'\nsolver = 'ftrl'\n"
    "s = { step_size = { log = [0.1, 1], count = 1000000000 } }\n",
    "sweep",
    "s.toml",
    "--plan",
)

# --- entities, depth, lines, encodings -------------------------------------------------------------------------------

_text(
    "graphml_of_billion_laughs",
    "g.graphml",
    f"<!DOCTYPE g [{LOL}]>" + XML.format(NODES.format("&l11;", "&l11;")),
    *PLAIN,
    "-g",
    "graph=g.graphml",
)
_text(
    "graphml_of_billion_laughs_in_utf16",
    "g.graphml",
    (f"<!DOCTYPE g [{LOL}]>" + XML.format("&l11;")).encode("utf-16"),
    *PLAIN,
    "-g",
    "graph=g.graphml",
)
_text(
    "graphml_of_an_external_entity",
    "g.graphml",
    '<!DOCTYPE g [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + XML.format(NODES.format("&x;", "&x;")),
    *PLAIN,
    "-g",
    "graph=g.graphml",
)
_text(
    "graphml_of_an_external_dtd",
    "g.graphml",
    '<!DOCTYPE g SYSTEM "http://127.0.0.1:9/x.dtd">' + XML.format(NODES.format("b", "b")),
    *PLAIN,
    "-g",
    "graph=g.graphml",
)
_text(
    "graphml_of_deep_elements",
    "g.graphml",
    XML.format("<data>" * DEEP + "</data>" * DEEP),
    *PLAIN,
    "-g",
    "graph=g.graphml",
)
_text(
    "graphml_of_an_attribute_of_ten_megabytes",
    "g.graphml",
    XML.format(f'<node id="{"x" * 10**7}"/>'),
    *PLAIN,
    "-g",
    "graph=g.graphml",
)
_text("gexf_is_not_read", "g.gexf", f"<!DOCTYPE g [{LOL}]><gexf>&l11;</gexf>", *PLAIN, "-g", "graph=g.gexf")
_text("gml_of_deep_lists", "g.gml", "graph [ a [ " * DEEP, *PLAIN, "-g", "graph=g.gml")
_text("json_of_a_run_deep", "run/config.json", "[" * DEEP, "draw", "run")
_text(
    "json_of_an_estimate_deep",
    "d.fit.json",
    '{"a":' * DEEP,
    "run",
    "graphon/fitted",
    "gmfg-ppo",
    "-g",
    "data=d.fit.json",
)
_text("json_lines_deep", "l.jsonl", "[" * DEEP + "\n", *BANDIT, "-g", "data=l.jsonl")
_text("transcript_deep", "t.jsonl", '{"type": "header", "version": ' + "[" * DEEP + "\n", "llm", "usage", "t.jsonl")
_text("toml_deep", "s.toml", "a = " + "[" * DEEP, "sweep", "s.toml", "--plan")
_text("toml_of_dotted_keys", "s.toml", "a" + ".a" * 50_000 + " = 1", "sweep", "s.toml", "--plan")
_text(
    "number_of_json_of_a_million_digits",
    "d.fit.json",
    '{"a": ' + "9" * 10**6 + "}",
    "run",
    "graphon/fitted",
    "gmfg-ppo",
    "-g",
    "data=d.fit.json",
)
_text("edges_in_one_line_of_ten_megabytes", "g.edges", b"a," * (5 * 10**6), *PLAIN, "-g", "graph=g.edges")
_text("agents_in_one_line_of_ten_megabytes", "a.csv", b"a," * (5 * 10**6), *FIT, "a.csv")
_text("log_in_one_line_of_ten_megabytes", "l.csv", b"a," * (5 * 10**6), *BANDIT, "-g", "data=l.csv")
_text(
    "trace_in_one_line_of_ten_megabytes",
    "run/trace.csv",
    b"iteration,seed,metric,value\n" + b"1," * (5 * 10**6) + b"\n",
    "draw",
    "run",
)
_text(
    "transcript_in_one_line_of_ten_megabytes",
    "t.jsonl",
    b'{"type": "header", "x": "' + b"x" * 10**7 + b'"}\n',
    "llm",
    "usage",
    "t.jsonl",
)
_text("nul_in_edges", "g.edges", b"a\0,b\nb,c\n", *PLAIN, "-g", "graph=g.edges", "-g", "positions=\0")
_text("nul_in_agents", "a.csv", b"episode,step,agent,state,action,reward\n0,0,0,\0,0,0\n", *FIT, "a.csv")


@case
def npz_of_a_shape_beyond_integers(folder: Path) -> Command:
    npz(
        folder / "a.npz",
        {f"{name}.npy": npy("(4611686018427387904, 4, 4)") for name in ("states", "actions", "rewards")},
    )
    return (*FIT, "a.npz")


@case
def npz_of_a_header_of_python(folder: Path) -> Command:
    npz(folder / "a.npz", {"states.npy": npy("(" * 20_000, version=2), "actions.npy": b"", "rewards.npy": b""})
    return (*FIT, "a.npz")


@case
def graphml_of_a_comment_of_ten_megabytes(folder: Path) -> Command:
    (folder / "g.graphml").write_text(XML.format(f"<!--{'x' * 10**7}-->" + NODES.format("b", "b")))
    return (*PLAIN, "-g", "graph=g.graphml")


@case
def graph_of_a_sparse_shape_beyond_memory(folder: Path) -> Command:
    import numpy as np

    parts = {
        "format": np.array(b"csr"),
        "shape": np.array([2**40, 2**40]),
        "data": np.ones(1),
        "indices": np.zeros(1, int),
        "indptr": np.zeros(1, int),
    }
    np.savez(folder / "g.npz", **parts)
    return (*PLAIN, "-g", "graph=g.npz")


@case
def graph_of_sparse_indices_out_of_range(folder: Path) -> Command:
    import numpy as np

    parts = {
        "format": np.array(b"csr"),
        "shape": np.array([2, 2]),
        "data": np.ones(1),
        "indices": np.array([10**9]),
        "indptr": np.array([0, 1, 1]),
    }
    np.savez(folder / "g.npz", **parts)
    return (*PLAIN, "-g", "graph=g.npz")


@case
def state_that_claims_a_trillion_iterations(folder: Path) -> Command:
    """Nothing may count up to it: the run has no trace that leads there, so the state is passed over."""
    from gamesim.files import fingerprint

    path = folder / "run/state.safetensors"
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"]["iteration"] = str(10**12)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    (folder / "run/previous.safetensors").unlink(missing_ok=True)
    (folder / "run/manifest.json").write_text(json.dumps({"states": [fingerprint(path)]}))
    return AGAIN


# --- names that lead elsewhere ---------------------------------------------------------------------------------------


def _typed(name: str, *command: str) -> None:
    CASES[name] = lambda folder: command


_typed("name_with_path_parts", *RUN, "--name", "../../../tmp/owned")
_typed("name_that_windows_keeps_for_itself", *RUN, "--name", "nul.txt")
_typed("name_that_is_hidden", *RUN, "--name", ".ssh")
_typed("folder_that_is_a_link", *RUN, "--out", "link")
_typed("game_that_is_a_module_of_the_system", "run", "subprocess:Popen", "ftrl")
_typed("game_that_is_a_path", "describe", "../../etc/passwd")
_typed("solver_that_is_a_function", "run", "matrix/shapley", "os:system")
_typed("list_of_a_hundred_thousand_brackets", "run", "bandits/bernoulli", "ucb", "-g", "means=" + "[" * DEEP)
_typed(
    "choice_of_a_hundred_thousand_parentheses", "run", "graphon/sis", "gmfg-ppo", "-s", "step_size=" + "power(" * DEEP
)
_typed("graph_that_never_ends", *PLAIN, "-g", "graph=/dev/zero")
_typed("game_that_never_ends", "run", "matrix/file", "ftrl", "-g", "file=/dev/zero")
_typed("agents_that_never_end", *FIT, "/dev/zero")
_typed("sets_that_never_end", "data", "inspect", "/dev/zero")
_typed("log_that_never_ends", *BANDIT, "-g", "data=/dev/zero")
_typed("transcript_that_never_ends", "llm", "usage", "/dev/zero")
_typed("sweep_that_never_ends", "sweep", "/dev/zero", "--plan")
_typed("estimate_that_never_ends", "run", "graphon/fitted", "gmfg-ppo", "-g", "data=/dev/zero")


@case
def game_in_a_pipe_that_nobody_fills(folder: Path) -> Command:
    os.mkfifo(folder / "g.nfg")
    return "run", "g.nfg", "ftrl"


@case
def sweep_in_a_pipe_that_nobody_fills(folder: Path) -> Command:
    os.mkfifo(folder / "p.toml")
    return "sweep", "p.toml", "--plan"


def _link(name: str, to: str, *command: str) -> None:
    def make(folder: Path) -> Command:
        (folder / name).unlink()
        (folder / name).symlink_to(to)
        return command

    CASES[f"link_{name.replace('/', '_')}_to{to.replace('/', '_')}"] = make


_link("run/config.json", "/dev/zero", *RUN, "--out", "run", "--resume")
_link("run/trace.csv", "/dev/zero", "draw", "run")
_link("run/trace.csv", "/etc/passwd", "draw", "run")
_link("run/manifest.json", "/dev/zero", *AGAIN)
_link("run/state.safetensors", "/dev/zero", *AGAIN)


@case
def policy_of_a_run_whose_configuration_names_a_module(folder: Path) -> Command:
    (folder / "evil.py").write_text("open('owned', 'w')\nclass Solver: pass\n")
    config = json.loads((folder / "stochastic-run/config.json").read_text())
    config["solver"]["id"] = "evil:Solver"
    (folder / "stochastic-run/config.json").write_text(json.dumps(config))
    return "certify", "stochastic/two-state", "--policy", "stochastic-run"


PASSED_OVER = {
    "state_of_a_run_is_a_pickle",
    "state_that_claims_a_trillion_iterations",
    "link_run_manifest.json_to_dev_zero",
    "link_run_state.safetensors_to_dev_zero",
}
"""A state that cannot be trusted is passed over, and the run goes on from an earlier one or from its beginning."""

# --- the child -------------------------------------------------------------------------------------------------------

GIGABYTES = 4.0


def peak() -> int:
    """MB of memory at most since `forget`."""
    return (
        next(
            int(line.split()[1])
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )
        // 1024
    )


def forget() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def main(names: Sequence[str]) -> None:
    import torch

    from gamesim.benchmarks.fuzzing import child, files
    from gamesim.benchmarks.fuzzing.sandbox import Sandbox

    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as top:
        pristine = Path(top) / "pristine"
        pristine.mkdir()
        with contextlib.redirect_stdout(io.StringIO()):
            files.whole(pristine)
        child.bounded(GIGABYTES)
        for name in names or CASES:
            work = Sandbox(pristine, Path(top) / "work")
            command = CASES[name](work.folder)
            work.look()
            forget()
            before, started = peak(), time.process_time()
            outcome = work.command(list(command))
            owned = any((at / "owned").exists() for at in (work.folder, Path(top), Path.cwd(), Path("/tmp")))
            found[name] = {
                "verdict": "owned" if owned else outcome.verdict,
                "words": outcome.words,
                "seconds": round(time.process_time() - started, 2),
                "megabytes": peak() - before,
            }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])

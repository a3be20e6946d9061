"""Networks as graphons: every format there and back, every refusal, averages over blocks, and large sparse ones."""

import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from scipy import sparse

from gamesim.envs import SIS, Beach
from gamesim.errors import InvalidInput
from gamesim.formats import graphs
from gamesim.formats.graphs import read_graph
from gamesim.graphons import BlockGraphon, Empirical, Sparse, Step, UniformAttachment

LIKE: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}


def by_degree(adjacency: np.ndarray) -> np.ndarray:
    order = np.argsort(-adjacency.sum(0), kind="stable")
    return adjacency[np.ix_(order, order)]


def dense(graphon: Any) -> np.ndarray:
    return np.asarray(graphon.adjacency.toarray())


def a_network(weighted: bool = False) -> nx.Graph:
    """Twelve nodes in a fixed order, none without an edge."""
    graph = nx.Graph()
    rng = np.random.default_rng(3)
    graph.add_nodes_from(f"n{i}" for i in range(12))
    graph.add_edges_from((f"n{i}", f"n{(i + 1) % 12}") for i in range(12))
    graph.add_edges_from((f"n{i}", f"n{j}") for i in range(12) for j in range(i + 2, 12) if rng.random() < 0.3)
    if weighted:
        for _, _, data in graph.edges(data=True):
            data["weight"] = round(float(rng.uniform(0.05, 1)), 6)
    return graph


def edge_lines(graph: nx.Graph, separator: str) -> str:
    lines = ["# a comment, and an empty line", ""]
    for u, v, w in graph.edges(data="weight"):
        lines.append(separator.join([u, v] if w is None else [u, v, repr(w)]))
    return "\n".join([*lines[:4], "  # another", *lines[4:]]) + "\n"


def write_npz_sparse(graph: nx.Graph, path: Path, kind: str = "csr") -> None:
    sparse.save_npz(path, nx.to_scipy_sparse_array(graph).asformat(kind))


WRITERS: dict[str, Callable[[nx.Graph, Path], Any]] = {
    "spaces.txt": lambda g, p: p.write_text(edge_lines(g, " ")),
    "tabs.txt": lambda g, p: p.write_text(edge_lines(g, "\t")),
    "commas.txt": lambda g, p: p.write_text(edge_lines(g, ", ")),
    "a.edges": lambda g, p: p.write_text(edge_lines(g, "   ")),
    "a.edgelist": lambda g, p: p.write_bytes(edge_lines(g, " ").replace("\n", "\r\n").encode("utf-8-sig")),
    "a.CSV": lambda g, p: p.write_text(edge_lines(g, ",")),
    "a.tsv": lambda g, p: p.write_text(edge_lines(g, "\t")),
    "a.graphml": nx.write_graphml,
    "a.gml": nx.write_gml,
    "csr.npz": write_npz_sparse,
    "csc.npz": lambda g, p: write_npz_sparse(g, p, "csc"),
    "coo.npz": lambda g, p: write_npz_sparse(g, p, "coo"),
    "dense.npz": lambda g, p: np.savez_compressed(p, network=nx.to_numpy_array(g)),
    "named.npz": lambda g, p: np.savez(p, nx.to_numpy_array(g)),
}


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_there_and_back(name: str, weighted: bool, tmp_path: Path) -> None:
    graph = a_network(weighted)
    WRITERS[name](graph, tmp_path / name)
    nodes = list(graph)
    if Path(name).suffix.lower() in (".txt", ".edges", ".edgelist", ".csv", ".tsv"):
        nodes = list(dict.fromkeys(node for edge in graph.edges() for node in edge))  # in the order of the file
    found = read_graph(str(tmp_path / name))
    assert isinstance(found, Empirical)
    assert str(found) == name
    np.testing.assert_array_equal(dense(found), by_degree(nx.to_numpy_array(graph, nodelist=nodes)))


def test_one_file_is_one_game_in_every_format(tmp_path: Path) -> None:
    graph = a_network(weighted=True)
    gaps = []
    for name, write in WRITERS.items():
        write(graph, tmp_path / name)
        game = Beach(graph=str(tmp_path / name), horizon=4)
        gaps.append(float(game.exploitability(game.start())))
    assert np.ptp(gaps) < 1e-12


def test_both_directions_listed_are_one_edge(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b,.5\nb,c,1\nb,a,0.50\nc,b,1.0\n")
    np.testing.assert_array_equal(dense(read_graph(str(tmp_path / "a.csv"))), [[0, 1, 0.5], [1, 0, 0], [0.5, 0, 0]])
    symmetric = nx.DiGraph(a_network())
    for name, write in (("a.graphml", nx.write_graphml), ("a.gml", nx.write_gml)):
        write(symmetric, tmp_path / name)
        np.testing.assert_array_equal(
            dense(read_graph(str(tmp_path / name))), by_degree(nx.to_numpy_array(a_network()))
        )


def test_nodes_without_edges_are_kept_and_feel_nothing(tmp_path: Path) -> None:
    graph = nx.path_graph(3)
    graph.add_node(7)
    nx.write_gml(graph, tmp_path / "a.gml")
    game = SIS(graph=str(tmp_path / "a.gml"), horizon=3)
    assert len(game.grid) == 4
    assert game.aggregate(game.flow(game.start()))[:, 3].abs().max() == 0


# --- the built-in networks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "make", "nodes", "edges"),
    [("karate-club", nx.karate_club_graph, 34, 78), ("les-miserables", nx.les_miserables_graph, 77, 254)],
)
def test_the_aggregate_of_ones_is_the_degree(name: str, make: Callable[[], nx.Graph], nodes: int, edges: int) -> None:
    game = SIS(graph=name, horizon=3)
    degrees = sorted((degree for _, degree in make().degree()), reverse=True)
    assert (len(game.grid), sum(degrees)) == (nodes, 2 * edges)
    assert game.grid.rule == "block"
    found = game.operators[0](torch.ones(nodes, 1, dtype=torch.float64)).squeeze(-1) * nodes
    torch.testing.assert_close(found, torch.tensor(degrees, dtype=torch.float64), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(game.degrees[0].squeeze(-1) * nodes, found)
    gap = game.exploitability(game.start())
    assert bool(gap > 0)


def test_a_network_on_another_grid_is_the_same_step_function() -> None:
    club = read_graph("karate-club")
    assert isinstance(club, Empirical)
    own = club.grid("block", None, **LIKE)
    fine = club.grid("midpoint", 34 * 5, **LIKE)
    mass = torch.rand(34, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    coarse = club.operator(own)(mass)
    for form in ("dense", "sparse", "step", "auto"):
        found = club.operator(fine, form)(mass.repeat_interleave(5, 0))  # type: ignore[arg-type]
        torch.testing.assert_close(found, coarse.repeat_interleave(5, 0), rtol=1e-12, atol=1e-12)


# --- blocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [1, 2, 5, 11, 12])
def test_blocks_are_averages(blocks: int, tmp_path: Path) -> None:
    write_npz_sparse(a_network(weighted=True), tmp_path / "a.npz")
    found = read_graph(str(tmp_path / "a.npz"), blocks=blocks)
    assert isinstance(found, BlockGraphon)
    parts = np.split(
        by_degree(nx.to_numpy_array(a_network(weighted=True))), [12 * b // blocks for b in range(1, blocks)]
    )
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    cells = [np.split(part, np.cumsum(sizes)[:-1], axis=1) for part in parts]
    np.testing.assert_allclose(found.values, [[cell.mean() for cell in row] for row in cells], rtol=1e-14, atol=0)
    np.testing.assert_allclose(found.cuts, np.cumsum(sizes)[:-1] / 12, rtol=1e-15)
    game = SIS(graph=str(tmp_path / "a.npz"), blocks=blocks, horizon=3)
    assert len(game.grid) == blocks
    np.testing.assert_allclose(game.grid.weights, np.array(sizes) / 12, rtol=1e-12)


def test_one_block_per_node_is_the_network() -> None:
    nodes, blocks = SIS(graph="karate-club", horizon=5), SIS(graph="karate-club", blocks=34, horizon=5)
    torch.testing.assert_close(nodes.exploitability(nodes.start()), blocks.exploitability(blocks.start()))


@pytest.mark.parametrize("blocks", [35, 10**9])
def test_more_blocks_than_nodes_are_refused(blocks: int) -> None:
    with pytest.raises(InvalidInput, match=r"blocks: got .*, expected 1 to 34"):
        SIS(graph="karate-club", blocks=blocks)


# --- large networks -------------------------------------------------------------------------------------------------


def a_large_network(nodes: int, edges: int) -> sparse.csr_matrix:
    rng = np.random.default_rng(0)
    i, j = rng.integers(0, nodes, (2, edges))
    upper = sparse.coo_matrix((np.ones(edges), (np.minimum(i, j), np.maximum(i, j))), shape=(nodes, nodes)).tocsr()
    upper.data[:] = 1
    upper.setdiag(0)
    upper.eliminate_zeros()
    return sparse.csr_matrix(upper + upper.T)


def test_twenty_thousand_nodes(tmp_path: Path) -> None:
    """More positions than a dense operator may have: nothing n x n is built, and blocks work."""
    nodes = 20_001
    A = a_large_network(nodes, 60_000)
    sparse.save_npz(tmp_path / "a.npz", A)
    game = SIS(graph=str(tmp_path / "a.npz"), horizon=3)
    assert isinstance(game.operators[0], Sparse)
    degrees = np.sort(np.asarray(A.sum(0)).ravel())[::-1]
    np.testing.assert_allclose(game.degrees[0].squeeze(-1) * nodes, degrees, rtol=1e-12)
    flow = game.flow(game.start())
    torch.testing.assert_close(flow.sum(-1), torch.ones(3, nodes, dtype=torch.float64))
    order = np.argsort(-np.asarray(A.sum(0)).ravel(), kind="stable")
    wanted = A[order][:, order] @ flow[1].numpy() / nodes
    np.testing.assert_allclose(game.aggregate(flow)[1], wanted, rtol=1e-12, atol=1e-15)
    assert bool(game.exploitability(game.start()) >= 0)
    blocks = SIS(graph=str(tmp_path / "a.npz"), blocks=50, horizon=3)
    assert len(blocks.grid) == 50
    some = SIS(graph=str(tmp_path / "a.npz"), positions=300, horizon=3)
    assert len(some.grid) == 300
    for operator in ("dense", "step", "low-rank", "prefix-sum"):
        with pytest.raises(InvalidInput, match=r"operator: got .* expected a form that a\.npz has here: sparse"):
            SIS(graph=str(tmp_path / "a.npz"), horizon=3, operator=operator)  # type: ignore[arg-type]


def test_sparse_is_dense_and_has_a_gradient() -> None:
    network = Empirical(a_large_network(500, 2000))
    grid = network.grid("block", None, **LIKE)
    columns = torch.rand(
        2, 3, 500, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    assert isinstance(network.operator(grid), Sparse)
    found, wanted = (network.operator(grid, form)(columns) for form in ("sparse", "dense"))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-15)
    (slope,) = torch.autograd.grad(found.square().sum(), columns, retain_graph=True)
    torch.testing.assert_close(slope, torch.autograd.grad(wanted.square().sum(), columns)[0], rtol=1e-12, atol=1e-15)
    assert isinstance(network.operator(grid, "step"), Step)


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    A = nx.to_numpy_array(a_network())
    for own in (A, A.tolist(), sparse.csr_matrix(A), sparse.coo_array(A), A.astype(bool), A.astype("float32")):
        game = SIS(graphon=Empirical(own), quadrature="block", horizon=3)
        assert len(game.grid) == 12
        np.testing.assert_array_equal(dense(game.graphons[0]), A)
    varying = SIS(graphon=(Empirical(A), UniformAttachment(), Empirical(A[:7, :7])), positions=24, horizon=3)
    assert len(varying.operators) == 3
    assert bool(varying.exploitability(varying.start()) > 0)


# --- refusals -------------------------------------------------------------------------------------------------------

GRAPHML = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">{}</graphml>'
ONE_EDGE = '<graph edgedefault="undirected"><node id="a"/><node id="b"/><edge source="a" target="b"/>{}</graph>'
ENTITY = '<?xml version="1.0"?><!DOCTYPE g [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
WEIGHT = '<key id="w" for="edge" attr.name="weight" attr.type="string"/>'
GML = 'graph [ {} node [ id 0 label "a" ] node [ id 1 label "b" ] {} ]'

TEXTS = {
    "empty.txt": ("", "at least one edge"),
    "comments.txt": ("# nothing\n\n", "at least one edge"),
    "one-column.txt": ("a\nb\n", "line 1: a', expected two columns of nodes"),
    "four.csv": ("a,b,1,2\n", "line 1: .* expected two columns"),
    "ragged.csv": ("a,b\nb,c,1\n", "line 2: .* expected 2 columns as before"),
    "lost-weight.csv": ("a,b,1\nb,c\n", "line 2: .* expected 3 columns as before"),
    "hole.csv": ("a,,1\n", "line 1: .* expected two columns"),
    "header.csv": ("Source,Target\n1,2\n", "line 1: .* a header line begins with #"),
    "names.csv": ("person,friend\n1,2\n2,3\n", "line 1: .* a header line begins with #"),
    "weights.csv": ("from;to\n1;2\n", "line 1: .* expected two columns"),
    "header3.csv": ("a,b,weight\n1,2,1\n", "line 1: .* a number as weight"),
    "networkx.edgelist": ("1 2 {}\n", "line 1: .* a number as weight"),
    "loop.txt": ("a b\nb b\n", "line 2: b b', expected no self-loops"),
    "twice.txt": ("a b\nb c\na b\n", "the edge a b twice', expected no parallel edges"),
    "half.txt": ("a b\nb a\nb c\n", "the edge a b both ways but b c one way', expected an undirected network"),
    "unequal.txt": ("a b 1\nb a .5\n", "the edge a b with another weight each way"),
    "large.txt": (
        "a b 1\nb c 7\n",
        "weights from 1 to 7', expected weights between 0 and 1: divide them by the largest",
    ),
    "negative.txt": ("a b 1\nb c -1\n", "weights from -1 to 1"),
    "nan.txt": ("a b 1\nb c nan\n", "not finite"),
    "inf.txt": ("a b 1\nb c inf\n", "not finite"),
    "zero.txt": ("a b 0\n", "no edges"),
    "binary.txt": (b"\xff\xfe\x00\x01", "UTF-8"),
    "broken.graphml": ("<graphml><graph", "expected a GraphML file"),
    "text.graphml": ("1 2\n", "expected a GraphML file"),
    "entities.graphml": (ENTITY + GRAPHML.format(ONE_EDGE), "DOCTYPE"),
    "utf16.graphml": ((ENTITY.replace("?>", ' encoding="utf-16"?>') + GRAPHML.format("")).encode("utf-16"), "DOCTYPE"),
    "none.graphml": (GRAPHML.format(""), "0 graphs"),
    "two.graphml": (GRAPHML.format(ONE_EDGE.format("") * 2), "2 graphs', expected one graph"),
    "deep.graphml": (GRAPHML.format("<a>" * 100_000 + "</a>" * 100_000), "deep"),
    "no-edges.graphml": (
        GRAPHML.format('<graph edgedefault="undirected"><node id="a"/></graph>'),
        "1 nodes and 0 edges",
    ),
    "directed.graphml": (GRAPHML.format(ONE_EDGE.replace("undirected", "directed").format("")), "a b one way"),
    "parallel.graphml": (
        GRAPHML.format(ONE_EDGE.format('<edge source="b" target="a"/>')),
        "expected no parallel edges",
    ),
    "loop.graphml": (GRAPHML.format(ONE_EDGE.format('<edge source="a" target="a"/>')), "node a joined to itself"),
    "words.graphml": (
        GRAPHML.format(WEIGHT + ONE_EDGE.replace("/>{}", '><data key="w">heavy</data></edge>')),
        "the weight heavy', expected numbers",
    ),
    "broken.gml": ("graph [ node [", "expected a GML file"),
    "text.gml": ("hello", "expected a GML file"),
    "none.gml": ("", "expected a GML file"),
    "directed.gml": (GML.format("directed 1", "edge [ source 0 target 1 ]"), "0 1 one way"),
    "duplicated.gml": (GML.format("", "edge [ source 0 target 1 ] edge [ source 1 target 0 ]"), "duplicated"),
    "parallel.gml": (
        GML.format("multigraph 1", "edge [ source 0 target 1 ] edge [ source 1 target 0 ]"),
        "no parallel edges",
    ),
    "loop.gml": (GML.format("", "edge [ source 0 target 0 ]"), "joined to itself"),
    "some.gml": (
        GML.format("node [ id 2 ]", "edge [ source 0 target 1 weight 1.0 ] edge [ source 1 target 2 ]"),
        "weights on 1 of 2 edges",
    ),
    "no-edges.gml": (GML.format("", ""), "2 nodes and 0 edges"),
    "deep.gml": ("graph [ " * 5000, "expected a GML file"),
    "text.npz": ("hello", "expected an .npz archive"),
    "notes.md": ("a b", "a file whose name ends in one of .txt"),
}


def refusal(source: str, **given: Any) -> str:
    with pytest.raises(InvalidInput) as refused:
        SIS(graph=source, **given)
    words = str(refused.value)
    assert words.startswith("graph: got ")
    assert "\n" not in words
    return words


@pytest.mark.parametrize("name", TEXTS)
def test_malformed_files_are_refused_in_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, words = TEXTS[name]
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found = refusal(name)
    assert re.search(words, found), found
    assert name in found


def npz(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def test_malformed_archives_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    ring = nx.to_numpy_array(nx.cycle_graph(4))
    csr = sparse.csr_matrix(ring)
    parts: dict[str, Any] = {
        "format": b"csr",
        "shape": csr.shape,
        "data": csr.data,
        "indices": csr.indices,
        "indptr": csr.indptr,
    }
    cases: list[tuple[dict[str, Any], str]] = [
        ({"a": ring, "b": ring}, "arrays a, b', expected one square array"),
        ({"a": ring[:3]}, "shape \\[3, 4\\]', expected a square adjacency"),
        ({"a": ring[0]}, "expected a square adjacency"),
        ({"a": np.float64(3)}, "expected a square adjacency"),
        ({"a": np.zeros((0, 0))}, "no nodes"),
        ({"a": np.zeros((3, 3))}, "no edges"),
        ({"a": ring + np.eye(4)}, "node 0 joined to itself', expected no self-loops"),
        ({"a": np.triu(ring)}, "a directed edge between nodes 0 and 1', expected an undirected network"),
        ({"a": 2 * ring}, "divide them by the largest"),
        ({"a": -ring}, "weights from -1 to -1"),
        ({"a": ring * np.nan}, "not finite"),
        ({"a": ring.astype(complex)}, "complex128', expected an adjacency of numbers"),
        ({"a": ring.astype(str)}, "expected an adjacency of numbers"),
        ({"a": np.zeros((4, 4), dtype=[("x", "f8")])}, "plain numeric arrays"),
        ({**parts, "format": b"bsr"}, "sparse format bsr', expected coo, csr or csc"),
        ({**parts, "format": b"zip"}, "sparse format zip"),
        ({**parts, "shape": (4, 5)}, "shape \\[4, 5\\]', expected a square one"),
        ({**parts, "shape": (10**12, 10**12)}, "expected a square one, of at most 10000000 nodes"),
        ({**parts, "shape": (4.5, 4.5)}, "expected an .npz archive"),
        ({**parts, "indices": csr.indices + 10**6}, "expected an .npz archive"),
        ({**parts, "indices": csr.indices - 10**6}, "expected an .npz archive"),
        ({**parts, "indptr": csr.indptr[:2]}, "expected an .npz archive"),
        ({**parts, "indptr": csr.indptr[::-1]}, "expected an .npz archive"),
        ({**parts, "data": csr.data[:3]}, "expected an .npz archive"),
        ({k: v for k, v in parts.items() if k != "data"}, "expected an .npz archive"),
        (
            {
                "format": b"coo",
                "shape": (3, 3),
                "data": np.ones(3),
                "row": np.array([0, 0, 1]),
                "col": np.array([1, 1, 0]),
            },
            "the same entry twice', expected no parallel edges",
        ),
        (
            {"format": b"coo", "shape": (3, 3), "data": np.ones(2), "row": np.array([0, 9]), "col": np.array([1, 0])},
            "expected an .npz archive",
        ),
    ]
    for arrays, words in cases:
        found = refusal(npz(path, **arrays))
        assert re.search(words, found), (arrays, found)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    np.savez(tmp_path / "a.npz", np.array([[Trap()]], dtype=object))
    assert "nothing is unpickled" in refusal(str(tmp_path / "a.npz"))
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    refusal(str(tmp_path / "b.npz"))
    assert not (tmp_path / "sprung").exists()


def header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_declared_sizes_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    for content, words in (
        (header((10**6, 10**6)), "shape \\[1000000, 1000000\\]', expected an array of 0 bytes"),
        (header((-1, -1)), "archive"),
        (header((2, 2)) + b"\0" * 31, "expected an array of 31 bytes"),
        (header((2, 2)) + b"\0" * 33, "expected an array of 33 bytes"),
        (b"\x93NUMPY\x03\x00" + header((2, 2))[8:], "npy version"),
        (b"\x93NUMPY\x01\x00\x02\x00{}", "expected an .npz archive"),
        (b"PK", "expected an .npz archive"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", content)
        found = refusal(str(path))
        assert re.search(words, found), found
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
        file.write(header((11_200, 11_200)))
        for _ in range(11_200):
            file.write(b"\0" * (8 * 11_200))
    assert path.stat().st_size < 2_000_000
    assert "1 GB" in refusal(str(path))


def test_sizes_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, words in (("a.txt", "at most 1000 MB"), ("a.graphml", "at most 200 MB"), ("a.gml", "at most 200 MB")):
        with (tmp_path / name).open("wb") as file:
            file.truncate(2 * 10**9)
        assert words in refusal(str(tmp_path / name))
    monkeypatch.setattr(graphs, "MATRIX_LIMIT", 3)
    assert "at most 3 nodes so; save a larger one with scipy.sparse.save_npz" in refusal(
        npz(tmp_path / "a.npz", a=nx.to_numpy_array(nx.cycle_graph(4)))
    )


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for source, words in (
        ("karate", "did you mean karate-club"),
        ("", "a file"),
        ("no/such.txt", "an existing file, or one of karate-club, les-miserables"),
        (str(tmp_path), "this is a folder"),
        ("/dev/null", "no regular file"),
        ("a\0b.txt", "an existing file"),
        ("x" * 5000 + ".txt", "a file"),
        ("~nobody-of-that-name/a.txt", "a file that can be read"),
    ):
        assert words in refusal(source)


def test_importing_the_reader_loads_no_network_library() -> None:
    code = "import gamesim.formats.graphs, sys; print([name in sys.modules for name in ('networkx', 'scipy')])"
    root = Path(__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert found.stdout.strip() == "[False, False]"

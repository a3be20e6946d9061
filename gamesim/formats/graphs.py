"""Networks as graphons: karate-club, les-miserables, and files of other people's graphs.

    .txt .edges .edgelist .csv .tsv   two columns of node names, a third one of weights if there are any; # comments
    .graphml .gml                     read by networkx, with the edge attribute `weight` if all edges have it
    .npz                              an adjacency matrix: scipy.sparse.save_npz, or numpy.savez of one square array

Nodes are sorted by degree (of weights), largest first, ties in the order of the file; node i of n is the position
(i + 1/2) / n. An undirected simple network is asked for, and nothing is repaired in silence: directed or parallel
edges, self-loops and weights outside [0, 1] are refused with what to do. A file that lists every edge both ways is
taken as undirected. Nodes without edges are kept where the format has them: they feel nothing. The two built-in
networks (Zachary 1977; Knuth 1993) are taken unweighted.

Files are read as data only: nothing in them is executed or fetched, and the sizes they declare are checked first.
"""

import itertools
import os
import zipfile
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gamesim.errors import InvalidInput, refuse, unknown
from gamesim.formats.reading import refusing, require_file
from gamesim.graphons import Empirical, Graphon

BUILT_IN = {"karate-club": "karate_club_graph", "les-miserables": "les_miserables_graph"}
BYTES_LIMIT = 10**9  # of a file, and of the arrays that it declares
PARSED_LIMIT = 2 * 10**8  # of a GraphML or GML file: networkx needs some fifty times as much memory
NODES_LIMIT = 10**7
UNDIRECTED = "an undirected network: every edge once, or every edge both ways with the same weight"
SIMPLE = "no parallel edges: join them into one with the weight you mean"
DEPTH_LIMIT = 50  # of GraphML elements
LETTERS_LIMIT = 100_000  # of a line, a tag or a comment
MATRIX_LIMIT = 10_000  # nodes of an adjacency with its zeros written out
HEADERS = {"source", "target", "from", "to", "src", "dst", "node1", "node2", "node_1", "node_2"}


def read_graph(source: str, blocks: int | None = None) -> Graphon:
    """A network as a graphon: one position per node, or averaged over so many blocks of nodes of similar degree."""
    import numpy as np

    if not isinstance(source, str):
        raise refuse("graph", type(source).__name__, f"the name of a file ({', '.join(READERS)}), as text")
    if source in BUILT_IN:
        import networkx as nx

        found, name = _from_networkx(getattr(nx, BUILT_IN[source])(), source, weighted=False), source
    else:
        path, name = _file(source), Path(source).name
        found = READERS[path.suffix.lower()](path, source)
    network = Empirical(found, source)
    degree = np.asarray(network.adjacency.sum(0)).ravel()
    order = np.argsort(-degree, kind="stable")
    network = Empirical(network.adjacency[order][:, order], name)
    return network if blocks is None else network.averaged(blocks)


def wrong(source: str, found: str, wanted: str) -> InvalidInput:
    """The refusal of what was found in a source."""
    return refuse("graph", f"{source}, {found}", wanted)


def _file(source: str) -> Path:
    """The path of a readable file of a known kind and sensible size."""
    if "." not in source and "/" not in source and not os.path.exists(os.path.expanduser(source)):
        raise unknown("graph", source, [*BUILT_IN, f"a file ({', '.join(READERS)})"])
    kind = Path(source).suffix.lower()
    limit = PARSED_LIMIT if kind in (".graphml", ".gml") else BYTES_LIMIT
    missing = f"an existing file, or one of {', '.join(BUILT_IN)}"
    advice = f" of {kind}; scipy.sparse.save_npz makes small files"
    return require_file("graph", source, list(READERS), limit, missing, advice)


def _matrix(rows: Any, columns: Any, weights: Any, nodes: int) -> Any:
    """The symmetric adjacency of undirected edges, each given once."""
    import numpy as np
    from scipy import sparse

    rows, columns, weights = (np.asarray(part) for part in (rows, columns, weights))
    both = (np.concatenate([rows, columns]), np.concatenate([columns, rows]))
    return sparse.coo_matrix((np.concatenate([weights, weights]).astype(float), both), shape=(nodes, nodes))


# --- edge lists -----------------------------------------------------------------------------------------------------


def _edge_list(path: Path, source: str) -> Any:
    """Two or three columns, separated by commas, tabs or spaces: as the name says (.csv, .tsv) or as the first line."""
    import numpy as np

    number = dict[str, int]()
    ends, weights = array("q"), array("d")
    separator = {".csv": ",", ".tsv": "\t"}.get(path.suffix.lower(), "")
    columns, first = 0, InvalidInput()
    with refusing("graph", source, "a text file in UTF-8"), path.open(encoding="utf-8-sig") as lines:
        for at, line in enumerate(iter(lambda: lines.readline(LETTERS_LIMIT), ""), 1):
            if len(line) == LETTERS_LIMIT:
                raise refuse("graph", f"{source} line {at}: {line}", f"lines of fewer than {LETTERS_LIMIT:,} letters")
            line = line.partition("#")[0].strip()
            if not line:
                continue
            if not columns and not separator:
                separator = "," if "," in line else "\t" if "\t" in line else " "
            parts = line.split() if separator == " " else [part.strip() for part in line.split(separator)]
            if len(parts) not in (2, 3) or not all(parts) or len(parts) != (columns or len(parts)):
                wanted = (
                    f"{columns} columns as before" if columns else "two columns of nodes, a third of weights if any"
                )
                raise refuse("graph", f"{source} line {at}: {line}", wanted)
            if not columns:
                columns = len(parts)
                wanted = "edges from the first line on: a header line begins with #"
                first = refuse("graph", f"{source} line {at}: {line}", wanted)
                if {part.lower() for part in parts[:2]} <= HEADERS and parts[0] != parts[1]:
                    raise first
            if parts[0] == parts[1]:
                raise refuse("graph", f"{source} line {at}: {line}", "no self-loops: remove the line")
            ends.append(number.setdefault(parts[0], len(number)))
            ends.append(number.setdefault(parts[1], len(number)))
            if columns == 3:
                try:
                    weights.append(float(parts[2]))
                except ValueError:
                    wanted = "a number as weight, in the third column; a header line begins with #"
                    raise refuse("graph", f"{source} line {at}: {line}", wanted) from None
    if not ends:
        raise wrong(source, "no edges", "at least one edge")
    names = list(number)
    if not any(_is_whole(name) for name in names[:2]) and all(map(_is_whole, names[2:])) and len(names) > 2:
        raise first
    pairs = np.frombuffer(ends, dtype=np.int64).reshape(-1, 2)
    values = np.frombuffer(weights) if columns == 3 else np.ones(len(pairs))
    return _undirected(pairs, values, names, source)


def _is_whole(name: str) -> bool:
    return name.lstrip("-").isdecimal()


def _undirected(pairs: Any, weights: Any, names: list[str], source: str) -> Any:
    """Edges given once each, or every one in both directions with the same weight."""
    import numpy as np

    n = len(names)
    key, reverse = pairs[:, 0] * n + pairs[:, 1], pairs[:, 1] * n + pairs[:, 0]
    order = np.argsort(key, kind="stable")
    twice = np.flatnonzero(np.diff(key[order]) == 0)
    if len(twice):
        u, v = (names[i] for i in pairs[order[twice[0]]])
        raise wrong(source, f"the edge {u} {v} twice", SIMPLE)
    found = np.searchsorted(key, reverse, sorter=order).clip(max=len(key) - 1)
    back = key[order[found]] == reverse
    if not back.any():
        return _matrix(pairs[:, 0], pairs[:, 1], weights, n)
    alone = np.flatnonzero(~back)
    if len(alone):
        (u, v), (x, y) = ([names[i] for i in pairs[at]] for at in (int(np.flatnonzero(back)[0]), alone[0]))
        only = f"the edge {u} {v} both ways but {x} {y} one way"
        raise wrong(source, only, UNDIRECTED)
    unequal = np.flatnonzero(weights != weights[order[found]])
    if len(unequal):
        u, v = (names[i] for i in pairs[unequal[0]])
        raise wrong(source, f"the edge {u} {v} with another weight each way", UNDIRECTED)
    once = pairs[:, 0] < pairs[:, 1]
    return _matrix(pairs[once, 0], pairs[once, 1], weights[once], n)


# --- GraphML and GML ------------------------------------------------------------------------------------------------


def _graphml(path: Path, source: str) -> Any:
    from xml.parsers import expat

    import networkx as nx

    depth = graphs = 0

    def require_short(said: str) -> None:  # expat begins a long token anew with each piece of the file that it is given
        if len(said) > LETTERS_LIMIT:
            raise refuse(
                "graph", source, f"a GraphML file whose tags and comments have at most {LETTERS_LIMIT:,} letters"
            )

    def doctype(*_: object) -> None:
        raise refuse("graph", source, "GraphML without a DOCTYPE: its entities could expand without end; remove it")

    def begin(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, graphs
        require_short(tag + "".join(itertools.chain.from_iterable(attributes.items())))
        depth, graphs = depth + 1, graphs + (tag.rpartition(":")[2] == "graph")
        if depth > DEPTH_LIMIT:
            raise refuse("graph", source, f"a GraphML file with elements at most {DEPTH_LIMIT} deep")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler, guard.StartElementHandler, guard.EndElementHandler = doctype, begin, end
    guard.CommentHandler, guard.ProcessingInstructionHandler = require_short, lambda _, said: require_short(said)
    with refusing("graph", source, "a GraphML file"):
        guard.Parse(path.read_bytes(), True)
        if graphs != 1:
            raise wrong(source, f"{graphs} graphs", "one graph in a file, without nested ones")
        graph = nx.read_graphml(path)
    return _from_networkx(graph, source)


def _gml(path: Path, source: str) -> Any:
    import networkx as nx

    with refusing("graph", source, "a GML file"):
        graph = nx.read_gml(path, label=None)
    return _from_networkx(graph, source)


def _from_networkx(graph: Any, source: str, weighted: bool = True) -> Any:
    """The adjacency of a networkx graph, its nodes in their order."""
    import numpy as np

    if graph.is_multigraph():
        u, v = next(((u, v) for u, v in graph.edges() if graph.number_of_edges(u, v) > 1), ("", ""))
        raise wrong(source, f"parallel edges {u} {v}", SIMPLE)
    if not len(graph) or not graph.number_of_edges():
        raise wrong(source, f"{len(graph)} nodes and {graph.number_of_edges()} edges", "at least one edge")
    number = {node: i for i, node in enumerate(graph)}
    names = list(map(str, number))
    edges = list(graph.edges(data="weight"))
    loop = next((u for u, v, _ in edges if u == v), None)
    if loop is not None:
        raise wrong(source, f"node {loop} joined to itself", "no self-loops: remove them")
    given = [w for _, _, w in edges if w is not None] if weighted else []
    if given and len(given) < len(edges):
        raise wrong(source, f"weights on {len(given)} of {len(edges)} edges", "weights on all edges or on none")
    strange = next((w for w in given if not isinstance(w, int | float)), None)
    if strange is not None:
        raise wrong(source, f"the weight {strange}", "numbers as weights")
    weights = np.array(given, dtype=float) if given else np.ones(len(edges))
    pairs = np.array([(number[u], number[v]) for u, v, _ in edges], dtype=np.int64)
    if graph.is_directed():
        _require_both_ways(graph, source)
        return _undirected(pairs, weights, names, source)
    return _matrix(pairs[:, 0], pairs[:, 1], weights, len(names))


def _require_both_ways(graph: Any, source: str) -> None:
    for u, v in graph.edges():
        if not graph.has_edge(v, u):
            raise wrong(source, f"the directed edge {u} {v} one way", UNDIRECTED)


# --- adjacency matrices ---------------------------------------------------------------------------------------------


def _npz(path: Path, source: str) -> Any:
    """The adjacency in a .npz archive. Every declared size is checked before an array is read; nothing is unpickled."""
    import numpy as np
    from scipy import sparse

    with refusing("graph", source, "an .npz archive of scipy.sparse.save_npz or numpy.savez"):
        with zipfile.ZipFile(path) as archive:
            declared = [_declared_bytes(archive, member, source) for member in archive.infolist()]
        total = sum(size for size, _ in declared)
        if total > BYTES_LIMIT:
            raise wrong(
                source,
                f"{total / 1e9:.3g} GB of arrays",
                f"at most {BYTES_LIMIT / 1e9:.0f} GB; a sparse matrix needs less",
            )
        if len(declared) == 1 and max(declared[0][1], default=0) > MATRIX_LIMIT:
            words = f"at most {MATRIX_LIMIT} nodes so; save a larger one with scipy.sparse.save_npz"
            raise wrong(source, f"an array of shape {list(declared[0][1])}", words)
        with np.load(path, allow_pickle=False) as arrays:
            if "format" not in arrays.files:
                if len(arrays.files) != 1:
                    raise wrong(
                        source, f"arrays {', '.join(arrays.files)}", "one square array, or scipy.sparse.save_npz"
                    )
                return np.asarray(arrays[arrays.files[0]])
            kind = arrays["format"].item()
            kind = kind.decode() if isinstance(kind, bytes) else str(kind)
            shape = tuple(arrays["shape"].tolist())
        if kind not in ("coo", "csr", "csc"):
            raise wrong(source, f"sparse format {kind}", "coo, csr or csc: save it with matrix.tocsr()")
        if len(shape) != 2 or shape[0] != shape[1] or shape[0] > NODES_LIMIT:
            raise wrong(source, f"an adjacency of shape {list(shape)}", f"a square one, of at most {NODES_LIMIT} nodes")
        matrix = sparse.load_npz(path)
        if kind != "coo":  # coo checks its indices itself
            matrix.check_format(full_check=True)
        return matrix


def _declared_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo, source: str) -> tuple[int, tuple[int, ...]]:
    """The size and shape of an array by its header, which must be of the size that the archive gives."""
    import math

    from numpy.lib import format as npy

    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise wrong(source, f"array {member.filename} of npy version {version}", "plain numeric arrays")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
        header = file.tell()
    if dtype.hasobject or dtype.names:
        raise wrong(source, f"array {member.filename} of objects", "plain numeric arrays: nothing is unpickled")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or header + size != member.file_size:
        words = f"an array of {member.file_size - header} bytes, as the archive says"
        raise wrong(source, f"array {member.filename} of shape {list(shape)}", words)
    return size, shape


READERS: dict[str, Callable[[Path, str], Any]] = {
    **dict.fromkeys((".txt", ".edges", ".edgelist", ".csv", ".tsv"), _edge_list),
    ".graphml": _graphml,
    ".gml": _gml,
    ".npz": _npz,
}

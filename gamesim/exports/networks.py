"""Policy networks as graphs: those of gamesim.networks on sets, and the perceptrons of independent learners."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gamesim.attention.blocks import ISAB, MAB, SetAttention
from gamesim.errors import refuse
from gamesim.exports.graphs import Graph
from gamesim.games.recorded import Actor, Recorded
from gamesim.networks.deep_sets import DeepSetsLayers
from gamesim.networks.gcn import GCNLayers
from gamesim.networks.heads import LOG_SIGMA, Categorical
from gamesim.networks.mlp import MLPLayers
from gamesim.networks.set_transformer import SetTransformerLayers

SET = {"DeepSetsLayers", "GCNLayers", "MLPLayers", "SetTransformerLayers"}


def graph_of_sets(game: Recorded, actor: Actor, weights: Sequence[Tensor]) -> Graph:
    """The policy of a task of recorded play, for sets of one size at a time.

    tokens[set, row, feature], kinds[row] and acting[agent], the rows that act; out come the probabilities of each
    agent's moves [set, agent, move], or mean and log_sigma [set, agent, force], of which the action is tanh.
    """
    module = actor.network.module
    most = module.most if isinstance(module, MLPLayers) else None
    features = game.play.tokens.shape[-1]
    graph = Graph(
        {
            "tokens": {"type": "float", "shape": ["set", most or "row", features]},
            "kinds": {"type": "int64", "shape": [most or "row"]},
            "acting": {"type": "int64", "shape": ["agent"]},
        },
        {name: x.detach().cpu().contiguous() for name, x in actor.network.named(tuple(weights)).items()},
    )
    count = len(game.play.header["kinds_of_entity"])
    scale = graph.constant("scale", game.scale.cpu())
    # a row of the last kind + 1 is filling, all zeros
    table = graph.constant("one_hot", torch.eye(count + 1, count, dtype=game.scale.dtype))
    kinds = graph.do("Like", graph.do("Gather", table, "kinds", axis=0), "tokens")
    x = graph.do("Concat", graph.do("Div", "tokens", scale), kinds, axis=-1)
    match module:
        case DeepSetsLayers():
            out = deep_sets(graph, module, x)
        case GCNLayers():
            out = gcn(graph, module, x)
        case MLPLayers():
            out = mlp(graph, module, x)
        case SetTransformerLayers():
            out = set_transformer(graph, module, x)
        case _:
            raise refuse("network", type(module).__name__, f"a policy network of {', '.join(sorted(SET))}")
    if isinstance(actor.head, Categorical):
        graph.give("probabilities", graph.do("Softmax", out, axis=-1), ["set", "agent", actor.head.count])
    else:
        size = actor.head.size
        graph.give("mean", graph.do("Part", out, at=[0, size]), ["set", "agent", size])
        log_sigma = graph.do("Part", out, at=[size, 2 * size])
        graph.give("log_sigma", graph.do("Clip", log_sigma, at=list(LOG_SIGMA)), ["set", "agent", size])
    return graph


def rectified(graph: Graph, layers: nn.Sequential, path: str, x: str) -> str:
    for i in range(0, len(layers), 2):
        x = graph.do("Relu", graph.linear(x, f"{path}.{i}"))
    return x


def acting_of(graph: Graph, x: str) -> str:
    return graph.do("Gather", x, "acting", axis=-2)


def deep_sets(graph: Graph, module: DeepSetsLayers, x: str) -> str:
    h = rectified(graph, module.rows, "rows", x)
    both = graph.do("Concat", h, graph.do("Like", graph.mean(h), h), axis=-1)
    return graph.linear(rectified(graph, module.sets, "sets", acting_of(graph, both)), "last")


def gcn(graph: Graph, module: GCNLayers, x: str) -> str:
    one, two = (
        graph.constant(n, torch.tensor(v, dtype=graph.weights["scale"].dtype)) for n, v in (("1", 1.0), ("2", 2.0))
    )
    others = graph.do("Sub", graph.do("Max", graph.do("Rows", x), two), one)
    for i in range(len(module.own)):
        rest = graph.do("Div", graph.do("Sub", graph.do("ReduceSum", x, axis=-2), x), others)
        sides = [graph.do("Relu", graph.linear(y, f"{name}.{i}")) for y, name in ((rest, "others"), (x, "own"))]
        x = graph.do("Div", graph.do("Add", *sides), two)
    pool = graph.mean(x) if module.pool == "mean" else graph.do("ReduceMax", x, axis=-2)
    return graph.linear(acting_of(graph, graph.do("Concat", x, graph.do("Like", pool, x), axis=-1)), "last")


def mlp(graph: Graph, module: MLPLayers, x: str) -> str:
    rows = graph.do("Reshape", x, shape=[0, module.hidden[0].inputs])
    out = graph.linear(rectified(graph, module.hidden, "hidden", rows), "last")
    return acting_of(graph, graph.do("Reshape", out, shape=[0, module.most, module.outputs]))


def set_transformer(graph: Graph, module: SetTransformerLayers, x: str) -> str:
    x = graph.linear(x, "first")
    for _ in range(module.loops):
        for i, block in enumerate(module.blocks):
            path = f"blocks.{i}"
            if isinstance(block, ISAB):
                count, width = block.points.shape
                points = graph.do("Reshape", f"{path}.points", shape=[1, count, width])
                gathered = attended(graph, block.gather, f"{path}.gather", points, x)
                x = attended(graph, block.scatter, f"{path}.scatter", x, gathered)
            else:
                x = attended(graph, block, path, x, x)
    return graph.linear(acting_of(graph, x), "head.last")


def attended(graph: Graph, block: Any, path: str, x: str, y: str) -> str:
    """MAB(X, Y): norm(H + rFF(H)), H = norm(X + Att(X, Y))."""
    assert isinstance(block, MAB)
    h = normal(
        graph, graph.do("Add", x, attention(graph, block.attention, f"{path}.attention", x, y)), f"{path}.first_norm"
    )
    inner = graph.do("Relu", graph.linear(h, f"{path}.feed_forward.first"))
    return normal(graph, graph.do("Add", h, graph.linear(inner, f"{path}.feed_forward.second")), f"{path}.second_norm")


def normal(graph: Graph, x: str, path: str) -> str:
    return graph.do("LayerNormalization", x, f"{path}.scale", f"{path}.shift", epsilon=1e-5)


def attention(graph: Graph, layer: SetAttention, path: str, x: str, y: str) -> str:
    """Att(X, Y) of softmax, sigmoid or linear attention, [set, row, width]."""
    width, heads, depth = layer.width, layer.heads, layer.width // layer.heads
    dtype = graph.weights["scale"].dtype

    def projected(z: str, which: int) -> str:
        at = [which * width, (which + 1) * width]
        weight, bias = (graph.do("Part", f"{path}.projection.{n}", at=at) for n in ("weight", "bias"))
        z = graph.do("Reshape", graph.do("Add", graph.do("MatMul", z, weight), bias), shape=[0, 0, heads, depth])
        return graph.do("Transpose", z, perm=[0, 2, 1, 3])  # [set, head, row, d]

    q, k, v = projected(x, 0), projected(y, 1), projected(y, 2)
    if layer.kind == "linear":
        one = graph.constant("1", torch.tensor(1.0, dtype=dtype))
        q, k = (graph.do("Add", graph.do("Elu", z), one) for z in (q, k))
        keys = graph.do("Transpose", k, perm=[0, 1, 3, 2])
        total = graph.do("MatMul", q, graph.do("ReduceSum", keys, axis=-1))
        out = graph.do("Div", graph.do("MatMul", q, graph.do("MatMul", keys, v)), total)
    else:
        scale = graph.constant(
            f"{path}.scale", torch.tensor(depth**-0.5 if layer.scale is None else layer.scale, dtype=dtype)
        )
        scores = graph.do("Mul", graph.do("MatMul", q, graph.do("Transpose", k, perm=[0, 1, 3, 2])), scale)
        if layer.kind == "sigmoid":
            weights = graph.do("Sigmoid", graph.do("Sub", scores, graph.do("Log", graph.do("Rows", y))))
        else:
            weights = graph.do("Softmax", scores, axis=-1)
        out = graph.do("MatMul", weights, v)
    out = graph.do("Reshape", graph.do("Transpose", out, perm=[0, 2, 1, 3]), shape=[0, 0, width])
    return graph.linear(out, f"{path}.out")


def graph_of_players(crews: Sequence[tuple[Sequence[int], Sequence[Tensor], Tensor]]) -> Graph:
    """Everyone's policy network on numbered observations: observation_0[episode] -> probabilities_0[episode, action].

    crews: players of a kind, their weights W_1, b_1, W_2, ... [player, ...], and log pi_start [player, s, a].
    """
    graph = Graph({}, {})
    for players, weights, prior in sorted(crews, key=lambda crew: crew[0][0]):
        for place, i in enumerate(players):
            graph.inputs[f"observation_{i}"] = {"type": "int64", "shape": ["episode"]}
            for j, x in enumerate(weights):
                own = x[place].detach().cpu()
                graph.weights[f"player_{i}.{j // 2}.{'bias' if j % 2 else 'weight'}"] = (
                    own[0] if j % 2 else own
                ).clone()
            start = graph.constant(f"player_{i}.start", prior[place].detach().cpu().clone())
            seen = [graph.do("Gather", name, f"observation_{i}", axis=0) for name in (f"player_{i}.0.weight", start)]
            h = graph.do("Add", seen[0], f"player_{i}.0.bias")
            for layer in range(1, len(weights) // 2):
                h = graph.linear(graph.do("Tanh", h), f"player_{i}.{layer}")
            chances = graph.do("Softmax", graph.do("Add", seen[1], h), axis=-1)
            graph.give(f"probabilities_{i}", chances, ["episode", prior.shape[-1]])
    return graph

"""Mutants of a module: the same source with one small mistake in it, made on the syntax tree.

A comparison loses or gains its boundary or is turned round, an operator becomes its neighbour, a number grows by one, a
condition is negated, `min` becomes `max`, a check is left out, what is returned is forgotten. Texts, annotations,
decorators, the `strict` of `zip` and what only a type checker reads are left alone.
"""

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

SWAPPED: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}
"""What stands for an operator in its mutants."""

PAIRS = ("min max", "amin amax", "minimum maximum", "argmin argmax", "any all", "floor ceil", "zeros ones")
PAIRS += ("zeros_like ones_like", "exp log", "isfinite isnan", "low high", "low_open high_open")
RENAMED = {a: b for x, y in map(str.split, PAIRS) for a, b in ((x, y), (y, x))}
"""Names of functions and keywords that stand for each other."""


@dataclass(frozen=True)
class Mutant:
    """One mistake: where it is, and what tests must run through to see it."""

    file: str
    name: str
    """Function, statement and change: it does not depend on line numbers."""
    function: str
    """The outermost function around it; empty for what runs when the module is imported."""
    lines: tuple[int, int]
    """First and last line of the statement."""
    place: int
    variant: int


@dataclass
class Place:
    """A node of the tree, where it hangs, and what stands around it."""

    node: ast.AST
    parent: ast.AST
    field: str
    position: int | None
    function: str
    statement: ast.stmt | None

    def put(self, node: ast.AST) -> None:
        if self.position is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.position] = node


def places(node: ast.AST, function: str = "", around: str = "", statement: ast.stmt | None = None) -> Iterator[Place]:
    """Every node below, in the order of the source."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params", "ctx"):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.keyword) and node.arg == "strict":
            continue
        if isinstance(node, ast.FunctionDef) and field in ("name", "args") and function:  # defaults of inner functions
            continue
        for position, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST):
                continue
            inside, named = function, around
            if isinstance(node, ast.FunctionDef) and field == "body" and not function:
                inside = f"{around}{node.name}"
            if isinstance(node, ast.ClassDef) and not function:
                named = f"{around}{node.name}."
            at = child if isinstance(child, ast.stmt) else statement
            yield Place(child, node, field, position, inside, at)
            yield from places(child, inside, named, at)


def variants(node: ast.AST, parent: ast.AST, field: str) -> list[ast.AST]:
    """What may stand in place of a node."""

    def with_(**changes: object) -> ast.AST:
        found = copy.deepcopy(node)
        for name, value in changes.items():
            setattr(found, name, value)
        return found

    match node:
        case ast.Compare(ops=ops):
            return [
                with_(ops=[*ops[:i], other(), *ops[i + 1 :]])
                for i, op in enumerate(ops)
                for other in SWAPPED.get(type(op), ())
            ]
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op):
            return [with_(op=other()) for other in SWAPPED.get(type(op), ())]
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            return [copy.deepcopy(operand)]
        case ast.Constant(value=bool(value)):
            return [with_(value=not value)]
        case ast.Constant(value=int() | float() as value):
            return [with_(value=value + 1)]
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            if isinstance(test, ast.Compare | ast.UnaryOp) and len(getattr(test, "ops", [0])) == 1:
                return []  # the comparison turned round, or the `not` left out, is the same
            return [with_(test=ast.UnaryOp(ast.Not(), copy.deepcopy(test)))]
        case ast.comprehension(ifs=[_, *rest]):
            return [with_(ifs=rest)]
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            return [with_(value=ast.Constant(None))]
        case ast.Raise() | ast.Break():
            return [ast.Pass()]
        case ast.Continue():
            return [ast.Break()]
        case ast.Expr(value=ast.Call()):
            return [ast.Pass()]
        case ast.Name(id=name) if field == "func" and name in RENAMED:
            return [with_(id=RENAMED[name])]
        case ast.Attribute(attr=name) if field == "func" and name in RENAMED:
            return [with_(attr=RENAMED[name])]
        case ast.keyword(arg=str(name)) if name in RENAMED and len(getattr(parent, "keywords", [])) == 1:
            return [with_(arg=RENAMED[name])]
    return []


def header(statement: ast.stmt) -> tuple[str, int, int]:
    """A statement in one line, without what is nested in it, and the lines it takes."""
    first, last = statement.lineno, statement.end_lineno or statement.lineno
    body = getattr(statement, "body", None) or getattr(statement, "cases", None)
    if body:
        inner = body[0].pattern.lineno if isinstance(body[0], ast.match_case) else body[0].lineno
        last = max(first, inner - 1)
    return shown(statement), first, last


def shown(node: ast.AST) -> str:
    if isinstance(node, ast.stmt):
        return next(x for x in ast.unparse(node).splitlines() if not x.startswith("@"))
    return f"if {ast.unparse(node.ifs[0])}" if isinstance(node, ast.comprehension) and node.ifs else ast.unparse(node)


def mutants(source: str, file: str) -> list[Mutant]:
    """Every mutant of a module, in the order of the source."""
    found, seen = list[Mutant](), Counter[str]()
    for i, place in enumerate(places(ast.parse(source))):
        if place.statement is None:
            continue
        text, first, last = header(place.statement)
        for j, node in enumerate(variants(place.node, place.parent, place.field)):
            change = f"{shown(place.node)} -> {shown(node)}" if not isinstance(place.node, ast.stmt) else shown(node)
            name = f"{place.function or '(module)'} | {text} | {change}"
            seen[name] += 1
            name += f" #{seen[name]}" if seen[name] > 1 else ""
            found.append(Mutant(file, name, place.function, (first, last), i, j))
    return found


def mutated(source: str, mutant: Mutant, path: str) -> CodeType:
    """The module's code with the mistake in it."""
    tree = ast.parse(source)
    place = next(p for i, p in enumerate(places(tree)) if i == mutant.place)
    place.put(variants(place.node, place.parent, place.field)[mutant.variant])
    return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)

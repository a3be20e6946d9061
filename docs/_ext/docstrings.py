"""Docstrings are plain text with equations in ASCII: they become reStructuredText that shows them as they are."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

CODE = re.compile(r"``[^`]+``|`[^`]+`")
ENDS = (*" \n'\")]}>-/:.,;!?", "")
"""What may follow code without more ado."""
ITEM = re.compile(r"(\s*)([-*+]|\d+\.)\s+\S")


def to_rest(text: str) -> list[str]:
    """Paragraphs are escaped, `names` become code, doctests stay, and all that is indented or ruled is a literal block.

    >>> to_rest("The law p_t, of `solve`:\\n\\n    x*_t = P x_t")
    ['The law p\\\\_t, of ``solve``:', '', '::', '', '    x*_t = P x_t', '']
    """
    lines = list[str]()
    for how, block in _blocks(text.expandtabs().splitlines()):
        if how == "literal":
            margin = min(len(line) - len(line.lstrip()) for line in block if line.strip())
            lines += ["::", "", *("    " + line[margin:] if line.strip() else "" for line in block), ""]
        elif how == "doctest":
            lines += [*block, ""]
        else:
            lines += [*_escaped("\n".join(block)).split("\n"), ""]
    return lines


def _blocks(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Runs of lines of a kind; literal runs may hold blank lines."""
    how, block = "", list[str]()
    for line in [*lines, None]:
        if line is None:
            now = "end"
        elif not line.strip():
            now = "blank"
        elif line.startswith(">>>") or (how == "doctest" and block and block[-1].strip()):
            now = "doctest"
        elif how == "list" and block[-1].strip() and (line.startswith("  ") or ITEM.match(line)):
            now = "list"
        elif line.startswith("  ") or line.startswith("|") or re.fullmatch(r"[-=~+|]{3,}.*", line):
            now = "literal"
        elif ITEM.match(line):
            now = "list"
        else:
            now = "text"
        if now == "blank":
            block.append("")
            continue
        if now != how or (now in ("text", "list", "doctest") and block and not block[-1].strip()):
            while block and not block[-1].strip():
                block.pop()
            if block:
                yield how, block
            how, block = now, []
        if line is not None:
            block.append(line)


def _escaped(text: str) -> str:
    """One paragraph or list: code in backticks is kept, everything else means itself."""
    parts, at = list[str](), 0
    for found in CODE.finditer(text):
        before, after = text[: found.start()][-1:], text[found.end() :][:1]
        code = ("\\ " if before.isalnum() else "") + _code(found.group().strip("`")) + ("" if after in ENDS else "\\ ")
        parts += [_plain(text[at : found.start()]), code]
        at = found.end()
    return "".join([*parts, _plain(text[at:])])


def _plain(text: str) -> str:
    return re.sub(r"([\\*`|_])", r"\\\1", re.sub(r"(?m)^(\s*)\*(?= )", r"\1-", text))


def _code(name: str) -> str:
    name = " ".join(name.split())
    return f":py:obj:`{name}`" if re.fullmatch(r"gamesim(\.\w+)+", name) else f"``{name}``"


def setup(app: Any) -> dict[str, bool]:
    def docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        made = dataclasses.is_dataclass(obj) and "\n".join(lines).startswith(f"{getattr(obj, '__name__', '')}(")
        lines[:] = [] if made else to_rest("\n".join(lines))

    def exactly(app: Any, tree: Any) -> None:
        """Types of signatures are looked up by their whole names; by their ends it takes a third of the whole build."""
        from sphinx.addnodes import pending_xref

        for node in tree.findall(pending_xref):
            if node.get("refspecific") is False:
                del node["refspecific"]

    app.connect("autodoc-process-docstring", docstring)
    app.connect("doctree-read", exactly)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

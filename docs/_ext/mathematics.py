"""Equations as MathML, written while the site is built: no script, no network, and TeX that is wrong is a warning.

Every browser since 2023 shows MathML. Docutils has the translation from TeX.
"""

import re
from typing import Any


def understood(text: str) -> str:
    r"""TeX as the translation reads it: delimiters of a size, dots, and fractions of two digits are written in full.

    >>> understood(r"\Big( \frac12 \dots \Big)")
    '\\Bigl( \\frac{1}{2} \\ldots \\Bigl)'
    """
    text = re.sub(r"\\(big|Big|bigg|Bigg)(?![a-zA-Z])", r"\\\1l", text)
    text = re.sub(r"\\([td]?frac)(\d)(\d)", r"\\\1{\2}{\3}", text)
    return re.sub(r"\\dots(?![a-z])", r"\\ldots", text)


def setup(app: Any) -> dict[str, bool]:
    from docutils import nodes
    from docutils.utils.math import MathError
    from docutils.utils.math.latex2mathml import tex2mathml
    from sphinx.util import logging

    say = logging.getLogger(__name__)

    def translated(node: Any, block: bool) -> str:
        text = understood(node.astext())
        if block and ("\\\\" in text or "&" in text) and "\\begin" not in text:
            text = "\\begin{aligned}" + text + "\\end{aligned}"
        try:
            return str(tex2mathml(text, as_block=block))
        except MathError as error:
            say.warning("an equation cannot be shown: %s in %r", error, text, location=node, type="math")
            return f"<code>{text}</code>"

    def inline(writer: Any, node: Any) -> None:
        writer.body.append(translated(node, False))
        raise nodes.SkipNode

    def display(writer: Any, node: Any) -> None:
        writer.body.append(f'<div class="math">{translated(node, True)}</div>')
        raise nodes.SkipNode

    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

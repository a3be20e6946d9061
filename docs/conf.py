"""The site: `make docs` writes docs/_build/html. Nothing is imported from Sphinx, so that tests may read this file."""

import gc
import sys
from pathlib import Path

gc.set_threshold(
    200_000, 50, 50
)  # a build makes millions of small things and keeps them: looking for rubbish is in vain
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import gamesim  # noqa: E402  of this checkout, installed or not

project, author = "gamesim", "The gamesim authors"
release = version = gamesim.__version__
copyright = "the gamesim authors, MIT licence"

extensions = ["myst_parser", "sphinx.ext.autodoc", "mathematics", "docstrings", "generated"]
exclude_patterns = ["_build", "_ext", "_static"]
myst_enable_extensions = ["dollarmath", "amsmath", "attrs_inline"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
suppress_warnings = ["myst.header"]  # a page may begin with what is not a heading of the first level

autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
add_module_names = False
toc_object_entries = False

highlight_language = "none"  # blocks of docstrings are equations; pages name their languages
smartquotes = False
html_theme = "furo"
html_title = f"gamesim {release}"
html_static_path = ["_static"]
html_css_files = ["gamesim.css"]
html_copy_source = False
html_math_renderer = "mathml"
html_show_sphinx = False
pygments_style, pygments_dark_style = "friendly", "monokai"

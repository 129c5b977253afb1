"""The documentation site: `make docs` builds it, offline, from the pages as they are in the repository.

The source folder is the checkout itself, so that a link that works in the repository works on the site.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "plugins")]

from erc_cli import __version__  # noqa: E402

project = "erc"
author = "the erc developers"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "site_commands"]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "examples/README.md",
    "benchmarks/README.md",
    "presets/default/card.md",
    "presets/default-m2fnet/card.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
]
exclude_patterns = [".*", "build", "dist", "erc_cli", "plugins", "tests", "runs"]
language = "en"

# Markdown as GitHub reads it; a link to a page or a heading that is not there is a warning.
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # GitHub colours csv, Pygments does not

# Docstrings: single backticks are code.
default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
add_module_names = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"erc {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_root"]
html_copy_source = False
html_show_sphinx = False
html_show_search_summary = False  # a browser fetches nothing for a page that it opened from disk
pygments_style = "friendly"
pygments_dark_style = "monokai"

man_pages = [("docs/commands", "erc", "emotion recognition in conversation", [author], 1)]

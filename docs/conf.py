"""Sphinx's settings. ``make docs`` writes HTML into build/docs and treats every warning as an error."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

from mailsync import __version__

project = "mailsync"
author = "the authors of mailsync"
version = release = __version__

extensions = ["section_numbers", "from_code"]
exclude_patterns = ["systemd", "extensions"]
root_doc = "index"
language = "en"
nitpicky = True
highlight_language = "text"
# excerpts: "…" stands for lines that are left out
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = f"mailsync {version}"
html_show_copyright = False
html_copy_source = False
html_show_sphinx = False

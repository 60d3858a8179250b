"""What the widgets share: one output of style, data, HTML and script, read from the files of a folder."""

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

from IPython.display import HTML

HERE = Path(__file__).resolve().parent


def read(name: str, folder: Path = HERE) -> str:
    """Read a file of a widget."""
    return (folder / name).read_text(encoding="utf-8")


def fill(text: str, parts: Mapping) -> str:
    """Put `parts`, HTML or numbers, in the ``$`` places of a text.

    What stands from ``<!--each NAME-->`` to ``<!--end-->`` comes once for each mapping, of plain text, in a list.
    """

    def each(found: re.Match) -> str:
        rows = ({name: html.escape(str(value)) for name, value in row.items()} for row in parts[found[1]])
        block = Template(found[2].replace("\n", ""))
        return "".join(block.substitute(parts, **row) for row in rows).replace("$", "$$")

    return Template(re.sub(r"(?s)\n?<!--each (\w+)-->(.*?)<!--end-->", each, text)).substitute(parts)


def inline_widget(name: str, module: str, data: dict, *, formula: str = "", folder: Path = HERE, **parts) -> HTML:
    """Put a widget of class `name` together from the files `module`.css, .html and .js, and from those of ``base``.

    The script gets `data`, escaped here, and the functions of the file `formula`; `parts` are for ``fill``.
    """
    payload = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    style, common = (read(f"base.{kind}").replace("fp-widget", name) for kind in ("css", "js"))
    own = "".join(read(file, folder) for file in (formula, f"{module}.js") if file)
    return HTML(
        f'<div class="{name}"><style>{style}{read(f"{module}.css", folder)}</style><script type="application/json">'
        f"{payload}</script>{fill(read(f'{module}.html', folder), parts)}</div><script>{{{common}{own}}}</script>"
    )

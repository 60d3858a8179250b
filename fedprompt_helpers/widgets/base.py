"""What the widgets share: one output of style, data, HTML and script, read from the files beside this."""

import html
import json
from collections.abc import Mapping
from importlib import resources
from string import Template

from IPython.display import HTML


def read(name: str) -> str:
    """Read a file beside this module."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def options(texts: Mapping[str, str], chosen: str = "") -> str:
    """Write the options of a choice: value to what is shown."""
    on = {value: " selected" if value == chosen else "" for value in texts}
    return "".join(f'<option value="{html.escape(x)}"{on[x]}>{html.escape(text)}</option>' for x, text in texts.items())


def inline_widget(name: str, module: str, data: dict, *, formula: str = "", **parts: object) -> HTML:
    """Put a widget together.

    Parameters
    ----------
    name : str
        Class of the element around it; takes the place of ``fp-widget`` in the style and script of ``base``.
    module : str
        Name of its files without the ending; style and script of ``base`` come before its own.
    data : dict
        What the script needs, JSON-ready. Escaped here, so that no text in it can end the element.
    formula : str, optional
        A file of functions that the script calls.
    **parts : object
        What the HTML file has ``$`` places for; texts in it are escaped by the caller.
    """
    payload = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    style = read("base.css").replace("fp-widget", name) + read(f"{module}.css")
    script = read("base.js").replace("fp-widget", name) + (read(formula) if formula else "") + read(f"{module}.js")
    body = Template(read(f"{module}.html")).substitute(parts)
    return HTML(
        f'<div class="{name}"><style>{style}</style><script type="application/json">{payload}</script>'
        f"{body}</div><script>{{{script}}}</script>"
    )

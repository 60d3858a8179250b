"""The frame of a widget that needs no kernel and no network: style, data, what is seen, and script, in one output."""

import json

from IPython.display import HTML


def inline_widget(name: str, *, style: str, data: dict, body: str, script: str) -> HTML:
    """Put a widget together.

    Parameters
    ----------
    name : str
        Class of the element around it, which style and script find it by.
    style, script : str
        CSS and JavaScript. The script reads the data from the first ``script`` element in the widget.
    data : dict
        What the script needs, JSON-ready. Escaped here, so that no text in it can end the element.
    body : str
        HTML of what is seen; texts in it are escaped by the caller.

    Returns
    -------
    IPython.display.HTML
    """
    payload = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return HTML(
        f'<div class="{name}"><style>{style}</style><script type="application/json">{payload}</script>'
        f"{body}</div><script>{script}</script>"
    )

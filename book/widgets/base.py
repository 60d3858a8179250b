"""What the widgets share: live in a notebook, and the same view on a page from stored data, read from four files."""

import html
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template

import anywidget
import traitlets

from fedprompt_helpers.errors import FedPromptError

HERE = Path(__file__).resolve().parent
Tell = Callable[[dict], None]


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


class Widget(anywidget.AnyWidget):
    """A view of the class `kind`, from the files `module`.css, .html and .js and those of ``base``.

    The script gets `data`, and the functions of the file `formula`; `parts` are for ``fill``. In a notebook it may
    ``ask`` the kernel something: `reply` gets that, and a function to tell what is found, at once or bit by bit. What
    it found, or in ``error`` one line on why it could not, is the ``answer``.
    """

    _esm, _css, body, kind = (traitlets.Unicode().tag(sync=True) for _ in range(4))
    data, ask, answer = (traitlets.Dict().tag(sync=True) for _ in range(3))
    live = traitlets.Bool(True).tag(sync=True)

    def __init__(
        self, kind: str, module: str, data: dict, *, reply: Callable[..., None] | None = None, formula: str = "",
        folder: Path = HERE, waiting: str = "", **parts,
    ):  # fmt: skip
        """Put the parts together; nothing is asked yet. HTML that is `waiting` stands there until there is a view."""
        self._reply = reply
        self._template = read(f"{module}.html", folder)
        style = read("base.css").replace("fp-widget", kind) + read(f"{module}.css", folder)
        script = read("base.js") + "".join(read(file, folder) for file in (formula, f"{module}.js") if file)
        body = waiting or fill(self._template, parts)
        own = {"_esm": script, "_css": style, "_anywidget_id": f"book.{kind}"}  # one style sheet is kept for each id
        super().__init__(**own, kind=kind, body=body, data=json.loads(json.dumps(data)))

    @traitlets.observe("ask")
    def _asked(self, change) -> None:
        asked = change["new"]
        try:
            self._reply(lambda found: setattr(self, "answer", {"to": asked, **found}), **asked)
        except FedPromptError as error:
            self.answer = {"to": asked, "error": str(error)}
        except Exception as error:  # else it would stand in the kernel's log alone
            self.answer = {"to": asked, "error": f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"}

    @property
    def html(self) -> str:
        """The view for a page: style, data, HTML and script in one, with nothing to load and no kernel to ask."""
        payload = json.dumps(self.data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        return (
            f'<div class="{self.kind}"><style>{self._css}</style><script type="application/json">{payload}</script>'
            f'{self.body}</div><script type="module">{self._esm}showStored("{self.kind}");</script>'
        )

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        """Give a notebook the live view, and what keeps outputs, pages, and whoever has no kernel the stored one."""
        bundle, about = super()._repr_mimebundle_(**kwargs)
        return bundle | {"text/plain": f"<widget {self.kind}>", "text/html": self.html}, about

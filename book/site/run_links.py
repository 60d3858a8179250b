"""A line under the title of each chapter that says where it can be run: on one's own machine, and on the web."""

from html import escape
from pathlib import PurePosixPath

H1 = "</h1>"


def places(page: str, address: str, branch: str, students: str) -> dict[str, str]:
    """Name each place where a chapter runs, with its address; `address` is the repository's, or empty."""
    found = {"on your own machine": f"{students}#install"}
    if address:
        name, owner = PurePosixPath(page).name, address.removeprefix("https://github.com/")
        lab = f"https://mybinder.org/v2/gh/{owner}/main?urlpath=lab/tree/{page}.ipynb"
        colab = f"https://colab.research.google.com/github/{owner}/blob/{branch}/notebooks/{name}.ipynb"
        found |= {
            "in Google Colab": colab,
            "on Binder": lab,
            "in a GitHub codespace": f"https://codespaces.new/{owner}?quickstart=1",
        }
    return found


def add_run_links(app, pagename: str, context: dict, address: str, branch: str) -> None:
    """Put the line under a chapter's title."""
    if not pagename.startswith("notebooks/") or H1 not in context.get("body", ""):
        return
    students = app.builder.get_relative_uri(pagename, "book/students")
    links = places(pagename, address, branch, students).items()
    said = " · ".join(f'<a href="{escape(url)}">{name}</a>' for name, url in links)
    line = f'<p class="fp-run"><strong>Run this chapter</strong> {said}</p>'
    context["body"] = context["body"].replace(H1, H1 + line, 1)

"""Names of the package in a chapter's code lead to their page in the book."""

import re
from collections.abc import Callable

import fedprompt_helpers as fp

USE = re.compile(r'(<span class="n">fp</span><span class="o">\.</span>)(<span class="n">(\w+)</span>)')


def name_pages(app) -> dict[str, tuple[str, str]]:
    """Return page and place of each public name that the package's pages describe."""
    described, found = app.env.get_domain("py").objects, {}
    for name in fp.__all__:
        made = getattr(fp, name)
        if entry := described.get(f"{made.__module__}.{made.__qualname__}"):
            found[name] = entry.docname, entry.node_id
    return found


def link_names(text: str, page: str, targets: dict[str, tuple[str, str]], relative: Callable[[str, str], str]) -> str:
    """Link every ``fp.name`` of a page's code to where the name is described."""

    def linked(found: re.Match) -> str:
        if found[3] not in targets:
            return found[0]
        docname, place = targets[found[3]]
        return f'{found[1]}<a class="fp-name" href="{relative(page, docname)}#{place}">{found[2]}</a>'

    return USE.sub(linked, text)

"""Names of the package in a chapter's code lead to their page in the book."""

import re
from pathlib import Path

import fedprompt_helpers as fp

USE = re.compile(r'(<span class="n">fp</span><span class="o">\.</span>)(<span class="n">(\w+)</span>)')


def link_names(app, exception) -> None:
    """Link every ``fp.name`` whose name the package's pages describe; Sphinx calls this."""
    if exception or app.builder.format != "html":
        return
    described = app.env.get_domain("py").objects
    targets = {}
    for name in fp.__all__:
        made = getattr(fp, name)
        if entry := described.get(f"{made.__module__}.{made.__qualname__}"):
            targets[name] = entry
    for page in app.env.found_docs:
        file = Path(app.builder.get_outfilename(page))

        def linked(found: re.Match, page: str = page) -> str:
            if (entry := targets.get(found[3])) is None:
                return found[0]
            where = f"{app.builder.get_relative_uri(page, entry.docname)}#{entry.node_id}"
            return f'{found[1]}<a class="fp-name" href="{where}">{found[2]}</a>'

        text = file.read_text(encoding="utf-8")
        if (mended := USE.sub(linked, text)) != text:
            file.write_text(mended, encoding="utf-8")

"""Sphinx extension of the book: what makes the site work offline, and what it needs to be published.

``BOOK_REPOSITORY`` is the one place that names the repository: ``OWNER/NAME`` or ``https://github.com/OWNER/NAME``.
With it, pages get launch, edit and issue buttons, canonical addresses, a sitemap and Open Graph tags. Without it,
they have none of these.
"""

import os
import re
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import shorten

from docutils import nodes
from docutils.parsers.rst import Directive

from book.site.code_links import link_names, name_pages
from book.site.described import join_description, write_signature
from book.site.language_marks import mark_languages
from book.site.pictures import box_pictures
from book.site.progress import Progress, add_progress
from book.site.questions import OutcomeMap, add_questions
from book.site.results_files import ResultsFiles, write_files
from book.site.run_links import add_run_links
from book.site.slides import write_slides
from book.site.tables import mend_tables
from book.site.vendor import MATHJAX, NotVendored, put_mathjax, vendored

COLAB_BRANCH = "colab"
"""Where the publishing workflow puts the chapters with a first cell that installs the package on Google Colab."""

DESCRIPTION = 160
"""Characters that search engines show of a description."""

MENDS = {
    r'(<summary) aria-label="Toggle hidden content"': r"\1",
    r'(<button class="[^"]*search-button-field[^>]*) aria-label="Search"': r"\1",
    r'(<i class="theme-switch[^>]*) title="[^"]*"': r"\1",
    r'(<div class="citation"[^>]*) role="doc-biblioentry"': r'\1 role="listitem"',
}
"""Names that the templates give and that differ from the text seen (who speaks to a computer says what is seen), and a
list of references whose entries are no list items."""


@dataclass(frozen=True)
class Repository:
    """A repository on GitHub, and where GitHub Pages serves its book."""

    owner: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "Repository":
        """Read ``OWNER/NAME``, with or without ``https://github.com/`` before it."""
        match = re.fullmatch(r"(?:https://github\.com/)?([\w-]+)/([\w.-]+?)(?:\.git)?/?", text.strip())
        if match is None:
            raise ValueError(
                f"BOOK_REPOSITORY is {text!r}, expected OWNER/NAME or https://github.com/OWNER/NAME. "
                "Set it so, or unset it for a book without launch and edit buttons."
            )
        return cls(*match.groups())

    @property
    def address(self) -> str:
        """Where the source is."""
        return f"https://github.com/{self.owner}/{self.name}"

    @property
    def pages(self) -> str:
        """Where GitHub Pages serves the book."""
        host = f"{self.owner.lower()}.github.io"
        return f"https://{host}/" if self.name.lower() == host else f"https://{host}/{self.name}/"


def setup(app):
    """Connect everything; Sphinx calls this."""
    app.add_directive("live-federation", LiveFederation)
    app.connect("config-inited", use_vendored_mathjax)
    app.connect("html-page-context", leave_scripts_out, priority=600)
    app.add_directive("progress", Progress)
    app.add_directive("outcome-map", OutcomeMap)
    app.add_directive("results-files", ResultsFiles)
    app.setup_extension("sphinx.ext.autodoc")  # its events
    app.connect("autodoc-process-signature", write_signature)
    app.connect("autodoc-process-docstring", join_description, priority=600)  # after napoleon
    app.connect("html-page-context", add_questions)  # before the box of what is done
    app.connect("html-page-context", add_progress)
    app.connect("html-page-context", describe)
    if has_slides():
        app.connect("html-page-context", lead_to_slides, priority=600)
        app.connect("build-finished", add_slides)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", add_results)
    app.connect("build-finished", mend_pages)
    app.connect("build-finished", keep_icons_in_use)
    text = os.environ.get("BOOK_REPOSITORY")
    address = Repository.parse(text).address if text else ""

    def run_here(app, pagename: str, _template, context: dict, _tree) -> None:
        add_run_links(app, pagename, context, address, COLAB_BRANCH)

    app.connect("html-page-context", run_here)
    if text:
        repository = Repository.parse(text)
        app.setup_extension("sphinx_sitemap")
        app.setup_extension("sphinxext.opengraph")
        app.connect("config-inited", lambda app, config: publish(config, repository))
        app.connect("html-page-context", lead_buttons, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class LiveFederation(Directive):
    """The federation that trains in the reader's browser, as chapter 5 shows it."""

    def run(self) -> list:
        """Give the widget's page as it is."""
        from book.widgets import live_federation

        return [nodes.raw("", live_federation().html, format="html")]


def use_vendored_mathjax(app, config) -> None:
    """Point pages at our copy of MathJax; if there is none, say what then needs a network."""
    try:
        vendored("mathjax")
    except NotVendored as error:
        print(
            f"{error}\nThe book is built all the same, but whoever opens a page with formulas will need a network. "
            "Build again when this is mended.",
            file=sys.stderr,
        )
    else:
        config.mathjax_path = f"../vendor/mathjax/{MATHJAX}"  # pages look in _static


def copy_mathjax(app, exception) -> None:
    """Put MathJax beside the pages, unless they load it from elsewhere."""
    if not exception and app.builder.format == "html" and "://" not in app.config.mathjax_path:
        put_mathjax(Path(app.outdir) / "vendor/mathjax")


def has_slides() -> bool:
    """Say whether slides can be made here: they need reveal.js and MathJax beside them."""
    try:
        return bool(vendored("reveal.js") and vendored("mathjax"))
    except NotVendored:
        return False


def lead_to_slides(app, pagename, templatename, context, doctree) -> None:
    """Put a chapter's slides among what can be downloaded of it, and all of them on the instructors' page."""
    if pagename.startswith("notebooks/") or pagename == "book/instructors":
        entry = {
            "type": "link",
            "url": f"../slides/{'index' if pagename == 'book/instructors' else Path(pagename).name}.html",
            "text": "Slides",
            "label": "slides-button",
            "tooltip": "Slides for teaching",
            "icon": "fas fa-person-chalkboard",
        }
        for group in context["header_buttons"]:
            if group.get("label") == "download-buttons":
                group["buttons"].append(entry)


def add_slides(app, exception) -> None:
    """Make the slides of every chapter beside the pages."""
    if not exception and app.builder.format == "html":
        write_slides([], Path(app.outdir) / "slides")


def add_results(app, exception) -> None:
    """Put the files that figures of results are made from beside the pages."""
    if not exception and app.builder.format == "html":
        write_files(Path(app.outdir) / "results")


def leave_scripts_out(app, pagename, templatename, context, doctree) -> None:
    """Leave out scripts that a page does not need.

    Those for cells that run in the page would come from a content network. MathJax would be loaded by a page without a
    formula, the first one, because pages below it have some.
    """
    unneeded = ["thebe"]
    if not app.env.get_domain("math").data["has_equations"].get(pagename):
        unneeded.append("mathjax")
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context[kind] if not any(word in _told(file) for word in unneeded)]


def _told(file) -> str:
    return f"{file} {getattr(file, 'attributes', {}).get('body') or ''}".lower()


def describe(app, pagename, templatename, context, doctree) -> None:
    """Give a page its first sentences as what a search engine shows under its title."""
    if doctree is None or "sphinxext.opengraph" in app.extensions:  # which describes pages itself
        return
    first = next(iter(doctree.findall(nodes.paragraph)), nodes.paragraph())
    words = "".join(part.astext() for part in first.findall(nodes.Text) if not isinstance(part.parent, nodes.raw))
    told = shorten(" ".join(words.split()), DESCRIPTION, placeholder=" …")
    context["metatags"] = f'{context.get("metatags", "")}<meta name="description" content="{escape(told)}">'


def mend_pages(app, exception) -> None:
    """Mend what the templates write: names of buttons, tables, pictures, languages, and names in code."""
    if exception or app.builder.format != "html":
        return
    targets, relative = name_pages(app), app.builder.get_relative_uri
    site = Path(app.outdir)
    for file in [file for file in site.rglob("*.html") if site / "slides" not in file.parents]:
        page, text = file.relative_to(site).with_suffix("").as_posix(), file.read_text(encoding="utf-8")
        for found, instead in MENDS.items():
            text = re.sub(found, instead, text)
        text = link_names(box_pictures(mend_tables(text), file.parent), page, targets, relative)
        file.write_text(mark_languages(text), encoding="utf-8")


def keep_icons_in_use(app, exception) -> None:
    """Take the icons that no page and no script names out of the theme's Font Awesome: 1.5 MB become 0.1."""
    site = Path(app.outdir)
    script = site / "_static/scripts/fontawesome.js"
    if exception or not script.exists():
        return
    texts = [*site.rglob("*.html"), *(file for file in site.glob("_static/**/*.js") if file != script)]
    used = {name for file in texts for name in re.findall(r"\bfa-([a-z0-9-]+)", file.read_text(encoding="utf-8"))}
    icon = re.compile(r'"?([\w-]+)"?:\[\d+,\d+,\[([^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?')

    def kept(match: re.Match) -> str:
        names = {match[1], *re.findall(r'"([\w-]+)"', match[2])}
        return match[0] if names & used else ""

    script.write_text(icon.sub(kept, script.read_text(encoding="utf-8")), encoding="utf-8")


def publish(config, repository: Repository) -> None:
    """Fill in everything that depends on where the repository and the site are."""
    config.html_theme_options |= {
        "repository_url": repository.address,
        "repository_branch": "main",
        "use_repository_button": True,
        "use_edit_page_button": True,
        "use_issues_button": True,
        "launch_buttons": {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        },
    }
    config.html_baseurl = repository.pages
    config.sitemap_url_scheme = "{link}"
    config.sitemap_excludes = ["genindex.html", "search.html"]
    config.ogp_site_url = repository.pages
    config.ogp_site_name = config.html_title
    config.ogp_image = f"{repository.pages}_static/social.png"
    config.ogp_image_alt = "Five languages send their prompts to one server, which sends back their average."


def lead_buttons(app, pagename, templatename, context, doctree) -> None:
    """Lead the edit button of a chapter to its Markdown source, and Colab to the branch whose chapters install."""
    for group in context["header_buttons"]:
        for button in group.get("buttons", []):
            if button.get("label") == "source-edit-button":
                button["url"] = re.sub(r"\.ipynb$", ".md", button["url"])
            elif "//colab." in button.get("url", ""):
                button["url"] = button["url"].replace("/blob/main/", f"/blob/{COLAB_BRANCH}/")

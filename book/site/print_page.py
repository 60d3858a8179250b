"""Put the pages of a built book into one HTML page that prints well: cover, contents, chapters in their order."""

import re
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import urlsplit

import yaml
from bs4 import BeautifulSoup, Tag

HERE = Path(__file__).resolve().parent
UNKNOWN = "000"  # a page number before the pages are counted
# What belongs to a screen: links to headings, buttons, the widgets' own controls for tables and playing.
SCREEN_ONLY = ".headerlink, .copybtn, .toggle-button, noscript, button, .cell_output details"
REFERENCES = ("for", "aria-labelledby", "aria-describedby", "aria-controls")


@dataclass
class Entry:
    """A line of the contents: what it is called, where it leads, how deep it lies."""

    title: str
    target: str
    level: int


@dataclass
class Book:
    """What is printed: title, author, and the pages by part, as the table of contents names them."""

    title: str
    author: str
    parts: list[tuple[str, list[str]]]
    entries: list[Entry] = field(default_factory=list)


def read_book(config: Path, contents: Path) -> Book:
    """Read title and author from ``_config.yml`` and the order of the pages from ``_toc.yml``."""
    settings, toc = yaml.safe_load(config.read_text("utf-8")), yaml.safe_load(contents.read_text("utf-8"))
    parts = [("", [toc["root"]])]
    for part in toc.get("parts", [{"chapters": toc.get("chapters", [])}]):
        parts.append((part.get("caption", ""), [entry["file"] for entry in part["chapters"]]))
    return Book(settings["title"], settings["author"], parts)


def slug(name: str) -> str:
    """Name a page so that it can stand in an id and in CSS."""
    return re.sub(r"\W+", "-", name)


def article(html: Path, name: str, names: set[str]) -> Tag:
    """Cut the text out of one built page and prepare it for paper.

    Ids get the page's name in front, so that two pages may use the same one. Links to other printed pages become links
    inside the document.

    Parameters
    ----------
    html : Path
        Folder of the built book.
    name : str
        Page, as in the table of contents.
    names : set of str
        All pages that are printed.

    Raises
    ------
    FileNotFoundError
        If the book was not built, or built without this page.
    """
    path = html / f"{name}.html"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there: build the book first (python -m book.site.build) or name its folder"
        )
    soup = BeautifulSoup(path.read_text("utf-8"), "html.parser")
    text = soup.select_one("article.bd-article")
    if text is None:
        raise ValueError(f"{path} has no <article class='bd-article'>: expected a page of sphinx-book-theme")
    fold(text, soup)
    for tag in text.select(SCREEN_ONLY):
        if not tag.find_parent(widget):  # whose script looks for its parts; the style sheet hides them
            tag.decompose()
    relink(text, name, names)
    text["id"], text["style"] = slug(name), f"page: {slug(name)}"
    return text


def widget(tag: Tag) -> bool:
    """Whether an element is a widget: it holds its data."""
    return tag.find("script", type="application/json", recursive=False) is not None


def fold(text: Tag, soup: BeautifulSoup) -> None:
    """Open what a reader should see on paper, and drop code that only draws a picture."""
    for cell in text.select("div.cell"):
        classes = cell.get("class", [])
        for details in cell.select(":scope > details"):
            if "tag_solution" in classes:
                opened(details, "Solution", soup)
            elif "tag_hide-input" in classes and cell.select_one(".cell_output img"):
                details.decompose()
            else:
                opened(details, "", soup)
    for details in text.select("details.sd-dropdown"):
        opened(details, details.summary.get_text(" ", strip=True), soup)


def opened(details: Tag, label: str, soup: BeautifulSoup) -> None:
    """Make a plain box of an element that opens on a click."""
    details.summary.decompose()
    details.name, details.attrs = "div", {"class": "print-opened"}
    if label:
        heading = soup.new_tag("p", attrs={"class": "print-label"})
        heading.string = label
        details.insert(0, heading)


def relink(text: Tag, name: str, names: set[str]) -> None:
    """Point ids, links and pictures of a page to their places in the whole document."""
    for tag in text.find_all(id=True):
        tag["id"] = f"{slug(name)}--{tag['id']}"
    for tag in text.find_all(True):
        for attribute in REFERENCES:
            if value := tag.get(attribute, ""):
                tag[attribute] = " ".join(f"{slug(name)}--{part}" for part in value.split())
        for attribute in ("href", "src"):
            url = urlsplit(tag.get(attribute, ""))
            if url.scheme or url.netloc or not (url.path or url.fragment):
                continue
            file = normpath(join(dirname(name), url.path)) if url.path else f"{name}.html"
            page = file.removesuffix(".html")
            if attribute == "src":
                tag[attribute] = f"/{file}"
            elif page not in names:
                del tag[attribute]  # a page that is not printed
            else:
                tag[attribute] = f"#{slug(page)}" + (f"--{url.fragment}" if url.fragment else "")


def chapter_number(name: str) -> str:
    """Read a chapter's number from its file name; pages that are no chapters have none."""
    found = re.match(r"(\d+)_", name.rpartition("/")[2])
    return str(int(found[1])) if found else ""


def contents_of(book: Book, articles: dict[str, Tag]) -> list[Entry]:
    """List parts, pages and sections."""
    entries = []
    for caption, names in book.parts:
        if caption:
            entries.append(Entry(caption, slug(names[0]), 0))
        for name in names:
            text = articles[name]
            number = chapter_number(name)
            title = " ".join(text.h1.get_text().split())
            entries.append(Entry(f"{number}  {title}" if number else title, slug(name), 1))
            for section in text.select("section[id]"):
                heading = section.find("h2", recursive=False)
                if heading:
                    entries.append(Entry(" ".join(heading.get_text().split()), section["id"], 2))
    return entries


def head(html: Path, root: str) -> tuple[list[str], list[str]]:
    """Take the style sheets of the book's first page, and its MathJax."""
    soup = BeautifulSoup((html / f"{root}.html").read_text("utf-8"), "html.parser")
    folder = dirname(root)

    def local(link: str) -> str:
        return link if urlsplit(link).scheme else "/" + normpath(join(folder, link))

    styles = [local(link["href"]) for link in soup.select("link[rel=stylesheet]")]
    scripts = []
    for page in (html / "notebooks").glob("*.html"):
        soup = BeautifulSoup(page.read_text("utf-8"), "html.parser")
        for script in soup.select("script"):
            if "mathjax" in script.get("src", "").lower():
                source = script["src"]
                scripts.append(source if urlsplit(source).scheme else "/" + normpath(join("notebooks", source)))
        if scripts:
            break
    return styles, scripts


def escape(text: str) -> str:
    """Write a text as a CSS string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def whole_book(book: Book, html: Path) -> str:
    """Write the whole book as one HTML page, and note its contents in `book.entries`.

    Page numbers in the contents are placeholders, in elements that name their target in ``data-page-of``.

    Parameters
    ----------
    book : Book
        Changed: `entries` is filled.
    html : Path
        Folder of the built pages; links in the result are relative to it and begin with a slash.
    """
    names = [name for _, part in book.parts for name in part]
    articles = {name: article(html, name, set(names)) for name in names}
    book.entries = contents_of(book, articles)
    styles, scripts = head(html, names[0])
    page = BeautifulSoup(
        '<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8"></head>'
        '<body class="print"></body></html>',
        "html.parser",
    )

    def add(parent: Tag, name: str, text: str = "", **attributes: str) -> Tag:
        tag = page.new_tag(name, attrs={key.replace("_", "-").strip("-"): value for key, value in attributes.items()})
        if text:
            tag.string = text
        parent.append(tag)
        return tag

    add(page.head, "title", book.title)
    for style in styles:
        add(page.head, "link", rel="stylesheet", href=style)
    running = [
        f"@page {slug(name)} {{ @top-center {{ content: {escape(' '.join(text.h1.get_text().split()))} }} }}"
        for name, text in articles.items()
    ]
    add(page.head, "style", (HERE / "print.css").read_text("utf-8") + "\n".join(running))
    add(
        page.head, "script", 'window.MathJax = {options: {processHtmlClass: "tex2jax_process|math", enableMenu: false}}'
    )
    for script in scripts:
        add(page.head, "script", src=script, defer="defer")

    cover = add(page.body, "header", _class="print-cover")
    add(cover, "img", src="/_static/logo-light.svg", alt="")
    add(cover, "p", book.title, _class="print-title")
    add(cover, "p", book.author)
    add(cover, "p", f"Version {version('fedprompt-helpers')}")
    contents = add(page.body, "nav", _class="print-contents")
    add(contents, "h1", "Contents", id="print-contents")
    for entry in book.entries:
        line = add(contents, "a", href=f"#{entry.target}", _class=f"print-level-{entry.level}")
        add(line, "span", entry.title)
        add(line, "span", UNKNOWN, _class="print-number", data_page_of=entry.target)
    add(
        contents,
        "p",
        "This is the printed form of the book. Code that only draws a picture is left out, solutions stand open below "
        "their exercises, and what moves on a screen is shown as it is at first, a federation in the page after 20 "
        "rounds. All of it is in the notebooks.",
        _class="print-note",
    )
    for text in articles.values():
        page.body.append(text)
    return str(page)

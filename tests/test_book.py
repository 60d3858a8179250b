"""The book renders without a warning, with every chapter and every stored output."""

import os
import re
import struct
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import typer
import yaml

from book.site.build import ROOT
from book.site.language_marks import mark_languages, sentences
from book.site.sphinx_site import Repository
from fedprompt_helpers.cli import app


def chapters() -> list[str]:
    parts = yaml.safe_load((ROOT / "book/_toc.yml").read_text())["parts"]
    return [entry["file"] for part in parts for entry in part["chapters"] if entry["file"].startswith("notebooks/")]


def some_chapters() -> list[str]:
    """The first and the last chapter, where all of them would show nothing more."""
    return [chapters()[0], chapters()[-1]]


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """Some pages of a book that knows its repository."""
    folder = tmp_path_factory.mktemp("published")
    contents = {"format": "jb-book", "root": "book/intro", "chapters": [{"file": name} for name in some_chapters()]}
    (folder / "_toc.yml").write_text(yaml.safe_dump(contents))
    build = ["build", ".", "--config", "book/_config.yml", "--toc", str(folder / "_toc.yml"), "--quiet"]
    start = [sys.executable, "-W", "ignore", "-c", "from jupyter_book.cli.main import main; main()"]
    environment = {**os.environ, "BOOK_REPOSITORY": "an-owner/a.book"}
    command = [*start, *build, "--path-output", str(folder)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]  # links to the pages that are left out are warned of
    return folder / "_build/html"


def test_it_builds_with_warnings_as_errors(built):
    for name in [*chapters(), "book/intro", "book/glossary", "book/bibliography"]:
        page = built / f"{name}.html"
        assert page.exists(), name
        assert "Traceback" not in page.read_text(), name


class Targets(HTMLParser):
    """The places of a page that can be linked to, and the places that it links to."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.ids.add(value)
            if name in ("href", "src") and value:
                self.links.add(value)


def test_every_internal_link_leads_somewhere(built):
    found = {
        page.resolve(): Targets(page.read_text())
        for page in built.rglob("*.html")
        if not {"_static", "slides"} & {*page.parts}
    }
    assert len(found) > len(chapters())
    checked, broken = 0, []
    for page, targets in found.items():
        for link in targets.links:
            url = urlsplit(link)
            if url.scheme or url.netloc or link in ("#", ""):
                continue
            target = (page.parent / unquote(url.path)).resolve() if url.path else page
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(url.fragment)
            checked += 1
            if not target.exists() or (anchor and target in found and anchor not in found[target].ids):
                broken.append(f"{page.name}: {link}")
    assert checked > 100
    assert not broken


def test_every_chapter_is_committed_executed_and_in_order():
    assert len(chapters()) >= 3
    for name in chapters():
        notebook = nbformat.read(ROOT / f"{name}.ipynb", as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), name
        for cell in cells:
            for output in cell.outputs:
                assert output.output_type != "error" or "raises-exception" in cell.metadata.get("tags", []), name
                assert output.get("name") != "stderr" or "warns" in cell.metadata.get("tags", []), name


def test_every_chapter_is_executed_from_its_source():
    import jupytext

    for name in chapters():
        source = jupytext.read(ROOT / f"{name}.md")
        notebook = nbformat.read(ROOT / f"{name}.ipynb", as_version=4)
        assert [cell.source for cell in source.cells] == [cell.source for cell in notebook.cells], name


SOURCE = "https://github.com/an-owner/a.book"
ONLINE = ("colab.research", "mybinder", "/edit/main/", "/issues/new", 'property="og:', 'rel="canonical"')


def links(pages: Path, name: str) -> set[str]:
    return Targets((pages / f"{name}.html").read_text()).links


def test_buttons_lead_to_files_of_the_repository(published):
    heads = {
        "https://colab.research.google.com/github/an-owner/a.book/blob/colab/": ".ipynb",
        "https://mybinder.org/v2/gh/an-owner/a.book/main?urlpath=lab/tree/": ".ipynb",
        f"{SOURCE}/edit/main/": ".md",
    }
    for name in some_chapters():
        for head, suffix in heads.items():
            (path,) = [link.removeprefix(head) for link in links(published, name) if link.startswith(head)]
            assert path == name + suffix and (ROOT / path).exists()
        assert any(link.startswith(f"{SOURCE}/issues/new?") and name in link for link in links(published, name))
    assert f"{SOURCE}/edit/main/book/intro.md" in links(published, "book/intro")


def test_each_chapter_says_where_it_runs(published, built):
    for name in some_chapters():
        for folder, places in ((built, 1), (published, 4)):
            (line,) = re.findall('</h1><p class="fp-run">(.*?)</p>', (folder / f"{name}.html").read_text())
            assert line.startswith("<strong>Run this chapter</strong>") and line.count("<a href=") == places
            assert '../book/students.html#install">on your own machine' in line
    assert 'id="install"' in (built / "book/students.html").read_text()


def test_the_sitemap_names_every_page_of_the_table_of_contents(published):
    found = set(re.findall("<loc>(.*?)</loc>", (published / "sitemap.xml").read_text()))
    assert {f"https://an-owner.github.io/a.book/{name}.html" for name in [*some_chapters(), "book/intro"]} <= found
    for address in found:
        assert (published / address.removeprefix("https://an-owner.github.io/a.book/")).exists()


def test_a_shared_link_shows_title_words_and_picture(published):
    page = (published / f"{chapters()[0]}.html").read_text()
    tags = dict(re.findall(r'<meta property="(og:\w+)" content="([^"]+)"', page))
    assert tags["og:title"] and len(tags["og:description"]) > 50
    assert tags["og:url"] == f"https://an-owner.github.io/a.book/{chapters()[0]}.html"
    picture = published / tags["og:image"].removeprefix("https://an-owner.github.io/a.book/")
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (1200, 630)


def test_without_a_repository_there_is_no_button_that_leads_nowhere(built):
    for name in [*chapters(), "book/intro"]:
        assert [word for word in ONLINE if word in (built / f"{name}.html").read_text()] == []
    assert not (built / "sitemap.xml").exists()


@pytest.mark.parametrize("text", ["a/b", "https://github.com/a/b", "https://github.com/a/b.git", " a/b/ "])
def test_a_repository_is_given_by_name_or_address(text):
    assert Repository.parse(text).address == "https://github.com/a/b"


def test_a_repository_named_like_its_pages_is_served_at_the_root():
    assert Repository.parse("An-Owner/an-owner.github.io").pages == "https://an-owner.github.io/"


@pytest.mark.parametrize("text", ["b", "https://example.org/a/b", "a/b/c", "a b/c"])
def test_another_repository_is_refused_with_what_to_write(text):
    with pytest.raises(ValueError, match="expected OWNER/NAME"):
        Repository.parse(text)


def test_foreign_sentences_carry_their_language(built):
    page = (built / "notebooks/01_languages_and_borders.html").read_text()
    assert {"bn", "cy", "eu", "ga", "is", "lb", "ne"} <= set(re.findall('<span lang="([a-z]+)"', page))
    for said, language in sentences().items():
        bare = re.sub(rf'<span lang="{language}">[^<]*</span>', "", page)
        assert f">{said}<" not in bare, said
    assert "<span lang" not in (built / "book/cite.html").read_text()


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("<p>say <em>oedia radio</em></p>", '<p>say <em><span lang="cy">oedia radio</span></em></p>'),
        ('<p lang="cy">oedia radio</p>', '<p lang="cy">oedia radio</p>'),
        ("<script>'oedia radio'</script>", "<script>'oedia radio'</script>"),
        ('<a title="oedia radio">stop</a>', '<a title="oedia radio">stop</a>'),
        ("<td>नेपाली</td>", '<td><span lang="ne">नेपाली</span></td>'),
    ],
)
def test_only_text_that_is_read_is_marked(text, marked):
    assert mark_languages(text) == marked


def test_the_page_of_the_command_line_names_every_option(built):
    page = (built / "book/command_line.html").read_text()
    for command in typer.main.get_command(app).commands.values():
        assert f">{command.name}<" in page or f"fedprompt {command.name}" in page
        for option in command.params:
            name = option.opts[-1].lstrip("-") if option.opts[-1].startswith("-") else f"arg-{option.opts[-1]}"
            assert f'id="cmdoption-fedprompt-{command.name}-{name}"'.lower() in page.lower(), option


def test_a_name_of_the_package_in_code_leads_to_its_description(built):
    page = (built / "notebooks/05_fedavg.html").read_text()
    found = re.findall(r'class="fp-name" href="([^"#]+)#([^"]+)"><span class="n">(\w+)', page)
    assert {"load_task", "train", "evaluate"} <= {name for *_, name in found}
    for address, place, name in found:
        assert place.endswith(f".{name}")
        assert f'id="{place}"' in (built / "notebooks" / address).resolve().read_text()


def test_every_page_says_what_it_is_about(built):
    for name in [*chapters(), "book/intro", "book/command_line"]:
        (said,) = re.findall('<meta name="description" content="([^"]*)"', (built / f"{name}.html").read_text())
        assert 40 < len(said) <= 160, name


def test_slides_lie_beside_the_pages_and_chapters_lead_to_them(built):
    if not (built / "vendor/mathjax").is_dir():
        pytest.skip("slides need what npm brings")
    for name in some_chapters():
        (address,) = re.findall(r'href="(\.\./slides/[^"]+)"', (built / f"{name}.html").read_text())
        assert (built / "notebooks" / address).resolve().is_file()
    assert 'href="../slides/index.html"' in (built / "book/instructors.html").read_text()


def test_mathjax_is_loaded_by_pages_with_a_formula_alone(built):
    if not (built / "vendor/mathjax").is_dir():
        pytest.skip("built without MathJax")
    loading, formulas = set(), set()
    for page in [*built.glob("notebooks/*.html"), *built.glob("book/**/*.html")]:
        text = page.read_text()
        loading |= {page} if "tex-chtml" in text else set()
        formulas |= {page} if re.search(r'class="math\b', text) else set()
    assert loading == formulas and 8 < len(formulas) < len(list(built.glob("notebooks/*.html"))) + 3

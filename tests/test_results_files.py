"""A reader of the site can fetch what each figure of results is made from, and make its table anew."""

import re
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from book.research import evidence
from book.research.evidence_page import READ
from book.research.results import table
from book.research.sweeps import read_sweep
from book.site.build import ROOT
from book.site.results_files import NAMED

RESULTS = ROOT / "book/results"
PAGES = ("all_results", "evidence")


@pytest.mark.parametrize("page", PAGES)
def test_every_figure_of_results_has_its_files(page):
    text = (ROOT / f"book/{page}.md").read_text("utf-8")
    figures = re.findall(r"^```\{figure\} results/\w+/(\w+)\.png\n:alt: .+\n\n(.+)\n```$", text, re.M)
    assert len(figures) == text.count("```{figure}") > 2  # each has a caption
    assert [name for name, _ in figures] == [named.partition("/")[2] for named in NAMED.findall(text)]


@pytest.mark.parametrize("page", PAGES)
def test_the_files_behind_a_figure_are_on_the_site_and_give_its_table(page, built):
    soup = BeautifulSoup((built / f"book/{page}.html").read_text("utf-8"), "html.parser")
    boxes = soup.select("p.fp-behind")
    assert len(boxes) == len(soup.select("figure img")) > 2
    for box in boxes:
        made, written, records = (built / "book" / str(link["href"]) for link in box.select("a"))
        kept = f"{written.parent.name}/{written.stem}"
        assert written.read_bytes() == (RESULTS / f"{kept}.toml").read_bytes()
        assert f"{len(records.read_text('utf-8').splitlines())} run records" in box.get_text()
        if written.parent.name == "evidence":
            sweep = read_sweep(RESULTS / f"{kept}.toml")
            read = READ.get(written.stem, evidence.scores)
            pd.testing.assert_frame_equal(read(sweep, records), read(sweep, RESULTS / "records.jsonl"))
        else:
            found = table(read_sweep(Path(written)), records)  # with nothing but what the site has
            assert list(found["accuracy"].round(6)) == list(pd.read_csv(made)["accuracy"].round(6)), kept

"""The files behind a figure of results: its table, its sweep file and its run records, on the site."""

import json
import re
import shutil
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive

from book.research.sweeps import Sweep, read_sweep, recorded, settings
from book.site.build import ROOT
from fedprompt_helpers.config import RunConfig

RESULTS = ROOT / "book/results"
TABLES = {"sweeps": "tables", "evidence": "evidence"}
"""Where the table of a sweep file lies, by the folder of the file."""


NAMED = re.compile(r"^```\{results-files\} (\S+)$", re.M)


class ResultsFiles(Directive):
    """Links from below a figure to what it is made from; the argument is a sweep, such as ``sweeps/data_size``."""

    required_arguments = 1

    def run(self) -> list:
        """Give the links, and note the sweep for `write_files`."""
        environment, name = self.state.document.settings.env, self.arguments[0]
        links = {"table (CSV)": table_of(name), "sweep file (TOML)": f"{name}.toml"}
        missing = [file for file in links.values() if not (RESULTS / file).exists()]
        if missing:
            raise self.error(f"results-files: book/results has no {missing[0]}")
        count = len(records_of(read_sweep(RESULTS / f"{name}.toml")))
        links[f"{count} run records (JSON lines)"] = f"records/{name}.jsonl"
        depth = "../" * environment.docname.count("/")
        said = ", ".join(f'<a href="{depth}results/{file}" download>{text}</a>' for text, file in links.items())
        return [nodes.raw("", f'<p class="fp-behind">Behind this figure: {said}.</p>', format="html")]


def table_of(name: str) -> str:
    """Name the table of a sweep, below ``book/results``."""
    folder, _, stem = name.rpartition("/")
    return f"{TABLES[folder]}/{stem}.csv"


def records_of(sweep: Sweep) -> list[dict]:
    """Give every record that the table of a sweep reads: of its settings, and of those that it chose among."""
    read, found = recorded(RESULTS / "records.jsonl"), {}

    def noted(config: RunConfig) -> dict | None:
        if record := read(config):
            found[record["name"]] = record
        return record

    for setting in settings(sweep, noted):
        for config in setting.configs:
            noted(config)
    return [found[name] for name in sorted(found)]


def write_files(site: Path) -> None:
    """Put tables, sweep files and records of the sweeps that pages name on the site."""
    pages = [page.read_text(encoding="utf-8") for page in sorted((ROOT / "book").glob("*.md"))]
    for name in sorted({name for page in pages for name in NAMED.findall(page)}):
        for there in (f"{name}.toml", table_of(name)):
            (site / there).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(RESULTS / there, site / there)
        target = site / f"records/{name}.jsonl"
        target.parent.mkdir(parents=True, exist_ok=True)
        found = records_of(read_sweep(RESULTS / f"{name}.toml"))
        lines = (json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in found)
        target.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

"""Each concluding sentence of the book stands on rows that are there, that say so, and that have its numbers."""

import json
from pathlib import Path

import pytest

from book.research.__main__ import SENTENCES
from book.research.sentences import check
from fedprompt_helpers.errors import FedPromptError

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = {path for n in (7, 8, 9, 10, 11, 12, 13, 17) for path in ROOT.glob(f"notebooks/{n:02d}_*.md")}
GOOD = {"table": "evidence/linear.csv", "where": "label_budget == 64 and setting == 'federated'", "holds": "gain < 0"}
SAYS = "FedAvg loses 2.3 points"


def wrong(tmp_path: Path, says: str = SAYS, **changed: str) -> list[str]:
    """What is wrong with one sentence, which the results of the book are asked about and which a page says."""
    row = ", ".join(f"{key} = {json.dumps(value)}" for key, value in (GOOD | changed).items())
    page, listed = tmp_path / "page.md", tmp_path / "sentences.toml"
    page.write_text(f"At 64 labels\nFedAvg\nloses {says.split()[-2]} points.", encoding="utf-8")
    listed.write_text(f"[[sentence]]\nfile = {json.dumps(str(page))}\nsays = '{says}'\nrows = [{{ {row} }}]", "utf-8")
    [(_, _, found)] = check(listed, ROOT)
    return found


def test_every_concluding_sentence_holds():
    found = list(check(ROOT / SENTENCES, ROOT))
    assert [(sentence.says, wrong) for sentence, _, wrong in found if wrong] == []
    files = {ROOT / sentence.file for sentence, _, _ in found}
    assert files >= CHAPTERS | {ROOT / "book/intro.md", ROOT / "book/all_results.md"}


def test_a_sentence_that_its_row_carries(tmp_path):
    assert wrong(tmp_path) == []


def test_what_a_sentence_may_get_wrong(tmp_path):
    assert wrong(tmp_path, "FedAvg loses 2.4 points") == ["2.4 is in none of its rows"]
    assert wrong(tmp_path, "All lose 2.3 points") == [f"{tmp_path}/page.md does not say this"]
    assert wrong(tmp_path, holds="gain > 0") == ["not true: gain > 0"]
    assert "no row has label_budget == 63" in wrong(tmp_path, where="label_budget == 63")


@pytest.mark.parametrize("changed", [{"where": "labels == 64"}, {"table": "evidence/none.csv"}, {"rows": "x"}])
def test_a_mistake_in_the_list_says_where(tmp_path, changed):
    with pytest.raises(FedPromptError, match=r"sentences\.toml"):
        wrong(tmp_path, **changed)

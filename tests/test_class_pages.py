"""The pages to teach from: marks that add up, an exam whose numbers are right, a hand-in version without solutions."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from book.site.versions import without_boxes

ROOT = Path(__file__).resolve().parent.parent
EXAM = (ROOT / "book/exam.md").read_text("utf-8")
PROJECT = (ROOT / "book/project.md").read_text("utf-8")


def solution(number):
    """The solution of one question, on one line."""
    part = EXAM.split(f"## {number}. ")[1]
    return " ".join(re.search(r"\{dropdown\} Solution\n(.*?)````", part, re.DOTALL)[1].split())


def test_the_marks_of_the_exam_add_up():
    marks = [int(points) for points in re.findall(r"(?m)^## \d\. .*\((\d+) points\)$", EXAM)]
    assert len(marks) == 8 and sum(marks) == 40
    for question, points in zip(EXAM.split("\n## ")[1:], marks, strict=True):
        parts = [int(x) for x in re.findall(r"\((\d) points?\)", question.split("````")[0].partition("\n")[2])]
        assert not parts or sum(parts) == points, question[:30]


def test_the_hand_in_version_has_the_questions_and_no_solution():
    given = without_boxes(EXAM)
    assert "dropdown" not in given and given.count("\n## ") == 8
    for number in range(1, 9):
        assert solution(number) and solution(number)[:40] not in " ".join(given.split())


def has(number, *values):
    for value in values:
        assert value in solution(number), value


def test_one_round():
    sent, examples = np.array([2.0, 4.0, -1.0]), np.array([10, 30, 60])
    has(1, f"= {np.average(sent, weights=examples):.1f}.", f"= {sent.mean():.2f}.")


def test_what_is_trained_and_its_bill():
    prompt, head = 20 * 768, 768 * 768 + 768 + 768 * 5 + 5
    both = prompt + head
    has(2, f"{prompt:,}", f"{head:,}", f"{prompt / both:.1%}", f"{head / both:.1%}")
    assert f"{both:,}" in EXAM.split("## 3. ")[1]
    way = 6 * 25 * 4 * both
    has(3, f"{2 * way / 1e6:.1f} MB", f"{way / 1e6:.1f} MB", f"{way / 4e6:.1f} MB", f"{way * 5 / 4e6:.1f} MB")
    has(3, f"{1 - 5 / 8:.1%}")


def test_five_seeds():
    values = np.array([2, 5, -1, 4, 5])
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    has(
        4,
        f"Mean {values.mean():.1f}",
        f"{values.std(ddof=1):.2f}",
        f"{(high - low) / 2:.2f}",
        f"−{-low:.1f} to {high:.1f}",
    )


def test_the_table_of_the_exam_is_that_of_the_records():
    rows = pd.read_csv(ROOT / "book/results/evidence/linear.csv").query("label_budget == 64").set_index("setting")
    names = {
        "majority class": "majority class",
        "local": "alone",
        "ridge, local": "ridge regression, alone",
        "federated, then alone": "federated, then alone",
        "ridge, one message": "ridge regression, one message",
    }
    for setting, name in names.items():
        row = rows.loc[setting]
        ends = f" ({row.accuracy_low:.3f} to {row.accuracy_high:.3f})" if setting != "majority class" else ""
        assert f"| {name} | {row.accuracy:.3f}{ends} |" in EXAM, name
    together, alone = rows.loc["ridge, one message"].accuracy, rows.loc["ridge, local"].accuracy
    has(5, f"{100 * (together - alone):.1f} points", f"{together:.3f} − {alone:.3f}")
    gains = 100 * (rows.loc[["ridge, local", "federated, then alone"]].accuracy - rows.loc["local"].accuracy)
    assert f"worth {gains.iloc[1]:.1f} points" in EXAM and gains.iloc[0] > 0.75 * gains.iloc[1]


def test_who_holds_what():
    table = np.array([[9, 1], [3, 7]])
    shares, whole = table / 10, table.sum(0) / 20
    far = abs(shares - whole).sum(1) / 2
    has(6, f"shares {whole[0]:.1f} and {whole[1]:.1f}", f"distance {far[0]:.1f}", f"mean is {far.mean():.1f}")


def test_the_marks_of_the_rubric_and_of_both_reports_add_up():
    rubric = PROJECT.split("## The rubric")[1].split("## A good report")[0]
    most = [int(x) for x in re.findall(r"(?m)^  - (\d)$", rubric)]
    assert sum(most) == 20
    for heading, text in (("A good report", "18"), ("A tempting report", "5")):
        part = PROJECT.split(f"## {heading}: {text} of 20")[1].split("\n## ")[0]
        marks = [(int(got), int(of)) for got, of in re.findall(r"(?m)^  - (\d) of (\d)$", part)]
        assert [of for _, of in marks] == most and sum(got for got, _ in marks) == int(text)


@pytest.mark.parametrize("page", ["assignments", "project", "exam", "seminar", "assistants"])
def test_instructors_find_each_page(page):
    assert f"({page}.md)" in (ROOT / "book/instructors.md").read_text("utf-8")
    assert f"- file: book/{page}\n" in (ROOT / "book/_toc.yml").read_text("utf-8")


def test_the_reading_leads_to_the_public_reviews():
    assert "https://openreview.net/forum?id=zzqn5G9fjn" in (ROOT / "book/seminar.md").read_text("utf-8")

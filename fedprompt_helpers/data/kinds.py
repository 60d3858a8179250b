"""Kinds of task: a text has a label (``text``), each word has one (``tokens``), a question an answer (``span``).

A row of every kind is the same few texts. Of ``tokens``, ``text`` is the words and ``label`` their BIO tags, with
single spaces between. Of ``span``, ``text`` is the question, ``text_pair`` its context, and ``label`` says where in the
context the answer stands, as in ``34:37``; several answers have a space between, and ``-`` is none.
"""

import functools
import json
import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from ..errors import FedPromptError
from .readers import Reader, Row

NONE = "-"  # no answer
SENTENCE = re.compile(r"(?<=[.!?。！？؟।])\s*")


def parts(kind: str, label: str) -> list[str]:
    """Return the labels, of those that a head tells apart, that stand in one row."""
    return [label] if kind == "text" else label.split() if kind == "tokens" else ["start", "end"]


def places(label: str) -> list[tuple[int, int]]:
    """Read where answers begin and end: ``"34:37"`` is ``[(34, 37)]``."""
    return [] if label == NONE else [(int(x), int(y)) for x, _, y in (one.partition(":") for one in label.split())]


def answers(context: str, label: str) -> list[str]:
    """Return the answers that count as right, at least one: that of a question without any is empty."""
    return [context[start:end] for start, end in places(label)] or [""]


def reader(kind: str, *, strict: bool) -> Reader | None:
    """Return what reads the files of a kind, or None for tables."""
    return {"tokens": functools.partial(conll, strict=strict), "span": squad}.get(kind)


def conll(where: str, text: str, *, strict: bool) -> Iterator[Row]:
    """Yield each sentence of a CoNLL file: a word a line and, last, its tag; an empty line between sentences.

    Where it is not `strict`, as for published files, a tag without a word is passed over.
    """
    words, tags = [], []
    for number, line in enumerate([*text.rstrip().split("\n"), ""], 1):
        cells, row = re.split("[ \t]+", line.strip()), Row(where, f"line {number}", "", {})
        if cells != [""]:
            if len(cells) < 2 and strict:
                raise row.fault(f"found {line[:40]!r}; expected a word and its tag, with a space or a tab between")
            if not re.fullmatch(r"O|[BI]-\S+", cells[-1]):
                raise row.fault(f"the tag {cells[-1][:40]!r} is not BIO; expected O, B-TYPE or I-TYPE, as in B-PER")
            words += cells[:1] if len(cells) > 1 else []
            tags += cells[-1:] if len(cells) > 1 else []
        elif words:
            place = f"sentence that ends in line {number - 1}"
            yield row._replace(place=place, cells={"text": " ".join(words), "label": " ".join(tags)})
            words, tags = [], []
        else:
            raise row.fault("an empty sentence: nothing stands before this empty line; take one empty line out")


def squad(where: str, text: str) -> Iterator[Row]:
    """Yield each question of a JSON file in the form of SQuAD: data, paragraphs, qas, answers."""
    form = 'expected {"data": [{"paragraphs": [{"context": ..., "qas": [{"question": ..., "answers": [...]}]}]}]}'
    number, row, question = 0, Row(where, "question 1", "", {}), ""
    try:
        for paragraph in (each for article in json.loads(text)["data"] for each in article["paragraphs"]):
            for qa in paragraph["qas"]:
                number, question = number + 1, qa["question"]
                row = row._replace(place=f"question {number}")
                given = [(one["text"], one["answer_start"]) for one in qa["answers"]]
                yield row._replace(cells=_question(question, paragraph["context"], given))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        if not isinstance(error, FedPromptError):
            raise row.fault(f"found {type(error).__name__}: {error}; {form}") from error
        at = max(text.find(json.dumps(question, ensure_ascii=x)) for x in (True, False))
        raise row._replace(place=f"{row.place} (line {text[: max(at, 0)].count(chr(10)) + 1})").fault(
            str(error)
        ) from error


def _question(question: str, context: str, given: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """Make a row of a question, whose answers stand in its context just where they say; spaces around go."""
    before, where = len(context) - len(context.lstrip()), []
    if not question.strip() or not context.strip():
        raise FedPromptError(
            f"an empty {'context' if question.strip() else 'question'}; write one, or leave the question out"
        )
    for answer, start in given:
        if not answer or start < 0 or context[start : start + len(answer)] != answer:
            found = f"where {context[max(start, 0) :][:40]!r} stands" if answer in context else "nor anywhere else"
            raise FedPromptError(
                f"the answer {answer[:40]!r} is not in its context at {start}, {found}; mend answer_start or text"
            )
        shift = len(answer) - len(answer.lstrip()) + start - before
        where.append(f"{shift}:{shift + len(answer.strip())}")
    return {"text": question.strip(), "text_pair": context.strip(), "label": " ".join(where) or NONE}


def from_hub(kind: str, columns: dict[str, list], names: Sequence[str]) -> dict[str, list[str]]:
    """Make rows of what the hub has of each column; `names` are those of the tags that it numbers."""
    if kind == "tokens":
        kept = [[i for i, word in enumerate(words) if word.strip()] for words in columns["text"]]
        given = zip(columns["text"], kept, strict=True)
        words = [" ".join(["".join(row[i].split()) for i in at]) for row, at in given]
        tags = [" ".join([str(names[row[i]]) for i in at]) for row, at in zip(columns["label"], kept, strict=True)]
        return {"text": words, "label": tags}
    if kind == "span":
        given = zip(columns["text"], columns["text_pair"], columns["label"], strict=True)
        rows = [_question(x, y, zip(z["text"], z["answer_start"], strict=True)) for x, y, z in given]
        return {name: [row[name] for row in rows] for name in ("text", "text_pair", "label")}
    return {name: [(value or "").strip() for value in values] for name, values in columns.items()}


def entity_scores(truth: Sequence[Sequence[str]], guesses: Sequence[Sequence[str]]) -> dict[str, float]:
    """Score whole entities by seqeval: F1 over all, its mean over types, and of each type; and the share of words."""
    from seqeval.metrics import classification_report

    rows: list[list[str]] = [[*row] for row in truth]
    report, options = {}, cast(Any, {"output_dict": True, "zero_division": 0})
    pairs = [pair for row in zip(rows, guesses, strict=True) for pair in zip(*row, strict=True)]
    if any(tag != "O" for pair in pairs for tag in pair):
        report = cast(dict, classification_report(rows, [[*row] for row in guesses], **options))
    f1 = {name: float(one["f1-score"]) for name, one in report.items()}
    return {
        "accuracy": sum(a == b for a, b in pairs) / len(pairs),
        "macro_f1": f1.get("macro avg", 0.0),
        "entity_f1": f1.get("micro avg", 0.0),
        **{f"f1_{name}": value for name, value in f1.items() if not name.endswith(" avg")},
    }


def plain(answer: str) -> list[str]:
    """Return the words of an answer as SQuAD's official script compares them: lower case, no articles, no marks."""
    answer = "".join(c for c in answer.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", answer).split()


def answer_scores(truth: Sequence[Sequence[str]], guesses: Sequence[str]) -> dict[str, float]:
    """Score answers as SQuAD does, each by the true one that is nearest: share of exact ones, and mean F1 of words."""
    exact, f1 = [], []
    for golds, guess in zip(truth, guesses, strict=True):
        said, pairs = plain(guess), []
        for gold in map(plain, golds):
            common = (Counter(gold) & Counter(said)).total()
            empty = float(gold == said) if not (gold and said) else None
            pairs.append((gold == said, 2 * common / (len(gold) + len(said)) if empty is None else empty))
        exact.append(max(pair[0] for pair in pairs))
        f1.append(max(pair[1] for pair in pairs))
    return {"accuracy": sum(exact) / len(exact), "macro_f1": sum(f1) / len(f1)}


def floor(kind: str, rows: Any) -> dict[str, float]:
    """Score what needs no training: the most frequent label, O for every word, the sentence that is most like it.

    Of a context that is the sentence with most words of the question (the first of several).
    """
    labels = [rows.features["label"].names[i] for i in rows["label"]] if kind == "text" else rows["label"][:]
    if kind == "tokens":
        truth = [label.split() for label in labels]
        return entity_scores(truth, [["O"] * len(tags) for tags in truth])
    if kind == "span":
        contexts, guesses = rows["text_pair"][:], []
        for question, context in zip(rows["text"], contexts, strict=True):
            asked = Counter(plain(question))
            guesses.append(max(SENTENCE.split(context), key=lambda one: (Counter(plain(one)) & asked).total()))
        return answer_scores([answers(*row) for row in zip(contexts, labels, strict=True)], guesses)
    counts = Counter(labels)
    share = max(counts.values()) / len(labels)
    return {"accuracy": share, "macro_f1": 2 * share / (1 + share) / len(counts)}

"""Named entities and questions: reading, windows, scores by the official rules, one path for records and adapters."""

import json
import random
from pathlib import Path

import jupytext
import numpy as np
import pytest

import fedprompt_helpers as fp
from fedprompt_helpers.data import kinds
from fedprompt_helpers.model import kinds as heads

CHAPTER = Path(__file__).parents[1] / "notebooks/14_beyond_classification.md"
SENTENCES = [
    ("Amina lives in Kano .", "B-PER O O B-LOC O"),
    ("Juma went to Dar es Salaam today", "B-PER O O B-LOC I-LOC I-LOC O"),
    ("The river is wide", "O O O O"),
    ("Fatou Diop met Moussa in Dakar", "B-PER I-PER O B-PER O B-LOC"),
]
CONTEXT = "  The old mill stands by the river. It was built in 1872 by Anna Berg. It burned down twice."
QUESTIONS = [("Who built the mill?", "Anna Berg"), ("When was it built?", "1872"), ("How often did it burn?", "twice")]


def conll(rows):
    return "\n\n".join("\n".join(f"{w} {t}" for w, t in zip(x.split(), y.split(), strict=True)) for x, y in rows) + "\n"


def squad(questions, context=CONTEXT, shift=0):
    qas = [
        {"question": q, "id": str(i), "answers": [{"text": a, "answer_start": context.find(a) + shift}]}
        for i, (q, a) in enumerate(questions)
    ]
    return json.dumps({"data": [{"title": "mill", "paragraphs": [{"context": context, "qas": qas}]}]}, indent=1)


@pytest.fixture
def names(tmp_path):
    for language in ("xa", "xb"):
        (tmp_path / language).mkdir()
        for split, times in (("train", 6), ("dev", 1), ("test", 2)):
            rows = [
                (f"{text} {language} {split} {i}", f"{tags} O O O") for i in range(times) for text, tags in SENTENCES
            ]
            (tmp_path / language / f"{split}.txt").write_text(conll(rows), "utf-8")
    return tmp_path


@pytest.fixture
def questions(tmp_path):
    for split in ("train", "dev", "test"):
        (tmp_path / f"xa.{split}.json").write_text(squad(QUESTIONS, f"{CONTEXT} This is {split}."), "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Amina PER\n", "train.txt, line 1: the tag 'PER' is not BIO"),
        ("Amina B-PER\nlives\n", "train.txt, line 2: found 'lives'; expected a word and its tag"),
        ("Amina B-PER\n\n\nlives O\n", "train.txt, line 3: an empty sentence"),
    ],
)
def test_a_mistake_in_a_conll_file_names_its_line(names, text, says):
    (names / "xa" / "train.txt").write_text(text, "utf-8")
    with pytest.raises(fp.FedPromptError) as raised:
        fp.load_task("own-tokens", ["xa"], data_dir=names)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (squad(QUESTIONS, shift=1), "question 1 (line 10): the answer 'Anna Berg' is not in its context at"),
        (squad([("", "twice")]), "question 1 (line 10): an empty question"),
        (squad([("Who?", "twice")], " ").replace('"answer_start": -1', '"answer_start": 0'), "an empty context"),
        ('{"data": 1}', 'expected {"data": [{"paragraphs":'),
    ],
)
def test_a_mistake_in_a_file_of_questions_names_its_line(questions, content, says):
    (questions / "xa.train.json").write_text(content, "utf-8")
    with pytest.raises(fp.FedPromptError) as raised:
        fp.load_task("own-span", ["xa"], data_dir=questions)
    assert "xa.train.json" in str(raised.value)
    assert says in str(raised.value)


def test_answers_keep_their_place_when_spaces_around_a_context_go(questions):
    rows = fp.load_task("own-span", ["xa"], data_dir=questions).data["xa"]["train"]
    found = [kinds.answers(x, y) for x, y in zip(rows["text_pair"], rows["label"], strict=True)]
    assert sorted(found) == [["1872"], ["Anna Berg"], ["twice"]]


def test_tags_stand_at_first_pieces_alone():
    from fedprompt_helpers.model.backbones import load_tokenizer

    tokenizer = load_tokenizer("pocket")
    labels = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
    split = type("", (), {"column_names": ["text", "label"]})
    rows = {"text": [x for x, _ in SENTENCES], "label": [y for _, y in SENTENCES]}
    split.__getitem__ = lambda self, name: rows[name]
    data = fp.encode(split(), tokenizer, kind="tokens", labels=labels)
    for ids, target, (tags, words) in zip(data.token_ids, data.labels, data.rows, strict=True):
        assert len(ids) == len(target)
        assert [labels[x] for x in target if x >= 0] == tags
        assert words == list(range(len(tags)))
    perfect = [np.eye(5)[np.maximum(x, 0)] for x in data.labels]
    assert heads.scores_of(data, perfect, 0.0)["entity_f1"] == 1


def test_windows_cover_the_context_and_perfect_logits_give_the_answer(questions):
    from fedprompt_helpers.model.backbones import load_tokenizer

    task = fp.load_task("own-span", ["xa"], data_dir=questions)
    data = fp.encode(task.data["xa"]["test"], load_tokenizer("pocket"), max_length=24, kind="span")
    assert sum(window.first for window in data.rows) == 3 < len(data.rows)
    assert (data.labels == 0).all(1).any() and (data.labels > 0).all(1).any()
    logits = [np.zeros((len(ids), 2)) for ids in data.token_ids]
    for scores, (start, end) in zip(logits, data.labels, strict=True):
        scores[start, 0] = scores[end, 1] = 9
    found = heads.scores_of(data, logits, 0.0)
    assert (found["accuracy"], found["macro_f1"], found["examples"]) == (1, 1, 3)


# By seqeval 1.2.2 (its default mode): entity F1 over all, and its mean over types.
SEQEVAL = [
    ("B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC", 1.0, 1.0),
    ("B-PER I-PER O B-LOC", "B-PER O O B-LOC", 0.5, 0.5),
    ("O I-LOC I-LOC B-LOC", "O B-LOC I-LOC B-LOC", 1.0, 1.0),
    ("B-ORG I-LOC O O", "B-ORG I-ORG O B-PER", 0.0, 0.0),
]


@pytest.mark.parametrize(("truth", "guess", "all_of_them", "mean"), SEQEVAL)
def test_entities_are_scored_as_seqeval_does(truth, guess, all_of_them, mean):
    found = kinds.entity_scores([truth.split()], [guess.split()])
    assert (found["entity_f1"], found["macro_f1"]) == (pytest.approx(all_of_them), pytest.approx(mean))


def test_entities_are_scored_as_the_chapter_does_by_hand():
    by_hand: dict = {"tags": ["B-PER", "I-PER", "O", "O", "B-LOC"]}
    for cell in jupytext.read(CHAPTER).cells:
        if cell.source.startswith(("def entities(", "def entity_f1(")):
            exec(cell.source, by_hand)
    numbers, tags = random.Random(0), ["O", "O", "B-A", "I-A", "B-B", "I-B"]
    for _ in range(100):
        truth, guess = ([numbers.choice(tags) for _ in range(9)] for _ in range(2))
        found = kinds.entity_scores([truth], [guess])
        assert found["entity_f1"] == pytest.approx(by_hand["entity_f1"](truth, guess))
    silent = kinds.entity_scores([["O", "O"]], [["O", "O"]])
    assert silent == {"accuracy": 1, "macro_f1": 0, "entity_f1": 0}


def test_answers_are_scored_as_squad_does():
    found = kinds.answer_scores(
        [["The Anna Berg!"], ["in 1872", "1872"], ["twice"]], ["anna berg", "1872", "it burned twice"]
    )
    assert found == {"accuracy": pytest.approx(2 / 3), "macro_f1": pytest.approx((1 + 1 + 0.5) / 3)}


@pytest.mark.parametrize("method", ["head", "p-tuning", "lora"])
def test_one_path_trains_records_saves_and_predicts_names(names, method, tmp_path):
    config = fp.RunConfig(
        task="own-tokens",
        languages=("xa", "xb"),
        data_dir=str(names),
        method=method,
        rounds=3,
        learning_rate=0.01 if method == "lora" else 0.03,
        best_by="macro-f1",
    )
    record = fp.load_record(fp.run(config, tmp_path / "runs", save=tmp_path / "saved"))
    words = [tag for _, tags in SENTENCES for tag in f"{tags} O O O".split()]
    assert record["majority"]["xa"] == pytest.approx(words.count("O") / len(words))
    assert record["mean_test"]["entity_f1"] >= record["floor"]["xa"] == 0
    assert record["rounds"][0]["bytes"]["train_up"] > 0
    (guess,) = fp.classify(fp.load_adapter(tmp_path / "saved"), "Amina lives in Kano .")
    assert len(guess.label.split()) == 5


def test_one_path_answers_questions(questions, tmp_path):
    config = fp.RunConfig(
        task="own-span", languages=("xa",), data_dir=str(questions), method="head", setting="local", max_length=24,
        rounds=10, learning_rate=0.03,
    )  # fmt: skip
    record = fp.load_record(fp.run(config, tmp_path / "runs", save=tmp_path / "saved"))
    assert record["test"]["xa"]["examples"] == 3
    assert record["floor"]["xa"] > 0
    (guess,) = fp.classify(fp.load_adapter(tmp_path / "saved" / "xa"), "Who built the mill?", CONTEXT)
    assert guess.label in CONTEXT and 0 <= guess.probability <= 1


@pytest.mark.parametrize("values", [{"pooling": "mean"}, {"partition": "dirichlet-label", "alpha": 1.0}])
def test_what_needs_a_class_for_a_whole_text_is_refused(names, values):
    config = fp.RunConfig(task="own-tokens", languages=("xa", "xb"), data_dir=str(names), **values)
    with pytest.raises(fp.FedPromptError, match="has no class for a whole text"):
        fp.run(config)


def test_translations_of_an_article_stay_on_one_side(tmp_path):
    articles = [[f"Text {a} {p} is here." for p in range(5)] for a in range(20)]
    for language in ("en", "es"):
        data = [
            {"paragraphs": [{"context": f"{language} {c}", "qas": [{"question": f"{c}?", "answers": [
                {"text": "here", "answer_start": f"{language} {c}".find("here")}]}]} for c in article]}
            for article in articles
        ]  # fmt: skip
        (tmp_path / f"xquad.{language}.json").write_text(json.dumps({"data": data}), "utf-8")
    task = fp.load_task("xquad", ["en", "es"], data_dir=tmp_path, seed=3)
    sides = {
        split: {text.split()[2] for x in ("en", "es") for text in task.data[x][split]["text_pair"]}
        for split in ("train", "dev", "test")
    }
    assert sides["train"].isdisjoint(sides["test"]) and sides["dev"].isdisjoint(sides["train"] | sides["test"])
    assert set.union(*sides.values()) == {str(a) for a in range(20)}

"""What one language teaches another: scores on shared classes, the best teacher, its table and its figure."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from book.research import transfer
from book.research.measures import teachers
from book.research.store import Store
from book.research.sweeps import read_sweep
from fedprompt_helpers.config import RunConfig

SWEEP = """
question = "What does one teach another?"
seeds = [0, 1]
[common]
label_budget = 16
setting = "centralised"
method = "head"
pooling = "mean"
head_start = "ridge"
rounds = 0
[[block]]
label = "cy"
languages = ["cy"]
unseen = ["en"]
[[block]]
label = "en"
languages = ["en"]
unseen = ["cy"]
"""
LABELS = {"cy": ["a", "b"], "en": ["b", "c"]}


def record(config: RunConfig, **told) -> dict:
    """A record with little in it; `told` are truth and guesses of each language, a letter a row."""
    scores = {name: {"accuracy": 0.5, "macro_f1": 0.5, "own_accuracy": 0.5, "examples": 4} for name in told}
    made = {"format": 2, "name": config.name(), "config": config.to_dict(), "test": scores, "seconds": 1.0}
    made |= {
        "majority": dict.fromkeys(told, 0.5),
        "labels": ["a", "b", "c"],
        "label_sets": LABELS,
        "epochs": {"all": []},
    }
    lists = {name: {"truth": truth, "guesses": own, "own_guesses": own} for name, (truth, own) in told.items()}
    return made | {"predictions": lists}


def test_a_pupil_is_scored_on_the_classes_that_both_have(tmp_path):
    (tmp_path / "transfer.toml").write_text(SWEEP, "utf-8")
    sweep, store = read_sweep(tmp_path / "transfer.toml"), Store(tmp_path / "records.jsonl")
    assert transfer.pupils(sweep, store).empty
    config = RunConfig(**sweep.common, languages=["cy"], unseen=["en"], seed=1)
    store.add(record(config, cy=("00111", "00110"), en=("11122", "11211")))
    made = transfer.pupils(sweep, Store(store.path)).set_index(["teacher", "pupil", "seed"])
    assert made.loc[("cy", "en", 1)].to_dict() == {
        "classes": 1,
        "rows": 3,
        "accuracy": pytest.approx(2 / 3),
        "floor": 1,
    }
    assert made.loc[("cy", "cy", 1)].to_dict() == {"classes": 2, "rows": 5, "accuracy": 0.8, "floor": 0.6}
    assert json.loads(store.path.read_text("utf-8"))["config"]["unseen"] == ["en"]


def square(best: dict[str, str], seeds=10, noise=0.0, names="abcde", floor=0.4) -> pd.DataFrame:
    """Scores of all teachers: a pupil's best one has 0.8, all others 0.6, itself 0.9."""
    rng, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        for pupil in names:
            for teacher in names:
                score = 0.9 if teacher == pupil else 0.8 if best[pupil] == teacher else 0.6
                rows.append({"teacher": teacher, "pupil": pupil, "seed": seed, "classes": 2, "rows": 9})
                rows[-1] |= {"accuracy": score + rng.normal(scale=noise), "floor": floor}
    return pd.DataFrame(rows)


def test_the_commonest_best_teacher_and_how_sure_it_is():
    two = square({"a": "b", "b": "a", "c": "b", "d": "a", "e": "d"})
    share, low, high, seeds, said = transfer.best_teachers(two)
    assert (share, low, high, seeds) == (0.4, 0.4, 0.4, 10) and said.startswith("a is best for 40% of 5 pupils (40% to")
    three = square({"a": "b", "b": "a", "c": "b", "d": "b", "e": "d"})
    assert transfer.best_teachers(three)[:3] == (0.6, 0.6, 0.6)
    share, low, high, *_ = transfer.best_teachers(square({"a": "b", "b": "a", "c": "b", "d": "a", "e": "d"}, noise=0.3))
    assert low < high  # with so much luck, another draw of seeds has other best teachers
    found = teachers({"transfer": three}, {"sweep": "transfer"})
    assert found.value == 0.6 and found.seeds == 10


def test_who_leads_the_majority_class_may_be_another():
    frame = square(dict(zip("abcde", "bacad", strict=True)) | {"c": "a"})
    frame.loc[frame["teacher"] == "a", "floor"] = 0.75  # easy rows
    said = transfer.best_teachers(frame)[4]
    assert said.startswith("a is best for 60%") and not said.rpartition("majority class, ")[2].startswith("a ")


def test_a_missing_teacher_or_seed_gives_no_share():
    frame = square(dict(zip("abcde", "babab", strict=True)))
    assert transfer.best_teachers(frame[:0]) is None
    assert transfer.best_teachers(frame[frame["teacher"] != "e"]) is None
    assert transfer.best_teachers(frame[frame["seed"] < 1]) is None
    assert transfer.best_teachers(frame[~((frame["seed"] == 3) & (frame["teacher"] == "e"))])[3] == 9


def test_the_table_the_square_of_the_page_and_the_figure():
    content = transfer.table(square(dict(zip("abcde", "babab", strict=True)), noise=0.001))
    assert len(content) == 25 and set(content["seeds"]) == {10}
    assert (content["accuracy_low"] < content["accuracy"]).all()
    shown = transfer.shown(content)
    assert list(shown.iloc[:, 0]) == ["a", "b", "c", "d", "e", "majority class, mean"]
    assert shown.loc[0, "b"] == "80 (40)" and shown.loc[1, "b"] == "90 (40)" and shown.loc[5, "b"] == "40"
    figure = transfer.plot(content)
    assert len(figure.axes[0].patches) == 5  # one best teacher a pupil
    drawn = {text.get_text() for text in figure.axes[0].texts}
    assert drawn == {"90", "80", "60", "40"}


@pytest.mark.slow
def test_the_figure_can_be_read_on_a_telephone_and_nothing_is_cut_off():
    letters = "abcdefghij"
    figure = transfer.plot(transfer.table(square(dict(zip(letters, "bababababa", strict=True)), names=letters)))
    figure.canvas.draw()
    width, height = figure.get_size_inches()
    for text in figure.findobj(Text):
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= width * figure.dpi and box.y0 >= 0 and box.y1 <= height * figure.dpi
        assert text.get_fontsize() / 72 / width * 350 > 9  # of 390 pixels, margins take 40


def test_a_figure_with_teachers_missing(tmp_path):
    frame = square(dict(zip("abcde", "babab", strict=True)))
    figure = transfer.plot(transfer.table(frame[frame["teacher"].isin(["a", "b"])]))
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 0

"""Verdicts: each kind of test on small tables whose answer can be worked out by hand, and files with mistakes."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from book.research import measures
from book.research.gains import mean_distance
from book.research.verdicts import verdicts
from fedprompt_helpers.errors import FedPromptError

WOBBLE = np.tile([-0.01, 0.01], 5)  # ten seeds, mean zero


def scores(label: str, budget: int, **languages) -> list[dict]:
    """Rows of one setting: for each language an accuracy, or ten of them, one a seed."""
    return [
        {"label": label, "label_budget": budget, "seed": seed, "language": language, "accuracy": accuracy}
        for language, values in languages.items()
        for seed, accuracy in enumerate(np.broadcast_to(values, 10) if np.ndim(values) == 0 else values)
    ]


def table(*settings: list[dict], **columns) -> pd.DataFrame:
    return pd.DataFrame([row for rows in settings for row in rows]).assign(**columns)


def judge(tmp_path, tests: str, head: str = "", seeds: int = 10, **frames) -> tuple[str, str]:
    """The verdict on some tests, a TOML list, and what was measured."""
    file = tmp_path / "verdicts.toml"
    file.write_text(f'{head}\n[[hypothesis]]\nnumber = "1"\nsays = "x"\ntests = {tests}\n', "utf-8")
    found = verdicts(file, {name: frame[frame["seed"] < seeds] for name, frame in frames.items()}).iloc[0]
    return found["verdict"], found["measured"]


PAIR = 'sweep = "s", settings = ["both", "alone"]'


def gain(points: float, wobble=WOBBLE, budget=16) -> list[list[dict]]:
    """Alone and both in two languages, the second ahead by so many points in the mean."""
    alone = 0.5 + np.arange(10) / 100
    return [
        scores("alone", budget, ibo=alone, lin=alone + 0.1),
        scores("both", budget, ibo=alone + points / 100 + wobble, lin=alone + 0.1 + points / 100 + wobble),
    ]


@pytest.mark.parametrize(
    ("points", "condition", "verdict"),
    [  # the interval is points +- 0.75: 2.262 * (1 * sqrt(10 / 9)) / sqrt(10)
        (6, "at_least = 5", "holds"),
        (5.5, "at_least = 5", "holds partly"),
        (4.9, "at_least = 5", "does not hold here"),
        (0.2, "at_most = 1", "holds"),
        (0.5, "at_most = 1", "holds partly"),
        (1.1, "at_most = 1", "does not hold here"),
        (0.7, "not_above = 0", "holds"),
        (0.8, "not_above = 0", "does not hold here"),
        (-1.2, "within = 2", "holds"),
        (-1.5, "within = 2", "holds partly"),
        (2.1, "within = 2", "does not hold here"),
        (-0.7, "holds_zero = true", "holds"),
        (-0.8, "holds_zero = true", "does not hold here"),
    ],
)
def test_a_difference_is_judged_by_its_whole_interval(points, condition, verdict, tmp_path):
    found, measured = judge(tmp_path, f"[{{ {PAIR}, budget = 16, {condition} }}]", s=table(*gain(points)))
    assert found == verdict
    assert measured == f"at 16 {points:+.1f} ({points - 0.754:+.1f} to {points + 0.754:+.1f}), 10 seeds"


@pytest.mark.parametrize("seeds", [1, 2, 9])
def test_as_long_as_a_seed_is_missing_there_is_no_verdict(seeds, tmp_path):
    rule = f"[{{ {PAIR}, budget = 16, at_least = 5 }}]"
    found, measured = judge(tmp_path, rule, seeds=seeds, s=table(*gain(9)))
    assert found == "not run yet" and ("seeds" in measured) == (seeds > 1)
    few = rule.replace("budget", "seeds = 9, budget")
    assert judge(tmp_path, few, seeds=9, s=table(*gain(9)))[0] == "holds"


@pytest.mark.parametrize(
    "missing", ["label == 'both' and language == 'lin'", "label == 'both'", "label_budget == 16", "seed >= 0"]
)
def test_without_a_language_a_setting_a_budget_or_anything_there_is_no_verdict(missing, tmp_path):
    frame = table(*gain(9), *gain(9, budget=64))
    found, _ = judge(tmp_path, f"[{{ {PAIR}, budget = 16, at_least = 5 }}]", s=frame.drop(frame.query(missing).index))
    assert found == "not run yet"


def test_of_several_tests_all_must_hold(tmp_path):
    frame = table(*gain(6), *gain(1, budget=64))
    for limits, verdict in (((5, 0), "holds"), ((5, 5), "holds partly"), ((9, 9), "does not hold here")):
        tests = [
            f"{{ {PAIR}, budget = {b}, at_least = {x} }}" for b, x in zip((16, 64), limits, strict=True)
        ]  # fmt: skip
        assert judge(tmp_path, f"[{', '.join(tests)}]", s=frame)[0] == verdict
    assert judge(tmp_path, f"[{{ {PAIR}, budget = [16, 64], at_least = 0 }}]", s=frame)[0] == "holds"
    assert judge(tmp_path, f"[{{ {PAIR}, budget = [16, 64, 256], at_least = 0 }}]", s=frame)[0] == "not run yet"


def test_an_average_needs_all_its_budgets(tmp_path):
    frame = table(*gain(6), *gain(2, budget=64))
    found, measured = judge(tmp_path, f"[{{ {PAIR}, average = [16, 64], at_least = 3 }}]", s=frame)
    assert found == "holds" and measured.startswith("mean of the budgets +4.0 (+3.2 to +4.8)")
    assert judge(tmp_path, f"[{{ {PAIR}, average = [16, 64, 256], at_least = 3 }}]", s=frame)[0] == "not run yet"


def test_a_difference_of_differences_is_paired_by_seed(tmp_path):
    falls = f"[{{ {PAIR}, budget = 16, minus = {{ budget = 64 }}, at_least = 0 }}]"
    shared = table(*gain(6), *gain(4, budget=64))  # the wobble is the same in both: it falls out
    assert judge(tmp_path, falls, s=shared) == ("holds", "at 16 +2.0 (+2.0 to +2.0), 10 seeds")
    opposed = table(*gain(6), *gain(4, -WOBBLE, budget=64))
    assert judge(tmp_path, falls, s=opposed)[1] == "at 16 +2.0 (+0.5 to +3.5), 10 seeds"
    rises = table(*gain(4), *gain(6, budget=64))
    assert judge(tmp_path, falls, s=rises)[0] == "does not hold here"
    assert judge(tmp_path, falls, s=table(*gain(6)))[0] == "not run yet"


@pytest.mark.parametrize(("points", "verdict"), [(5, "holds"), (3.3, "holds partly"), (2, "does not hold here")])
def test_half_of_another_gain_and_of_another_sweep(points, verdict, tmp_path):
    other = table(*gain(6, 0))
    tests = f'[{{ {PAIR}, budget = 16, minus = {{ sweep = "t", times = 0.5 }}, at_least = 0 }}]'
    assert judge(tmp_path, tests, s=table(*gain(points)), t=other)[0] == verdict
    assert judge(tmp_path, tests, s=table(*gain(points)), t=other[:0])[0] == "not run yet"


def test_groups_of_languages(tmp_path):
    head = '[languages]\nold = ["ibo"]\nnew = ["lin", "lug"]'
    frame = table(
        scores("alone", 64, ibo=0.5, lin=0.5, lug=0.5),
        scores("both", 64, ibo=0.52 + WOBBLE, lin=0.5, lug=0.6),
    )
    tests = f'[{{ {PAIR}, budget = 64, languages = "new", minus = {{ languages = "old" }}, at_least = 0 }}]'
    assert judge(tmp_path, tests, head, s=frame) == ("holds", "at 64 +3.0 (+2.2 to +3.8), 10 seeds")
    swapped = tests.replace("new", "?").replace("old", "new").replace("?", "old")
    assert judge(tmp_path, swapped, head, s=frame)[0] == "does not hold here"


def test_labels_forbidden_are_another_column_of_the_same_setting(tmp_path):
    frame = table(*gain(6), own_accuracy=lambda made: made["accuracy"] + 0.004)
    test = 'sweep = "s", settings = ["both", "both"], columns = ["own_accuracy", "accuracy"], budget = 16, at_most = 1'
    tests = f"[{{ {test} }}]"
    assert judge(tmp_path, tests, s=frame) == ("holds", "at 16 +0.4 (+0.4 to +0.4), 10 seeds")
    assert judge(tmp_path, tests.replace("= 1 }", "= 0.3 }"), s=frame)[0] == "does not hold here"


def test_the_best_of_several_rivals_is_that_with_the_highest_mean(tmp_path):
    frame = table(*gain(6), scores("other", 16, ibo=0.6, lin=0.6))  # both 0.655, alone 0.595, other 0.6
    tests = '[{ sweep = "s", settings = ["both", ["alone", "t/other"]], budget = 16, at_least = 5 }]'
    found, measured = judge(tmp_path, tests, s=frame, t=frame)
    assert found == "holds partly" and measured.startswith("at 16 +5.5 (") and "against t/other" in measured
    assert "against alone" in judge(tmp_path, tests.replace("t/other", "alone"), s=frame, t=frame)[1]
    assert judge(tmp_path, tests, s=frame, t=frame[frame["label"] != "other"])[0] == "not run yet"


def test_the_spread_over_seeds(tmp_path):
    tests = f'[{{ kind = "spread", {PAIR}, budget = 16, at_most = 0 }}]'
    luck = np.array([-4, -3, -2, -1, 0, 0, 1, 2, 3, 4]) / 100
    other = np.array([1, -1, 1, -1, 1, -1, 1, -1, 1, -1]) / 100
    steady = table(scores("alone", 16, ibo=0.5 + luck), scores("both", 16, ibo=0.5 + luck / 4 + other / 100))
    found, measured = judge(tmp_path, tests, s=steady)
    assert found == "holds" and measured.startswith("at 16 standard deviation 0.6 against 2.6, r -")
    little = table(scores("alone", 16, ibo=0.5 + luck), scores("both", 16, ibo=0.5 + 0.9 * luck + other))
    x, y = 0.9 * luck + other, luck
    assert np.std(x) < np.std(y)
    ends = stats.pearsonr(x + y, x - y).confidence_interval()
    found, measured = judge(tmp_path, tests, s=little)
    assert found == "holds partly" and f"({ends.low:+.2f} to {ends.high:+.2f})" in measured
    wide = table(scores("alone", 16, ibo=0.5 + luck / 4 + other / 100), scores("both", 16, ibo=0.5 + luck))
    assert judge(tmp_path, tests, s=wide)[0] == "does not hold here"
    assert judge(tmp_path, tests, s=wide, seeds=9)[0] == "not run yet"


def test_no_language_may_fall_below(tmp_path):
    tests = f'[{{ kind = "languages", {PAIR}, budget = 16, at_least = -1 }}]'
    alone = scores("alone", 16, ibo=0.5, lin=0.5)
    fine = table(alone, scores("both", 16, ibo=0.7, lin=0.492 + 3 * WOBBLE))  # a mean has no interval here
    assert judge(tmp_path, tests, s=fine) == ("holds", "at 16 lowest -0.8 (lin), 10 seeds")
    below = table(alone, scores("both", 16, ibo=0.7, lin=0.488))
    assert judge(tmp_path, tests, s=below) == ("does not hold here", "at 16 lowest -1.2 (lin), 10 seeds")
    assert judge(tmp_path, tests, s=fine, seeds=1)[0] == "not run yet"
    assert judge(tmp_path, tests.replace("16", "64"), s=fine)[0] == "not run yet"


def by_language(gains: dict[str, float], budgets: dict[str, int]) -> pd.DataFrame:
    wobble = {name: WOBBLE * (-1) ** i for i, name in enumerate(gains)}
    return table(
        *(scores("alone", budgets[name], **{name: 0.5}) for name in gains),
        *(scores("both", budgets[name], **{name: 0.5 + gain + wobble[name]}) for name, gain in gains.items()),
    )


def test_the_rank_correlation_of_gain_and_size(tmp_path):
    tests = f'[{{ kind = "correlation", quantity = "size", {PAIR}, at_most = 0 }}]'
    names = ["amh", "hau", "ibo", "kin", "pcm", "swa", "tso", "twi", "yor"]
    sizes = {name: 16 * (i + 1) for i, name in enumerate(names)}
    falling = by_language({name: 0.5 - 0.05 * i for i, name in enumerate(names)}, sizes)
    assert judge(tmp_path, tests, s=falling) == (
        "holds",
        "rank correlation -1.00 (-1.00 to -1.00), 9 languages, 10 seeds",
    )
    rising = by_language({name: 0.05 * i for i, name in enumerate(names)}, sizes)
    assert judge(tmp_path, tests, s=rising)[0] == "does not hold here"
    mixed = by_language(dict(zip(names, [0.1, 0.4, 0.0, 0.3, 0.2, 0.35, 0.05, 0.15, 0.1], strict=True)), sizes)
    found, measured = judge(tmp_path, tests, s=mixed)
    rho = stats.spearmanr(range(9), [0.1, 0.4, 0.0, 0.3, 0.2, 0.35, 0.05, 0.15, 0.1]).statistic
    assert found == "holds partly" and f"correlation {rho:+.2f} (" in measured
    zero = tests.replace("at_most = 0", "holds_zero = true")
    assert judge(tmp_path, zero, s=mixed)[0] == "holds" and judge(tmp_path, zero, s=falling)[0] == "does not hold here"
    assert judge(tmp_path, tests, s=mixed, seeds=1)[0] == "not run yet"
    same = by_language(dict.fromkeys(names, 0.1), dict.fromkeys(names, 64))
    assert judge(tmp_path, tests, s=same)[0] == "cannot be checked here"


def test_the_rank_correlation_of_gain_and_distance(tmp_path):
    names = ["ibo", "lin", "orm", "som", "xho", "yor"]
    far = {name: mean_distance(name, names) for name in names}
    frame = by_language(far, dict.fromkeys(names, 64))
    tests = f'[{{ kind = "correlation", quantity = "distance", {PAIR}, budget = 64, at_least = 0 }}]'
    assert "rank correlation +1.00" in judge(tmp_path, tests, s=frame)[1]


def test_the_bill_of_the_largest_run(tmp_path):
    tests = '[{ kind = "bill", sweep = "s", settings = ["both"], budget = 16, at_most = 20 }]'
    frame = table(*gain(6), megabytes=lambda made: 10.0 + made["seed"])
    assert judge(tmp_path, tests, s=frame) == ("holds", "at 16 at most 19.0 MB a run, 10 seeds")
    assert judge(tmp_path, tests.replace("20", "18"), s=frame)[0] == "does not hold here"
    assert judge(tmp_path, tests, s=frame, seeds=9)[0] == "not run yet"


def test_bytes_to_a_target(tmp_path):
    tests = f'[{{ kind = "target", {PAIR}, budget = 16, at_most = 0.2 }}]'
    frame = table(*gain(6), megabytes=50.0)
    frame["to_target"] = np.where(frame["label"] == "both", 5.0 + frame["seed"] % 2, 50.0)
    found, measured = judge(tmp_path, tests, s=frame)
    assert found == "holds" and measured == "at 16 share 0.11 (0.10 to 0.12): 5.5 of 50.0 MB, 10 seeds"
    assert judge(tmp_path, tests.replace("0.2", "0.1"), s=frame)[0] == "does not hold here"
    assert judge(tmp_path, tests, s=frame, seeds=9)[0] == "not run yet"
    never = frame.assign(to_target=frame["to_target"].where(frame["seed"] < 4))
    assert judge(tmp_path, tests, s=never) == (
        "cannot be checked here",
        "at 16 both reach the target in 4 of 10 seeds, 10 seeds",
    )


def test_the_rule_of_a_verdict_is_told(tmp_path):
    file = tmp_path / "verdicts.toml"
    tests = f"[{{ {PAIR}, budget = [16, 64], at_least = 5 }}, {{ {PAIR}, budget = 256, holds_zero = true }}]"
    file.write_text(f'[[hypothesis]]\nnumber = "1"\nsays = "x"\nnote = "so be it"\ntests = {tests}\n', "utf-8")
    assert verdicts(file, {"s": pd.DataFrame()}).loc[0, "rule"] == "interval ≥ 5; interval holds 0; so be it"


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ("[]", "tests is []"),
        ("[{ at_least = 5 }]", "settings are []; expected 2"),
        (f"[{{ {PAIR} }}]", "a test has 0 of the conditions at_least, at_most"),
        (f"[{{ {PAIR}, at_least = 1, within = 2 }}]", "a test has 2 of the conditions"),
        (f'[{{ {PAIR}, at_least = "much" }}]', "tests.1.at_least is 'much'"),
        (f"[{{ {PAIR}, at_last = 1 }}]", "tests.1.at_last is 1"),
        (f'[{{ {PAIR}, kind = "guess", at_least = 1 }}]', "tests.1.kind is 'guess'"),
        ('[{ settings = ["both", "alone"], at_least = 1 }]', "a test has no sweep"),
        ('[{ sweep = "t", settings = ["both", "alone"], at_least = 1 }]', "unknown sweep 't'; available: s"),
        ('[{ sweep = "s", settings = ["both", "t/alone"], at_least = 1 }]', "unknown sweep 't'"),
        ('[{ sweep = "s", settings = ["both"], at_least = 1 }]', "settings are ['both']; expected 2"),
        (f'[{{ {PAIR}, kind = "bill", at_most = 1 }}]', "expected 1 for a test of kind 'bill'"),
        (f'[{{ {PAIR}, kind = "spread", minus = {{ budget = 16 }}, at_most = 1 }}]', "it is for difference"),
        (f'[{{ {PAIR}, kind = "correlation", at_most = 1 }}]', "expected 'size' or 'distance'"),
        (f'[{{ {PAIR}, languages = "new", at_most = 1 }}]', "unknown group of languages 'new'"),
        (f'[{{ {PAIR}, minus = {{ settings = ["both"] }}, at_most = 1 }}]', "settings are ['both']; expected 2"),
        (f"[{{ {PAIR}, minus = {{ budgets = 16 }}, at_most = 1 }}]", "tests.1.minus.budgets is 16"),
        (f"[{{ {PAIR}, budget = 16.5, at_most = 1 }}]", "tests.1.budget"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_with_the_number_of_the_hypothesis(tests, said, tmp_path):
    with pytest.raises(FedPromptError) as caught:
        judge(tmp_path, tests, s=table(*gain(6)))
    assert said in str(caught.value) and "verdicts.toml, hypothesis 1: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hypothesis_without_number_is_told_by_its_place(tmp_path):
    (tmp_path / "verdicts.toml").write_text('[[hypothesis]]\nsays = "x"\n', "utf-8")
    with pytest.raises(FedPromptError, match="hypothesis in place 1: number"):
        verdicts(tmp_path / "verdicts.toml", {})
    (tmp_path / "verdicts.toml").write_text("[[hypothesis]\n", "utf-8")
    with pytest.raises(FedPromptError, match="expected a TOML file"):
        verdicts(tmp_path / "verdicts.toml", {})


def test_every_kind_is_tested_here():
    assert set(measures.KINDS) == {"difference", "spread", "languages", "correlation", "bill", "target", "teachers"}

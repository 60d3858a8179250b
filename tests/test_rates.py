"""The grid of learning rates: what dev says, and which rate all settings get."""

import pytest

from book.research import evidence_page, rates
from book.research.store import Store
from book.research.sweeps import read_sweep, settings

SWEEP = """
question = "Which rate does dev prefer?"
baseline = "local"
seeds = [0, 1]
[common]
languages = ["en", "cy"]
label_budget = 16
method = "head"
pooling = "mean"
[[block]]
label = "local"
setting = "local"
grid = { learning_rate = [1e-3, 1e-2, 1e-1] }
[[block]]
label = "federated"
grid = { learning_rate = [1e-3, 1e-2, 1e-1] }
"""


def grid(tmp_path, accuracies: dict, losses: dict, without=()) -> tuple:
    """A sweep with records: dev accuracy and dev loss of each setting at each rate; half a point more with seed 1."""
    (tmp_path / "rates.toml").write_text(SWEEP, "utf-8")
    sweep, store = read_sweep(tmp_path / "rates.toml"), Store(tmp_path / "records.jsonl")
    made = []
    for setting in settings(sweep, store.get):
        key = (setting.label, setting.point["learning_rate"])
        for config in setting.configs:
            if (*key, config.seed) in without:
                continue
            accuracy, loss = accuracies[key] + 0.01 * config.seed, losses[key]
            record = {"format": 2, "name": f"{len(made)}", "config": config.to_dict(), "test": {"en": {}}}
            record |= {"majority": {"en": 0.5}, "seconds": 1.0}
            if setting.label == "local":
                worse, kept = ({"dev_loss": x, "dev_accuracy": y} for x, y in ((loss + 1, 0.9), (loss, accuracy)))
                record["epochs"] = {"en": [worse, kept], "cy": [kept, worse]}
            else:
                dev = {name: {"accuracy": accuracy, "loss": loss} for name in ("en", "cy")}
                worse = {name: {"accuracy": 0.9, "loss": loss + 1} for name in ("en", "cy")}
                record["rounds"] = [{"dev": worse, "dev_loss": loss + 1}, {"dev": dev, "dev_loss": loss}]
                record["best_round"] = 2
            made.append(record)
    store.add(*made)
    content = rates.table(sweep, Store(store.path))
    return sweep, content, rates.chosen(sweep, content)


def cells(local, federated) -> dict:
    values = zip((1e-3, 1e-2, 1e-1), local, federated, strict=True)
    return {(label, rate): x for rate, *both in values for label, x in zip(("local", "federated"), both, strict=True)}


LOSSES = cells([1.0, 1.0, 1.0], [1.0, 1.0, 1.0])


def test_the_table_has_what_early_stopping_kept(tmp_path):
    _, content, _ = grid(tmp_path, cells([0.5, 0.6, 0.7], [0.4, 0.4, 0.4]), cells([1.1, 1.2, 1.3], [2.1, 2.2, 2.3]))
    made = content.set_index(["setting", "learning_rate"])
    assert made.loc[("local", 0.01)].to_dict() == pytest.approx({"seeds": 2, "dev_accuracy": 0.605, "dev_loss": 1.2})
    assert made.loc[("federated", 0.1)].to_dict() == pytest.approx({"seeds": 2, "dev_accuracy": 0.405, "dev_loss": 2.3})


@pytest.mark.parametrize(
    ("local", "federated", "losses", "rate"),
    [
        ([0.5, 0.6, 0.7], [0.4, 0.5, 0.3], LOSSES, 0.01),  # means 0.45, 0.55, 0.50
        ([0.5, 0.6, 0.7], [0.4, 0.5, 0.4], cells([1, 2, 1], [1, 1, 1]), 0.1),  # equal at 0.55: the lower loss
        ([0.5, 0.6, 0.7], [0.4, 0.5, 0.4], cells([1, 1, 2], [1, 1, 1]), 0.01),
        (
            [0.9, 0.6, 0.7],
            [0.1, 0.5, 0.3],
            cells([0, 1, 1], [0, 1, 1]),
            0.01,
        ),  # the best of one setting
    ],
)
def test_one_rate_for_all_settings(local, federated, losses, rate, tmp_path):
    assert grid(tmp_path, cells(local, federated), losses)[2] == rate


def test_no_rate_is_chosen_before_all_runs_are_there(tmp_path):
    accuracies = cells([0.5, 0.6, 0.7], [0.4, 0.5, 0.3])
    sweep, content, chosen = grid(tmp_path, accuracies, LOSSES, without=[("federated", 1e-3, 1)])
    assert chosen is None and "No rate is chosen yet" in evidence_page._rates(sweep, content)
    (tmp_path / "none").mkdir()
    everything = [(*key, seed) for key in accuracies for seed in (0, 1)]
    assert grid(tmp_path / "none", accuracies, LOSSES, without=everything)[2] is None


def test_the_page_names_the_rate_and_an_edge(tmp_path):
    sweep, content, _ = grid(tmp_path, cells([0.5, 0.6, 0.7], [0.4, 0.5, 0.3]), LOSSES)
    said = evidence_page._rates(sweep, content)
    assert "Chosen for all settings: 0.01." in said and "edge" not in said
    assert "| **0.01** | 0.605 (1.00) | 0.505 (1.00) | 0.555 (1.00) | 2 |" in said
    (tmp_path / "edge").mkdir()
    sweep, content, _ = grid(tmp_path / "edge", cells([0.5, 0.6, 0.9], [0.4, 0.5, 0.5]), LOSSES)
    assert "Chosen for all settings: 0.1. It is at the edge" in evidence_page._rates(sweep, content)

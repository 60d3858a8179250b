"""Chapter 15: an attack on real messages, the secure sum, the noise, and the tables of `book/results/privacy`."""

import ast
from pathlib import Path

import jupytext
import numpy as np
import pandas as pd
import pytest
import torch
from opacus import GradSampleModule

import fedprompt_helpers as fp
from book.privacy import attacks, live, noise, poison, texts

ROOT = Path(__file__).parents[1]
CHAPTER = ROOT / "notebooks/15_privacy_and_trust.md"


def stored(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / f"book/results/privacy/{name}.csv")


def functions(*names: str) -> dict:
    """The functions of the chapter by name, and the constants beside them."""
    found: dict = {"np": np}
    for cell in jupytext.read(CHAPTER).cells:
        if cell.cell_type == "code" and any(f"def {name}(" in cell.source for name in names):
            kept: list[ast.stmt] = [
                x for x in ast.parse(cell.source).body if isinstance(x, ast.FunctionDef | ast.Assign)
            ]
            exec(compile(ast.Module(kept, []), "chapter", "exec"), found)
    return found


def test_the_secure_sum_is_the_sum_and_a_single_message_is_spread_over_all_numbers():
    chapter = functions("masked")
    values = [np.random.default_rng(i).normal(0, 3, (12, 384)) for i in range(5)]
    sent = [chapter["masked"](i, each, range(5)) for i, each in enumerate(values)]
    assert chapter["opened"](sent) == pytest.approx(sum(values), abs=5 / 2 / chapter["SCALE"] + 1e-9)
    assert np.quantile(sent[0] / chapter["MODULUS"], [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.03)
    assert np.abs(chapter["opened"](sent[1:]) - sum(values[1:])).max() > 1000


def test_noise_keeps_the_epsilon_that_was_asked_for_over_all_rounds():
    for asked in (2, 8, 32):
        for rounds in (1, 10):
            each = noise.deviation(asked, rounds)
            assert noise.epsilon(np.sqrt(rounds) / each) == pytest.approx(asked, rel=1e-6)
    # dp-accounting 0.6, by its accountant of privacy loss distributions: ten messages with this noise have epsilon 8.
    assert noise.deviation(8, 10) == pytest.approx(1.8981, abs=1e-4)
    assert noise.epsilon(1 / noise.flower_deviation(32)) > 32 > 8 > noise.epsilon(1 / noise.flower_deviation(8))


def test_the_rules_are_flowers_and_say_whom_they_took():
    arrays = dict(zip("abcde", map(np.array, ([1.0], [2.0], [2.0], [3.0], [100.0])), strict=True))
    found = {rule: poison.average(rule, arrays)[0][0] for rule in ("FedAvg", "FedMedian", "FedTrimmedAvg", "Krum")}
    assert found == pytest.approx({"FedAvg": 21.6, "FedMedian": 2, "FedTrimmedAvg": 7 / 3, "Krum": 2})
    ten = {str(i): np.array([float(i % 3)]) for i in range(9)} | {"far": np.array([50.0])}
    taken = poison.average("MultiKrum", ten)[1]
    assert len(taken) == 8 and "far" not in taken


@pytest.mark.slow
def test_commands_are_recovered_from_a_real_message_and_the_tables_row_is_computed_again():
    known, held = texts.candidates("cy"), texts.clients(("cy",), seed=3)["cy"]["train"]
    weights = attacks.solve(attacks.class_sums(held), known)
    score = attacks.scored(weights.max(0), attacks.is_member(known, held))
    row = stored("sums").query("seed == 3 and message == 'Welsh' and label_budget == 64").iloc[0]
    assert score["recovered"] == row["recovered"] == 1
    assert (score["texts"], score["candidates"]) == (row["texts"], row["candidates"])
    found = pd.DataFrame(attacks.loss(3)).query("label_budget == 64")["auc"].to_numpy()
    assert found == pytest.approx(stored("loss").query("seed == 3 and label_budget == 64")["auc"], abs=0.01)


@pytest.mark.parametrize(
    "name",
    ["sums", "head", "loss", "bias", "payloads", "example", "examples", "client", "flower", "poison", "excluded"],
)
def test_a_table_has_all_its_seeds(name):
    seeds = stored(name)["seed"].value_counts()
    assert sorted(seeds.index) == list(range(5 if name == "payloads" else 10)) and seeds.nunique() == 1


@pytest.mark.slow
def test_flowers_strategies_do_what_the_simulation_does():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 12, 384)).astype(np.float32) / 20, np.tile(np.arange(12), (5, 1))
    ours = noise.with_noise(x, y, np.inf, rng)
    assert np.linalg.norm(ours) > 1
    for side in live.SIDES:
        assert np.allclose(live.federated(x, y, side, np.inf, 0), ours, atol=1e-5)
        far = live.federated(x, y, side, 8, 0) - ours
        assert far.std() == pytest.approx(noise.deviation(8, noise.ROUNDS) / 5 * noise.ROUNDS**0.5, rel=0.2)


@pytest.mark.slow
def test_noise_on_examples_gives_the_tables_row_again():
    row = stored("examples").query("seed == 3 and epsilon == 8").iloc[0]
    found = next(each for each in live.examples(3) if each["epsilon"] == 8)
    assert found["accuracy"] == pytest.approx(row["accuracy"], abs=0.02)
    assert found["noise_multiplier"] == pytest.approx(row["noise_multiplier"], abs=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["lora", "prompt-tuning"])
def test_hooks_see_each_command_in_lora_and_one_for_all_in_a_prompt(method):
    bare, tokenizer = fp.load_backbone("pocket", num_labels=12)
    model = fp.prepare(bare, method).train()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    batch, labels = tokenizer(["troi'r golau ymlaen", "faint o'r gloch"], padding=True, return_tensors="pt"), [0, 9]
    hooked = GradSampleModule(model)
    torch.nn.functional.cross_entropy(hooked(**batch).logits, torch.tensor(labels)).backward()
    each = {name: values.grad_sample for name, values in model.named_parameters() if values.requires_grad}
    hooked.to_standard_module()
    seen = {name: len(values) for name, values in each.items()}
    assert {n for name, n in seen.items() if "classifier" in name} == {2}
    if method == "prompt-tuning":
        assert {n for name, n in seen.items() if "prompt" in name} == {1}
        return
    for i, label in enumerate(labels):
        model.zero_grad()
        one = {name: values[i : i + 1] for name, values in batch.items()}
        torch.nn.functional.cross_entropy(model(**one).logits, torch.tensor([label])).backward()
        for name, values in model.named_parameters():
            if values.requires_grad:
                assert torch.allclose(each[name][i], values.grad, rtol=1e-3, atol=1e-6), name

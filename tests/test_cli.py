"""The commands that train nothing: they say who holds what, what is trained, and which tasks there are."""

import dataclasses
import json
import re

import pytest
from transformers import DebertaV2Config, DistilBertConfig, GPT2Config, ModernBertConfig
from typer.testing import CliRunner

from fedprompt_helpers.cli import app
from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.tuning import METHODS

SMALL = ["--languages", "en,cy,ga", "--train-size", "24"]


def call(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, FedPromptError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_partition_names_the_languages_of_each_client(tmp_path):
    result = call("partition", *SMALL, "--plot", tmp_path / "who.png")
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [["0:", "en"], ["1:", "cy"], ["2:", "ga"]]
    assert all(line.split()[-1] == "24" for line in lines[1:4])
    assert (tmp_path / "who.png").stat().st_size > 10_000
    assert "note: " in result.stderr


def test_partition_of_several_languages_a_client_counts_both_ways(tmp_path):
    (tmp_path / "mapping.json").write_text('[["en", "ga"], ["cy"]]')
    given = ["--partition", "mapping", "--mapping", tmp_path / "mapping.json", "--plot", tmp_path / "who.png"]
    labels, languages = call("partition", *SMALL, *given).stdout.split("\n\n")
    assert "0: en,ga" in labels
    rows = [line.split() for line in languages.splitlines()[:3]]
    assert rows[0] == ["client", "en", "cy", "ga", "all"]
    assert rows[1][2:] == ["24", "0", "24", "48"]


def test_partition_by_dirichlet_loses_nothing(tmp_path):
    given = ["--scheme", "dirichlet-both", "--alpha", 0.5, "--clients", 4, "--plot", tmp_path / "who.png"]
    labels = call("partition", *SMALL, *given).stdout.split("\n\n")[0]
    assert sum(int(line.split()[-1]) for line in labels.splitlines()[1:5]) == 72


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--scheme", "iid", "--alpha", 0], "alpha is 0.*Dirichlet"),
        (["--mapping", "FLAT", "--scheme", "mapping"], "JSON list of lists"),
        (["--mapping", "OBJECT", "--scheme", "mapping"], "JSON list of lists"),
        (["--mapping", "GOOD", "--scheme", "iid"], "a mapping is given"),
        (["--mapping", "GOOD", "--scheme", "mapping", "--clients", 6], "each group of the mapping is one client"),
    ],
)
def test_partition_names_what_does_not_fit(given, says, tmp_path):
    files = {"FLAT": ["en", "cy", "ga"], "OBJECT": {"a": ["en", "cy", "ga"]}, "GOOD": [["en"], ["cy"], ["ga"]]}
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    given = [tmp_path / x if x in files else x for x in given]
    with pytest.raises(FedPromptError, match=says):
        call("partition", *SMALL, *given, "--plot", tmp_path / "who.png")


def test_count_gives_the_papers_figures():
    [row] = [line.split() for line in call("count").stdout.splitlines() if line.startswith("prompt-tuning")]
    assert "1,202,708" in row
    assert "278,655,764" in row
    assert "604,426" in row


@pytest.mark.parametrize(
    "config",
    [
        DebertaV2Config(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, vocab_size=99
        ),
        GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=99),
    ],
    ids=lambda config: config.model_type,
)
def test_count_takes_other_architectures(config, tmp_path):
    config.save_pretrained(tmp_path)
    rows = call("count", "--backbone", tmp_path, "--labels", 3).stdout.splitlines()[3:]
    found = {line.split()[0]: line.split()[1] for line in rows}
    assert set(found) == set(METHODS)
    assert int(found["full"].replace(",", "")) > int(found["lora"].replace(",", "")) > 2 * 2 * 2 * 8 * 32


@pytest.mark.parametrize(
    "config",
    [
        DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=48, vocab_size=99),
        DebertaV2Config(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, vocab_size=99
        ),
        ModernBertConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            vocab_size=99,
            pad_token_id=0,
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_count_takes_heads_of_several_parts_and_leaves_out_what_cannot_train(config, tmp_path):
    config.save_pretrained(tmp_path)
    rows = call("count", "--backbone", tmp_path, "--labels", 3).stdout.splitlines()[3:]
    found = {line.split()[0]: line.split()[1:] for line in rows}
    head = 32 * 32 + 32 + 32 * 3 + 3  # the second 32: a bias, or the scale of ModernBERT's normalisation
    assert found["prefix-tuning"][:2] == ["not", "available"]  # these layers take no keys and values from outside
    for method in set(METHODS) - {"prefix-tuning"}:
        assert found[method][2] == f"{head:,}", method
    for method in ("prompt-tuning", "p-tuning", "lora"):
        trainable, _, _, twice = (int(number.replace(",", "")) for number in found[method][:4])
        assert twice == trainable + head  # the head alone is there twice


@pytest.mark.parametrize("labels", [1, 0, -3])
def test_count_refuses_fewer_than_two_labels(labels):
    with pytest.raises(FedPromptError, match=f"--labels is {labels}; .*at least 2"):
        call("count", "--labels", labels)


def test_tasks_lists_every_task():
    listed = {line.split()[0] for line in call("tasks").stdout.splitlines()}
    assert listed == {"intents", "masakhanews", "xnli", "xglue-nc", "sib200", "tsv"}


def test_every_field_of_a_configuration_has_an_option():
    done = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    options = set(re.findall(r"--([a-z][a-z-]+)", done.output))
    fields = {field.name.replace("_", "-") for field in dataclasses.fields(RunConfig)}
    assert fields - options == set()

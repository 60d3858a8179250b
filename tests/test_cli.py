"""The command without a training: options, tables of who holds what and what is trained, and one line a mistake."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transformers import DebertaV2Config, DistilBertConfig, GPT2Config, ModernBertConfig
from typer.testing import CliRunner

from fedprompt_helpers.cards import options
from fedprompt_helpers.cli import app, main
from fedprompt_helpers.config import DEFAULTS, FIELDS, METHODS, PAPER_LANGUAGES, TASKS, TRACKS, RunConfig
from fedprompt_helpers.errors import FedPromptError
from fedprompt_helpers.files import write_json
from fedprompt_helpers.options import configuration
from fedprompt_helpers.records import FORMAT

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "book" / "results" / "records.jsonl"
SMALL = ["--languages", "en,cy,ga", "--train-size", "24"]


def call(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, FedPromptError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def fedprompt(*arguments, **options):
    environment = {**os.environ, **options.pop("env", {})}
    command = [sys.executable, "-m", "fedprompt_helpers", *map(str, arguments)]
    return subprocess.run(
        command, stderr=subprocess.PIPE, env=environment, encoding="utf-8", **{"stdout": subprocess.PIPE} | options
    )


@pytest.fixture
def mistake(monkeypatch, capsys):
    """Give a function that runs the command in this process and returns the one line that it says."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fedprompt", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr().err.split("\r")[-1]  # what stands before a return is wiped
        assert stopped.value.code == 2, said
        assert said.startswith("fedprompt: error: ")
        assert len(said.strip().splitlines()) == 1, said
        return said

    return run


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A run record of the book, as a file of its own."""
    with RECORDS.open(encoding="utf-8") as file:
        record = next(record for record in map(json.loads, file) if "rounds" in record)
    path = tmp_path_factory.mktemp("runs") / "record.json"
    write_json(path, record)
    return path


# Options


def help_of(command: str) -> dict[str, str]:
    """Give the help text of each option of a command, by the option's name."""
    done = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "220", "TERM": "dumb", "NO_COLOR": "1"})
    said = re.sub(r"[│╭╮╰╯─]", " ", done.output)
    found = re.split(r"\n\s+--([a-z][a-z-]*)", said)
    return {name: " ".join(text.split()) for name, text in zip(found[1::2], found[2::2], strict=True)}


def test_every_field_of_a_configuration_is_an_option():
    options = help_of("run")
    assert {name.replace("_", "-") for name in [*FIELDS, "seed"]} <= set(options)
    for name, field in FIELDS.items():
        said = options[name.replace("_", "-")]
        assert name == "mapping" or field.description.rstrip(".") in said
        if field.default not in (None, ()):
            shown = ",".join(field.default) if isinstance(field.default, tuple) else field.default
            assert f"Default: {shown}." in said, name
    for name, choices in {"method": METHODS, "task": TASKS}.items():
        assert f"One of {', '.join(choices)}." in options[name]


def test_options_become_the_configuration(monkeypatch, tmp_path):
    from fedprompt_helpers import cli

    made = []
    monkeypatch.setattr(cli, "configuration", lambda track, given: made.append((track, given)) or _stop())
    values = {name: default for name, default in DEFAULTS.items() if isinstance(default, (int, float, str))}
    given = [text for name, value in values.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    with pytest.raises(FedPromptError, match="stopped here"):
        call("run", "--track", "paper", *given)
    track, found = made[0]
    assert track == "paper"
    assert {name: value for name, value in found.items() if value is not None} == values


def _stop():
    raise FedPromptError("stopped here")


def test_a_track_gives_values_that_are_not_given():
    nothing = dict.fromkeys([*FIELDS, "seed"])
    assert configuration("pocket", nothing) == RunConfig()
    assert configuration("paper", nothing) == RunConfig(**TRACKS["paper"])
    news = configuration("paper", nothing | {"task": "masakhanews", "rounds": 3, "patience": 0})
    assert news.data.languages == PAPER_LANGUAGES["masakhanews"]
    assert (news.federation.rounds, news.training.patience) == (3, None)
    listed = configuration("pocket", nothing | {"languages": " en , cy,", "unseen": "af"}).data
    assert (listed.languages, listed.unseen) == (("en", "cy"), ("af",))


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("run --languages en,cyy", "unknown language 'cyy'; nearest: cy"),
        ("run --languages en,welsh", "available: "),
        ("run --languages en,en", "given twice"),
        ("run --languages ,", "name at least one"),
        ("run --unseen klingon", "unknown language 'klingon'"),
        ("run --task intent", "nearest: intents"),
        ("run --track papers", "unknown track 'papers'; nearest: paper"),
        ("run --method p_tuning", "nearest: p-tuning"),
        ("run --device gpu", "unknown device 'gpu'; nearest: cpu; available: auto, cpu, cuda, mps"),
        ("run --runtime flowr", "'flowr' is not one of 'here', 'flower'"),
        ("run --rounds 0", "rounds is 0"),
        ("run --rounds many", "'many' is not a valid integer"),
        ("run --learning-rate fast", "'fast' is not a valid float"),
        ("run --heat 3", "No such option '--heat'"),
        ("run --text-field title", "text_field is 'title', but a row of task 'intents' has no choice of texts"),
        ("run --learning-rate 0", "learning_rate is 0.0"),
        ("run --partition dirichlet-label --alpha 0", "alpha (--alpha) is 0.0"),
        ("run --clients 9", "9 clients for 5 languages"),
        ("run --server-momentum 0.5", "choose the aggregation fedavgm or fedadam"),
        ("run --backbone ./nowhere", "a config.json was expected"),
        ("run --mapping nowhere.json --partition mapping", "cannot read nowhere.json"),
        ("show nowhere.json", "no run record at nowhere.json"),
        ("show pyproject.toml", "expected a run record"),
        ("show", "Missing argument 'RECORD'"),
        ("sweep", "No such command 'sweep'"),
        ("count --labels 1", "labels is 1; "),
        ("run --save-round last", "save_round is 'last', but nothing is saved"),
        ("predict --adapter x --text a --file b", "--text and --file are both given; give one of the two"),
        ("predict --adapter x --text a --text \u200b\u2060", "text 2 is empty"),
        ("predict --adapter x --text \udcff", "text 1 has characters that are none; give it in UTF-8"),
    ],
)
def test_mistakes_give_one_line_and_exit_code_two(arguments, expected, mistake, tmp_path):
    output = ["--output", tmp_path / "runs"] if arguments.startswith("run") else []
    assert expected in mistake(*arguments.split(), *output)
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_a_device_that_is_not_here(mistake, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a card here")
    said = mistake("run", "--device", "cuda", "--output", tmp_path / "runs")
    assert "the device 'cuda' is not here" in said
    assert "leave --device out" in said
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'["en", "cy", "ga"]', "mapping is 'en'; it must be a list of names"),
        (b'{"a": ["en", "cy", "ga"]}', "mapping is 'a'; it must be a list of names"),
        (b"[[1, 2], [3]]", "mapping is 1; it must be a valid string"),
        (b"3", "mapping is 3; it must be a list of names"),
        (b"[[", "a JSON list of lists"),
        (b"\xff\xfe", "a JSON list of lists"),
        (b'[["en", "cy"], ["cyy"]]', "unknown language in the mapping 'cyy'; nearest: cy"),
        (b'[["en"], ["cy"]]', "the mapping names ga 0 times"),
        (b'[["en", "cy", "ga"], []]', "has a client without a language"),
    ],
)
def test_a_mapping_file_that_is_none(content, says, mistake, tmp_path):
    (tmp_path / "mapping.json").write_bytes(content)
    given = ["--partition", "mapping", "--mapping", tmp_path / "mapping.json", "--output", tmp_path / "runs"]
    assert says in mistake("run", *SMALL, *given)
    assert not (tmp_path / "runs").exists()


def test_a_mapping_can_be_given_without_a_file(tmp_path):
    given = ["--partition", "mapping", "--mapping", '[["en", "ga"], ["cy"]]', "--plot", tmp_path / "who.png"]
    assert "0: en,ga" in call("partition", *SMALL, *given).stdout


def test_the_options_that_a_card_shows_make_the_same_configuration():
    for values in (
        {},
        {"patience": None, "seed": 3, "learning_rate": 3e-4, "unseen": ["af"]},
        {"partition": "mapping", "mapping": [["en", "de"], ["cy", "ga"], ["is"]]},
        {"label_budget": [16, 16, 16, 16, 64], "aggregation": "fedadam"},
        {"head_start": "ridge", "pooling": "mean", "method": "head", "rounds": 0},
        {"task": "sib200", "languages": ["en", "de", "cy", "ga", "is"]},
        {"task": "own", "columns": "text=my tweet,label=it's", "quotes": "never", "data_dir": "DATA"},
    ):
        config = RunConfig(**values)
        with pytest.MonkeyPatch.context() as patch:
            made = []
            patch.setattr("fedprompt_helpers.cli.configuration", lambda *given, to=made: to.append(given) or _stop())
            with pytest.raises(FedPromptError, match="stopped here"):
                call("run", *shlex.split(options(config)))
        assert configuration(*made[0]) == config, options(config)


def test_a_mapping_file_with_a_byte_order_mark(tmp_path):
    (tmp_path / "mapping.json").write_bytes(b'\xef\xbb\xbf[["en", "ga"], ["cy"]]')
    given = ["--partition", "mapping", "--mapping", tmp_path / "mapping.json", "--plot", tmp_path / "who.png"]
    assert "0: en,ga" in call("partition", *SMALL, *given).stdout


@pytest.mark.parametrize("output", ["file", "file/runs"])
def test_output_that_cannot_be_written(output, mistake, tmp_path):
    (tmp_path / "file").write_text("")
    said = mistake("run", *SMALL, "--output", tmp_path / output)
    assert f"cannot write run records into {tmp_path / output}: " in said
    assert "choose another folder with --output" in said
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


@pytest.mark.slow
def test_output_with_a_name_that_is_too_long(tmp_path):
    result = fedprompt("run", *SMALL, "--output", tmp_path / ("n" * 300))
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert re.search(r"File name too long '.*nnn.*'; .*choose another place", result.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_record_of_another_configuration_is_refused_with_what_differs(mistake, stored, tmp_path):
    config = RunConfig(languages=("en", "cy", "ga"), train_size=24)
    record = json.loads(stored.read_text("utf-8")) | {"config": config.replace(rounds=77).to_dict()}
    write_json(tmp_path / f"{config.name()}.json", record)
    said = mistake("run", *SMALL, "--output", tmp_path)
    assert "is the record of another configuration: rounds is 77 there, 5 was asked for" in said


def test_a_configuration_that_has_its_record_is_not_run_again(stored, tmp_path):
    config = RunConfig(languages=("en", "cy", "ga"), train_size=24)
    record = json.loads(stored.read_text("utf-8")) | {"config": config.to_dict(), "notes": ["as it was"]}
    record.pop("data_digest", None)  # old records have none
    write_json(tmp_path / f"{config.name()}.json", record)
    result = call("run", *SMALL, "--output", tmp_path)
    assert "this configuration has its record already; --again runs it anew" in result.stderr
    assert "note: as it was" in result.stderr
    assert result.stdout.splitlines()[0] == str(tmp_path / f"{config.name()}.json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[: len(text) // 2], "expected a run record"),
        (lambda text: "[]", "is not a run record"),
        (lambda text: "{}", "is not a run record"),
        (lambda text: json.dumps(json.loads(text) | {"format": FORMAT + 90}), f"newer than {FORMAT}"),
        (lambda text: json.dumps(json.loads(text) | {"test": {}}), "is not a run record|newer than"),
    ],
    ids=["cut", "list", "empty", "newer", "without test"],
)
def test_show_of_a_damaged_record(change, says, mistake, stored, tmp_path):
    (tmp_path / "record.json").write_text(change(stored.read_text("utf-8")), encoding="utf-8")
    assert re.search(says, mistake("show", tmp_path / "record.json"))
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.slow
def test_show_saves_a_plot_or_says_why_not(mistake, stored, tmp_path):
    shown = call("show", stored, "--plot", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
    assert "macro-F1" in shown.stdout
    said = mistake("show", stored, "--plot", tmp_path / "nowhere" / "plot.png")
    assert "cannot save the plot" in said
    assert "cannot save the plot" in mistake("show", stored, "--plot", tmp_path / "plot.docx")


# What the operating system says, and how long it takes


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", [["tasks"], ["show", "RECORD"]], ids=["tasks", "show"])
@pytest.mark.slow
def test_a_full_standard_output_gives_one_line(command, stored, tmp_path):
    command = [stored if part == "RECORD" else part for part in command]
    with Path("/dev/full").open("w") as full:
        result = fedprompt(*command, *(["--plot", tmp_path / "p.png"] if "show" in command else []), stdout=full)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "fedprompt: error: No space left on device; free some space or choose another place"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_output_under_another_code_page(encoding, stored, tmp_path):
    record = json.loads(stored.read_text("utf-8")) | {"notes": ["አማርኛ Yorùbá"]}
    write_json(tmp_path / "record.json", record)
    result = fedprompt("show", tmp_path / "record.json", env={"PYTHONIOENCODING": encoding}, errors="replace")
    assert result.returncode == 0, result.stderr
    assert "note: ???? Yor" in result.stdout
    refused = fedprompt("run", "--languages", "አማርኛ", env={"PYTHONIOENCODING": encoding})
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "--method", "p_tuning"], 2),
        (["run", "--rounds", "0"], 2),
        (["run", "--languages", "en,cyy"], 2),
        (["run", "--help"], 0),
        (["tasks"], 0),
        (["show", "nowhere.json"], 2),
        (["show", "RECORD", "--plot", "PLOT"], 0),
    ],
    ids=str,
)
@pytest.mark.slow
def test_small_questions_are_answered_without_pytorch(arguments, code, stored, tmp_path):
    names = {"RECORD": str(stored), "PLOT": str(tmp_path / "plot.png")}
    script = "import sys; from fedprompt_helpers.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    command = [sys.executable, "-c", script, *(names.get(part, part) for part in arguments)]
    began, before = time.perf_counter(), os.times()
    result = subprocess.run(command, capture_output=True, encoding="utf-8")
    took, after = time.perf_counter() - began, os.times()
    assert result.returncode == code, result.stderr
    assert result.stdout.splitlines()[-1] == "False"
    worked = after.children_user + after.children_system - before.children_user - before.children_system
    assert min(took, worked) <= 2  # seconds; beside busy programs the clock runs on


def test_a_closed_standard_input_gives_one_line():
    command = [sys.executable, "-m", "fedprompt_helpers", "predict", "--adapter", "x"]
    done = subprocess.run(["sh", "-c", '"$@" <&-', "sh", *command], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no text given; give --text, --file, or lines on standard input" in done.stderr


def test_a_closed_standard_output_is_no_mistake():
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", sys.executable, "-m", "fedprompt_helpers", "tasks"], stderr=subprocess.PIPE
    )
    assert (done.returncode, done.stderr) == (0, b"")


# Who holds what, and what is trained


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
        (["--scheme", "iid", "--alpha", 0], "alpha is 0.*dirichlet"),
        (["--mapping", "GOOD", "--scheme", "iid"], "mapping is .*leave it out, or choose the partition mapping"),
        (["--mapping", "GOOD", "--scheme", "mapping", "--clients", 6], "each group of the mapping is one client"),
    ],
)
def test_partition_names_what_does_not_fit(given, says, tmp_path):
    (tmp_path / "GOOD").write_text('[["en"], ["cy"], ["ga"]]')
    with pytest.raises(FedPromptError, match=says):
        call("partition", *SMALL, *(tmp_path / x if x == "GOOD" else x for x in given), "--plot", tmp_path / "who.png")


@pytest.mark.slow
def test_count_gives_the_papers_figures():
    [row] = [line.split() for line in call("count").stdout.splitlines() if line.startswith("prompt-tuning")]
    assert "1,202,708" in row
    assert "278,655,764" in row
    assert "604,426" in row


SMALL_BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
SMALL_BERT |= {"vocab_size": 99}


@pytest.mark.parametrize(
    "config",
    [DebertaV2Config(**SMALL_BERT), GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=99)],
    ids=lambda config: config.model_type,
)
def test_count_takes_other_architectures(config, tmp_path):
    config.save_pretrained(tmp_path)
    result = call("count", "--backbone", tmp_path, "--labels", 3)
    found = {line.split()[0]: line.split()[1] for line in result.stdout.splitlines()[3:]}
    assert {*found, *re.findall(r"^note: (\S+) is not available", result.stderr, re.M)} == set(METHODS)
    assert int(found["full"].replace(",", "")) > int(found["lora"].replace(",", "")) > 2 * 2 * 2 * 8 * 32


@pytest.mark.parametrize(
    "config",
    [
        DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=48, vocab_size=99),
        DebertaV2Config(**SMALL_BERT),
        ModernBertConfig(**SMALL_BERT, pad_token_id=0),
    ],
    ids=lambda config: config.model_type,
)
def test_count_takes_heads_of_several_parts_and_leaves_out_what_cannot_train(config, tmp_path):
    config.save_pretrained(tmp_path)
    result = call("count", "--backbone", tmp_path, "--labels", 3)
    found = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()[3:]}
    head = 32 * 32 + 32 + 32 * 3 + 3  # the second 32: a bias, or the scale of ModernBERT's normalisation
    assert re.search(r"^note: prefix-tuning is not available .*layers take no keys and values", result.stderr)
    for method in set(METHODS) - {"prefix-tuning"}:
        assert found[method][2] == f"{head:,}", method
    for method in ("prompt-tuning", "p-tuning", "lora"):
        trainable, _, _, twice = (int(number.replace(",", "")) for number in found[method][:4])
        assert twice == trainable + head  # the head alone is there twice


@pytest.mark.parametrize("labels", [1, 0, -3])
def test_count_refuses_fewer_than_two_labels(labels):
    with pytest.raises(FedPromptError, match=f"labels is {labels}; .*at least 2"):
        call("count", "--labels", labels)


def test_tasks_lists_every_task():
    listed = {line.split()[0] for line in call("tasks").stdout.splitlines()}
    assert listed == set(TASKS)

"""The card of a saved model: what it was trained on, its scores beside their floor, and how to use it (chapter 16)."""

import shlex
from pathlib import Path

from huggingface_hub import ModelCardData

from .checks import OWN
from .config import RunConfig
from .data.corpora import corpus_of


def options(config: RunConfig) -> str:
    """Write the options of ``fedprompt run`` that make a configuration, beside the folder of own data."""
    usual, made = RunConfig().to_text() | {"languages": None}, config.to_text()
    made |= {"data-dir": "DATA"} if config.data.task in OWN else {}
    return " ".join(f"--{x} {shlex.quote(str(value))}" for x, value in made.items() if value != usual[x])


def card(facts: dict) -> str:
    """Write the card of a saved model: task, languages, labels, scores with their floor, data and configuration."""
    config, base, labels = facts["config"], facts["config"]["backbone"], facts["labels"]
    about = {"library_name": "peft", "tags": ["federated-learning", config["method"], config["setting"]]}
    about |= {} if base == "pocket" or Path(base).exists() else {"base_model": base}
    scores = "| language | test texts | majority class | accuracy | macro-F1 |\n|---|---|---|---|---|"
    for x, found in facts["test"].items():
        scores += f"\n| {x} | {facts['examples'][x]['test']} | {facts['majority'][x]:.3f} | {found['accuracy']:.3f}"
        scores += f" | {found['macro_f1']:.3f} |"
    mean = ', pooling="mean"' if config["pooling"] == "mean" else ""
    kind = corpus_of(config["task"]).kind
    mean += f', kind="{kind}"' * (kind != "text")
    load = f'fp.load_backbone("{base}", num_labels={len(labels)}{mean}).model'
    peft = f"""from peft import PeftModel

model = PeftModel.from_pretrained({load}, "FOLDER")
# or, with labels and probabilities:
"""
    encoder = "PEFT keeps the prompt that the encoder made, not the encoder: to train on, take `fp.load_adapter`.\n\n"
    digests = (f"- {x}: texts and labels have the digest {digest}\n" for x, digest in facts["data_digest"].items())
    return f"""---
{ModelCardData(language=config["languages"], **about).to_yaml()}
---
# {config["task"]}: {", ".join(config["languages"])}

{config["method"]} on the frozen backbone {base}, {config["setting"]}. Made with:

    fedprompt run {options(RunConfig.from_dict(config))}

Labels: {", ".join(labels)}

## Scores on the test split

{scores if facts["test"] else "Not tested."}

## Use

```python
import fedprompt_helpers as fp
{"" if config["method"] in ("head", "full") else peft}fp.classify(fp.load_adapter("FOLDER"), ["a text"])
```

{encoder if config["method"] == "p-tuning" else ""}## Data

{"".join(digests)}"""

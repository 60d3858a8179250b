"""A peer for chapter 14: ``python -m book.beyond.peer METHOD LANGUAGE EPOCHS SEED ...`` adds rows to ``peer.csv``.

The loop is the one of Transformers' own examples: its token classification model, its collator, and PEFT for P-tuning.
It shares with the helper the rows, the backbone's files, the budget of passes, the rate, and how dev chooses an epoch.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import torch
from peft import PromptEncoderConfig, TaskType, get_peft_model
from transformers import AutoModelForTokenClassification, DataCollatorForTokenClassification, set_seed

import fedprompt_helpers as fp
from fedprompt_helpers.data.kinds import entity_scores
from fedprompt_helpers.model.backbones import load_tokenizer, resolve

OUT = Path("book/results/beyond/peer.csv")
RATE, BATCH, LENGTH, TOKENS = 3e-2, 8, 64, 8


def aligned(rows, tokenizer, names: list[str]) -> list[dict]:
    """Tokenise words, each label at the first piece of its word, as Transformers' guide does."""
    made = []
    for text, label in zip(rows["text"], rows["label"], strict=True):
        options = {"is_split_into_words": True, "truncation": True, "max_length": LENGTH}
        tags, one, before = label.split(), tokenizer(text.split(" "), **options), None
        labels = []
        for word in one.word_ids():
            labels.append(-100 if word is None or word == before else names.index(tags[word]))
            before = word
        made.append({"input_ids": one["input_ids"], "attention_mask": one["attention_mask"], "labels": labels})
    return made


def scored(model, data: list[dict], rows, collate, names: list[str]) -> float:
    """Return the entity F1 of a split, words that were cut off being O."""
    truth, guesses = [label.split() for label in rows["label"]], []
    with torch.inference_mode():
        for start in range(0, len(data), 32):
            batch = collate([dict(one) for one in data[start : start + 32]])
            labels = batch.pop("labels")
            best = model(**batch).logits[:, -labels.shape[1] :].argmax(-1)
            guesses += [[names[i] for i in row[kept]] for row, kept in zip(best, labels != -100, strict=True)]
    full = [said + ["O"] * (len(tags) - len(said)) for said, tags in zip(guesses, truth, strict=True)]
    return entity_scores(truth, full)["entity_f1"]


def run(method: str, language: str, epochs: int, seed: int) -> float:
    """Train and score one client by itself."""
    task = fp.load_task("masakhaner2", ["swa", "hau", "xho", "bam", "wol"], label_budget=64, seed=seed, test_size=200)
    names, splits, tokenizer = list(task.labels), task.data[language], load_tokenizer("pocket")
    set_seed(seed)
    model = AutoModelForTokenClassification.from_pretrained(
        resolve("pocket", len(names)), num_labels=len(names), dtype=torch.bfloat16
    )
    model.base_model.requires_grad_(False)
    if method == "p-tuning":
        options = {"num_virtual_tokens": TOKENS, "encoder_hidden_size": 128}
        model = get_peft_model(model, PromptEncoderConfig(task_type=TaskType.TOKEN_CLS, **options))
    head = [p for n, p in model.named_parameters() if p.requires_grad]
    for parameter in head:
        parameter.data = parameter.data.float()
    model.eval()  # as the helper, without dropout
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module.out_features == len(names):
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    collate = DataCollatorForTokenClassification(tokenizer)
    data = {split: aligned(rows, tokenizer, names) for split, rows in splits.items()}
    optimizer, numbers, best = torch.optim.AdamW(head, lr=RATE), np.random.default_rng(seed), (-1.0, 0, {})
    for epoch in range(epochs):
        order = numbers.permutation(len(data["train"]))
        for start in range(0, len(order), BATCH):
            batch = collate([dict(data["train"][i]) for i in order[start : start + BATCH]])
            loss = model(**batch).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found = scored(model, data["dev"], splits["dev"], collate, names)
        if found > best[0]:
            best = found, epoch, {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        elif epoch - best[1] >= 12:
            break
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(best[2][name])
    return scored(model, data["test"], splits["test"], collate, names)


def main() -> None:
    """Run the seeds that were asked for, and write each row at once."""
    method, language, epochs, *seeds = sys.argv[1:]
    for seed in map(int, seeds):
        f1 = run(method, language, int(epochs), seed)
        new = not OUT.exists()
        with OUT.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([["method", "language", "epochs", "seed", "f1"]] * new)
            writer.writerow([method, language, epochs, seed, round(f1, 6)])


if __name__ == "__main__":
    main()

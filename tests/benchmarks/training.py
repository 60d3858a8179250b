"""Local training against two plain ways to write it, as ratios in one run: ``python -m tests.benchmarks.training``.

All three train the same P-tuning arrays from the same start on the same examples, with the same batch size, optimiser
and learning rate, dropout off. What differs is how: the baselines are what PEFT's own pages show. Each is timed by
turns, several times, and the loss curves are printed side by side.
"""

import argparse
import time

import numpy as np
import peft
import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, Trainer, TrainingArguments

from fedprompt_helpers import tuning
from fedprompt_helpers.backbones import load_backbone, quiet_loading
from fedprompt_helpers.config import RunConfig
from fedprompt_helpers.pocket import pocket_folder
from fedprompt_helpers.tasks import load_task

EPOCHS, BATCH, RATE, TOKENS = 3, 16, 1e-3, 8


def plain_model(num_labels: int, start: dict) -> torch.nn.Module:
    """Build PEFT's model as its pages do, in float32, with the common start."""
    with quiet_loading():
        model = AutoModelForSequenceClassification.from_pretrained(
            pocket_folder(), num_labels=num_labels, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        )
    config = peft.PromptEncoderConfig(task_type="SEQ_CLS", num_virtual_tokens=TOKENS, encoder_hidden_size=128)
    model = peft.get_peft_model(model, config)
    tuning.load_arrays(model, start)
    return model


def rows(data: tuning.Encoded) -> list[dict]:
    """Give the tokenised examples as a DataLoader takes them."""
    return [{"input_ids": i, "labels": int(y)} for i, y in zip(data.token_ids, data.labels, strict=True)]


def ours(data, tokenizer, start, num_labels):
    """Train with the package."""
    model, _ = load_backbone(num_labels=num_labels, dtype=tuning.compute_dtype("auto", "p-tuning"))
    model = tuning.prepare(model, "p-tuning", virtual_tokens=TOKENS)
    tuning.load_arrays(model, start)
    began = time.perf_counter()
    history = tuning.train(model, data, epochs=EPOCHS, learning_rate=RATE, batch_size=BATCH)
    return time.perf_counter() - began, [entry["train_loss"] for entry in history]


def autocast(data, tokenizer, start, num_labels):
    """Train with PEFT, a DataLoader that pads, and torch.autocast in bfloat16."""
    model = plain_model(num_labels, start).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE)
    torch.manual_seed(0)
    loader = DataLoader(rows(data), BATCH, shuffle=True, collate_fn=DataCollatorWithPadding(tokenizer))
    losses, began = [], time.perf_counter()
    for _ in range(EPOCHS):
        total = 0.0
        for batch in loader:
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(**batch).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch["labels"])
        losses.append(total / len(data.labels))
    return time.perf_counter() - began, losses


def trainer(data, tokenizer, start, num_labels):
    """Train with PEFT and the Hugging Face Trainer in float32."""
    model = plain_model(num_labels, start)
    arguments = TrainingArguments(
        output_dir="unused",
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=0.01,
        max_grad_norm=0.0,
        logging_strategy="epoch",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
    )
    run = Trainer(model, arguments, train_dataset=rows(data), data_collator=DataCollatorWithPadding(tokenizer))
    run.remove_callback(next(type(c) for c in run.callback_handler.callbacks if "Printer" in type(c).__name__))
    began = time.perf_counter()
    run.train()
    seconds = time.perf_counter() - began
    return seconds, [entry["loss"] for entry in run.state.log_history if "loss" in entry]


def main() -> None:
    """Time the three by turns and print medians, ratios and loss curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="intents")
    parser.add_argument("--language", default="cy")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    task = load_task(given.task, [given.language], train_size=288, data_dir=given.data_dir)
    pocket_folder()  # unpacked now, if it was not
    began = time.perf_counter()
    model, tokenizer = load_backbone(num_labels=len(task.labels))
    loading = time.perf_counter() - began
    start = tuning.trainable_arrays(tuning.prepare(model, "p-tuning", virtual_tokens=TOKENS))
    data = tuning.encode(task.data[given.language]["train"], tokenizer, max_length=RunConfig.max_length)
    del model
    ways = {"this package": ours, "PEFT + autocast bfloat16": autocast, "PEFT + Trainer float32": trainer}
    seconds, losses = {name: [] for name in ways}, {}
    for _ in range(given.turns):
        for name, way in ways.items():
            took, losses[name] = way(data, tokenizer, start, len(task.labels))
            seconds[name].append(took)
    fastest = np.median(seconds["this package"])
    print(f"{given.task} {given.language}, {len(data.labels)} examples, {EPOCHS} epochs, batch {BATCH}, P-tuning")
    print(f"{'':<26}{'examples/s':>11}{'ratio':>7}  loss by epoch")
    print(f"backbone and tokenizer from cache, first load of a process: {loading:.1f} s")
    for name in ways:
        speed = EPOCHS * len(data.labels) / np.median(seconds[name])
        ratio = np.median(seconds[name]) / fastest
        print(f"{name:<26}{speed:>11.1f}{ratio:>7.2f}  {' '.join(f'{loss:.3f}' for loss in losses[name])}")


if __name__ == "__main__":
    main()

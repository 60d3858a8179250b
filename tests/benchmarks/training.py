"""Local training against two plain ways to write it, as ratios in one run: ``python -m tests.benchmarks.training``.

All three train the same P-tuning arrays from the same start on the same examples for the same epochs, with the same
batch size, optimiser and learning rate, dropout off. What differs is how: the baselines are what PEFT's own pages
show. Models are built before the clock starts. Each way is timed by turns, and examples/s come from the median turn.

How results are compared: each way shuffles by its own means, so one run of each proves nothing. Every turn has a
shuffle seed of its own; printed are the mean and standard deviation, over the turns, of the training loss of the last
epoch and of the dev loss after it. A last line trains our float32 model and PEFT's on identical batches in identical
order and prints the largest difference between their losses of one step.

Below that, several clients train in a round, each on as many examples: with the package one process a core, one
thread each (started, and the backbone loaded, before the clock starts); otherwise one client after another with all
threads, so that the figures of one client hold.
"""

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import peft
import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, Trainer, TrainingArguments

from fedprompt_helpers.config import DEFAULTS
from fedprompt_helpers.data.tasks import load_task
from fedprompt_helpers.federation.grid import usable_cores
from fedprompt_helpers.model.backbones import compute_dtype, load_backbone, quiet_loading
from fedprompt_helpers.model.methods import prepare
from fedprompt_helpers.model.pocket import pocket_folder
from fedprompt_helpers.model.training import Encoded, batches, encode, evaluate, get_arrays, set_arrays, train

EPOCHS, BATCH, RATE, TOKENS, DEV = 3, 16, 1e-3, 8, 200


def plain_model(num_labels: int, start: dict) -> torch.nn.Module:
    """Build PEFT's model as its pages do, in float32, with the common start."""
    with quiet_loading():
        model = AutoModelForSequenceClassification.from_pretrained(
            pocket_folder(), num_labels=num_labels, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        )
    config = peft.PromptEncoderConfig(task_type="SEQ_CLS", num_virtual_tokens=TOKENS, encoder_hidden_size=128)
    model = peft.get_peft_model(model, config)
    set_arrays(model, start)
    return model


def rows(data: Encoded) -> list[dict]:
    """Give the tokenised examples as a DataLoader takes them."""
    return [{"input_ids": i, "labels": int(y)} for i, y in zip(data.token_ids, data.labels, strict=True)]


def our_model(num_labels: int, start: dict, precision: str = "auto") -> torch.nn.Module:
    """Build the package's model, with the common start."""
    model, _ = load_backbone(num_labels=num_labels, dtype=compute_dtype(precision, "p-tuning"))
    model = prepare(model, "p-tuning", virtual_tokens=TOKENS)
    set_arrays(model, start)
    return model


def ours(data, tokenizer, start, num_labels, seed):
    """Train with the package; give seconds, the loss of the last epoch, and the model."""
    model = our_model(num_labels, start)
    began = time.perf_counter()
    history = train(model, data, epochs=EPOCHS, learning_rate=RATE, batch_size=BATCH, seed=seed)
    return time.perf_counter() - began, history[-1]["train_loss"], model


def autocast(data, tokenizer, start, num_labels, seed):
    """Train with PEFT, a DataLoader that pads, and torch.autocast in bfloat16."""
    model = plain_model(num_labels, start).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE)
    torch.manual_seed(seed)
    loader = DataLoader(rows(data), BATCH, shuffle=True, collate_fn=DataCollatorWithPadding(tokenizer))
    began = time.perf_counter()
    for _ in range(EPOCHS):
        total = 0.0
        for batch in loader:
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(**batch).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch["labels"])
    return time.perf_counter() - began, total / len(data.labels), model


def trainer(data, tokenizer, start, num_labels, seed):
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
        seed=seed,
    )
    run = Trainer(model, arguments, train_dataset=rows(data), data_collator=DataCollatorWithPadding(tokenizer))
    run.remove_callback(next(type(c) for c in run.callback_handler.callbacks if "Printer" in type(c).__name__))
    began = time.perf_counter()
    run.train()
    seconds = time.perf_counter() - began
    return seconds, [entry["loss"] for entry in run.state.log_history if "loss" in entry][-1], run.model


def largest_step_difference(data, start, num_labels) -> float:
    """Train one epoch in float32 on identical batches, ours beside PEFT's; give the largest difference of a loss."""
    models, losses = (our_model(num_labels, start, "float32"), plain_model(num_labels, start).eval()), []
    steps = list(batches(models[0], data, BATCH, np.random.default_rng(0)))
    for model in models:
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE)
        losses.append([])
        for batch in steps:
            loss = model(**batch).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    return float(np.abs(np.subtract(*losses)).max())


def begin_worker(barrier, data, start, num_labels) -> None:
    """Load what a process needs for any client, then wait until all processes have."""
    global worker
    torch.set_num_threads(1)
    worker = data, start, our_model(num_labels, start)
    barrier.wait()


def train_client(client: int) -> int:
    """Train one client in this process; return its number of examples."""
    data, start, model = worker
    set_arrays(model, start)
    train(model, data, epochs=EPOCHS, learning_rate=RATE, batch_size=BATCH, seed=client)
    return len(data.labels)


def seconds_of_a_round(clients: int, turns: int, *given) -> float:
    """Train some clients, one process a core, one thread each; give the median seconds."""
    context = multiprocessing.get_context("spawn")
    workers = min(usable_cores(), clients)
    barrier, seconds = context.Barrier(workers + 1), []
    with ProcessPoolExecutor(workers, context, begin_worker, (barrier, *given)) as pool:
        first = [pool.submit(int) for _ in range(workers)]  # starts the processes
        barrier.wait()
        assert [future.result() for future in first] == [0] * workers
        for _ in range(turns):
            began = time.perf_counter()
            assert sum(pool.map(train_client, range(clients))) == clients * len(given[0].labels)
            seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


def main() -> None:
    """Time the three by turns, then a round of clients; print medians, ratios and losses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="intents")
    parser.add_argument("--language", default="cy")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--examples", type=int, default=288)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="*", default=[5, 6])
    given = parser.parse_args()
    task = load_task(given.task, [given.language], train_size=given.examples, data_dir=given.data_dir)
    pocket_folder()  # unpacked now, if it was not
    began = time.perf_counter()
    model, tokenizer = load_backbone(num_labels=len(task.labels))
    loading = time.perf_counter() - began
    start = get_arrays(prepare(model, "p-tuning", virtual_tokens=TOKENS))
    splits = task.data[given.language]
    dev = splits["dev"].select(range(min(DEV, len(splits["dev"]))))
    data, dev = (encode(part, tokenizer, max_length=DEFAULTS["max_length"]) for part in (splits["train"], dev))
    del model
    ways = {"this package": ours, "PEFT + autocast bfloat16": autocast, "PEFT + Trainer float32": trainer}
    seconds, losses = {name: [] for name in ways}, {name: [] for name in ways}
    for turn in range(given.turns):
        for name, way in ways.items():
            took, last, model = way(data, tokenizer, start, len(task.labels), turn)
            seconds[name].append(took)
            losses[name].append((last, evaluate(model, dev).loss))
            del model
    speeds = {name: EPOCHS * len(data.labels) / np.median(took) for name, took in seconds.items()}
    print(f"{given.task} {given.language}, {len(data.labels)} examples, {EPOCHS} epochs, batch {BATCH}, P-tuning")
    print(f"backbone and tokenizer from cache, first load of a process: {loading:.1f} s")
    print(f"one client{'':<24}examples/s  ratio  train loss, last epoch   dev loss ({len(dev.labels)} examples)")
    for name, speed in speeds.items():
        (last, after), (last_sd, after_sd) = np.mean(losses[name], 0), np.std(losses[name], 0, ddof=given.turns > 1)
        ratio = speeds["this package"] / speed
        print(f"{name:<34}{speed:>10.1f}{ratio:>7.2f}  {last:.3f} sd {last_sd:.3f}{'':<9}{after:.3f} sd {after_sd:.3f}")
    difference = largest_step_difference(data, start, len(task.labels))
    print(f"identical batches in float32: largest difference of a step's loss from PEFT's {difference:.1e}")
    assert difference < 1e-3
    for clients in given.clients:
        took = seconds_of_a_round(clients, given.turns, data, start, len(task.labels))
        together = clients * EPOCHS * len(data.labels) / took
        print(f"{clients} clients{'':<25}examples/s  ratio")
        cores = min(usable_cores(), clients)
        rows = {f"this package, {cores} processes, 1 thread": together} | speeds
        for name, speed in rows.items():
            print(f"{name:<34}{speed:>10.1f}{together / speed:>7.2f}")


if __name__ == "__main__":
    main()

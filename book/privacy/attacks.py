"""What a message gives away: each attack ranks candidate texts, and a score says how many of the first are right."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from datasets import Dataset
from scipy.optimize import nnls
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch.nn.utils.rnn import pad_sequence

import fedprompt_helpers as fp

from . import texts
from .texts import Rows

LABELS = 12


def class_sums(data: Rows) -> np.ndarray:
    """Add up the features of each class: ``(classes, 384)``."""
    return np.eye(LABELS)[data.y].T @ data.x


def solve(sums: np.ndarray, known: Rows, labels_known: bool = False) -> np.ndarray:
    """Explain each class's sum as a mix of candidates, none less than zero times: weights ``(classes, candidates)``.

    Whoever knows the candidates' labels mixes each sum from candidates of its class alone.
    """
    weights = np.zeros((len(sums), len(known.y)))
    for label, each in enumerate(sums):
        may = np.flatnonzero((known.y == label) | (not labels_known))
        if len(may):  # with none, SciPy 1.17 ends the process
            weights[label, may] = nnls(known.x[may].T, each, maxiter=30_000)[0]
    return weights


def is_member(known: Rows, data: Rows) -> np.ndarray:
    """Say which candidates a client holds."""
    return np.isin(known.texts, data.texts)


def scored(ranking: np.ndarray, member: np.ndarray) -> dict:
    """Score a ranking: how many of the n first are members, and the AUC."""
    n = member.sum()
    first = np.argsort(-ranking, kind="stable")[:n]
    auc = roc_auc_score(member, ranking)
    return {"texts": int(n), "candidates": len(member), "recovered": member[first].mean(), "auc": auc}


def pooled(parts: list[Rows]) -> Rows:
    """Put rows together; a text that several languages share stands once."""
    found = {text: (x, y) for part in parts for text, x, y in zip(part.texts, part.x, part.y, strict=True)}
    return Rows(list(found), np.array([x for x, _ in found.values()]), np.array([y for _, y in found.values()]))


def sums(seed: int) -> Iterator[dict]:
    """Attack the class sums of Welsh, and the exact total of five clients."""
    for budget in (16, 64):
        held = {name: parts["train"] for name, parts in texts.clients(budget=budget, seed=seed).items()}
        lists = {name: texts.candidates(name) for name in texts.FIVE}
        for who, names in {"Welsh": ("cy",), "total of five": texts.FIVE}.items():
            known = pooled([lists[name] for name in names])
            weights = solve(sum(class_sums(held[name]) for name in names).astype(np.float32), known)
            member = is_member(known, pooled([held[name] for name in names]))
            right = weights.argmax(0) == known.y
            score = scored(weights.max(0), member)
            first = np.argsort(-weights.max(0), kind="stable")[: member.sum()]
            yield {"message": who, "label_budget": budget, "with_class": (member & right)[first].mean(), **score}


# The backbone's own head: a dense layer, tanh, and a layer of twelve rows, on the vector of position 0


@lru_cache
def positions(batch: tuple[str, ...]) -> torch.Tensor:
    """Return the vectors at position 0, which the backbone's own head reads."""
    encoder, tokenizer = texts.backbone()
    found = []
    with torch.inference_mode():
        for text in batch:
            ids = tokenizer(text, return_tensors="pt")
            found.append(encoder(**ids).last_hidden_state[0, 0])
    return torch.stack(found)


def fit(layer: torch.nn.Module, x, y, optimizer, epochs: int, batch: int, seed: int = 0) -> None:
    """Train a layer on features: `epochs` passes in shuffled batches."""
    x, y = torch.as_tensor(x).float().clone(), torch.as_tensor(y)
    shuffle = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(y), generator=shuffle).split(batch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[rows]), y[rows]).backward()
            optimizer.step()


def optimizers(parameters) -> dict[str, torch.optim.Optimizer]:
    """Make the two ways to train that are compared."""
    parameters = list(parameters)
    return {"SGD": torch.optim.SGD(parameters, lr=0.1), "AdamW": torch.optim.AdamW(parameters, lr=1e-3)}


def outside_span(update: np.ndarray, x: np.ndarray, n: int) -> np.ndarray:
    """Measure how much of each candidate lies outside the n strongest directions of an update ``(rows, 384)``."""
    span = np.linalg.svd(update.astype(np.float64), full_matrices=False)[2][:n]
    return np.linalg.norm(x - x @ span.T @ span, axis=1) / np.linalg.norm(x, axis=1)


def head(seed: int) -> Iterator[dict]:
    """Attack one epoch of the backbone's own head through the span of its update."""
    known = texts.candidates("cy")
    x = positions(tuple(known.texts))
    for budget in (16, 64):
        held = texts.clients(("cy",), budget, seed)["cy"]["train"]
        member = is_member(known, held)
        n = int(member.sum())
        for name in ("SGD", "AdamW"):
            torch.manual_seed(seed)
            layers = [torch.nn.Linear(384, 384), torch.nn.Tanh(), torch.nn.Linear(384, LABELS)]
            layer = torch.nn.Sequential(*layers)
            before = layers[0].weight.detach().numpy().copy()
            optimizer = optimizers(layer.parameters())[name]
            fit(layer, x[member], known.y[member], optimizer, 1, 8, seed)
            update = layers[0].weight.detach().numpy() - before
            score = scored(-outside_span(update, x.double().numpy(), n), member)
            yield {"label_budget": budget, "optimizer": name, "epochs": 1, **score}


def loss(seed: int) -> Iterator[dict]:
    """Rank candidates by the loss that a linear layer has on them after some epochs alone."""
    known = texts.candidates("cy")
    inputs, labels = torch.from_numpy(known.x).float(), torch.from_numpy(known.y)
    for budget in (16, 64):
        parts = texts.clients(("cy",), budget, seed)["cy"]
        held, test, member = parts["train"], parts["test"], is_member(known, parts["train"])
        layer = torch.nn.Linear(384, LABELS)
        for values in layer.parameters():
            torch.nn.init.zeros_(values)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2)
        done = 0
        for epochs in (1, 2, 5, 10, 20, 40):
            fit(layer, held.x, held.y, optimizer, epochs - done, 8, seed + 1000 * done)
            done = epochs
            with torch.inference_mode():
                now = torch.nn.functional.cross_entropy(layer(inputs), labels, reduction="none").numpy()
                right = layer(torch.from_numpy(test.x).float()).argmax(1).numpy() == test.y
            score = scored(-now, member)
            yield {"label_budget": budget, "epochs": epochs, "test_accuracy": right.mean(), **score}


def bias(seed: int) -> Iterator[dict]:
    """Read a client's label counts from the bias of a linear layer that started at zero."""
    for budget in (16, 64):
        held = texts.clients(("cy",), budget, seed, draw="natural")["cy"]["train"]
        counts = np.bincount(held.y, minlength=LABELS)
        for name in ("SGD", "AdamW"):
            layer = torch.nn.Linear(384, LABELS)
            for values in layer.parameters():
                torch.nn.init.zeros_(values)
            optimizer = optimizers(layer.parameters())[name]
            fit(layer, held.x, held.y, optimizer, 1, len(held.y) if name == "SGD" else 8, seed)
            sent = layer.bias.detach().numpy().astype(float)
            # One step of 0.1 from zero moves the bias of a class by 0.1 (count / n - 1 / 12).
            guess = len(held.y) * (sent / 0.1 + 1 / LABELS)
            exact = (np.rint(guess) == counts).mean() if name == "SGD" else np.nan
            row = {"label_budget": budget, "optimizer": name, "texts": len(held.y), "exact_counts": exact}
            yield row | {"rank_correlation": spearmanr(sent, counts)[0]}


# Each payload by the same attack: the gradients that the candidates would give

METHODS = {"prompt": "prompt-tuning", "P-tuning": "p-tuning", "LoRA": "lora", "head": "head"}
RATES = {"prompt": 1e-2, "P-tuning": 1e-3, "LoRA": 3e-3, "head": 1e-3}
CANDIDATES = 200  # the client's commands, and others of the language drawn at random


def gradient(model, chosen, data, i: int) -> np.ndarray:
    """Return the gradient of one text's loss by the parameters that travel, as one float32 vector."""
    ids, label = torch.tensor([data.token_ids[i]]), torch.tensor([data.labels[i]])
    found = torch.autograd.grad(model(input_ids=ids, labels=label).loss, chosen)
    return torch.cat([each.flatten() for each in found]).numpy()


def explain(update: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Explain an update as a mix of negative gradients, none less than zero times: weights ``(candidates,)``."""
    scale = np.linalg.norm(gradients, axis=1)
    products = (gradients @ gradients.T) / np.outer(scale, scale)
    values, directions = np.linalg.eigh(products.astype(np.float64))
    values = np.maximum(values, 1e-7 * values.max())
    right = directions.T @ (-(gradients @ update) / scale).astype(np.float64)
    return nnls(np.sqrt(values)[:, None] * directions.T, right / np.sqrt(values), maxiter=30_000)[0] / scale


def losses(model, data) -> np.ndarray:
    """Return the loss on each text."""
    found = []
    with torch.inference_mode():
        for i in range(0, len(data.labels), 50):
            ids = [torch.tensor(each) for each in data.token_ids[i : i + 50]]
            mask = pad_sequence([torch.ones_like(each) for each in ids], batch_first=True)
            ids = pad_sequence(ids, batch_first=True, padding_value=1)
            labels = torch.from_numpy(data.labels[i : i + 50])
            logits = model(input_ids=ids, attention_mask=mask).logits
            found.append(torch.nn.functional.cross_entropy(logits, labels, reduction="none"))
    return torch.cat(found).double().numpy()


def payloads(seed: int) -> Iterator[dict]:
    """Attack one step of plain gradient descent and one epoch of AdamW, payload by payload."""
    known, held = texts.candidates("cy"), texts.clients(("cy",), 64, seed)["cy"]["train"]
    inside = is_member(known, held)
    others = np.random.default_rng(seed).permutation(np.flatnonzero(~inside))[: CANDIDATES - inside.sum()]
    chosen = np.sort([*np.flatnonzero(inside), *others])
    member = inside[chosen]
    table = Dataset.from_dict({"text": [known.texts[i] for i in chosen], "label": known.y[chosen]})
    for payload, method in METHODS.items():
        loaded, tokenizer = fp.load_backbone("pocket", num_labels=LABELS, seed=seed)
        model = fp.prepare(loaded, method, seed=seed).eval()
        everything = fp.encode(table, tokenizer)
        own = fp.encode(table.select(np.flatnonzero(member)), tokenizer)
        travels = [name for name in fp.get_arrays(model) if ("classifier" in name) == (payload == "head")]
        parameters = [values for name, values in model.named_parameters() if name in travels]
        gradients = np.array([gradient(model, parameters, everything, i) for i in range(len(member))])
        start, before = fp.get_arrays(model), losses(model, everything)
        step = -gradients[member].mean(0)
        fp.train(model, own, epochs=1, learning_rate=RATES[payload], batch_size=8, patience=None, seed=seed)
        after = fp.get_arrays(model)
        epoch = np.concatenate([(after[name] - start[name]).ravel() for name in travels])
        fp.set_arrays(model, {name: after[name] if name in travels else start[name] for name in start})
        fell = before - losses(model, everything)
        config = {"payload": payload, "numbers": len(epoch), "label_budget": 64}
        for trained, attack, ranking in (
            ("one step of SGD", "gradients", explain(step, gradients)),
            ("one epoch of AdamW", "gradients", explain(epoch, gradients)),
            ("one epoch of AdamW", "fall of the loss", fell),
        ):
            yield config | {"trained": trained, "attack": attack} | scored(ranking, member)

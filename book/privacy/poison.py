"""A client that means harm, and rules that leave clients out, in chapter 15, by Flower's own strategies."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from flwr.app import ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, FedMedian, FedTrimmedAvg, Krum, MultiKrum

from . import texts
from .noise import local_step
from .texts import Rows

RULES = {
    "FedAvg": FedAvg(),
    "FedMedian": FedMedian(),
    "FedTrimmedAvg": FedTrimmedAvg(beta=0.2),
    "Krum": Krum(num_malicious_nodes=1),
    "MultiKrum": MultiKrum(num_malicious_nodes=1, num_nodes_to_select=8),
}
ROUNDS, STEPS, RATE = 20, 5, 4.0
WORD, TARGET = "tulip", "MediaPause"


class Reply(NamedTuple):
    """What a strategy asks of a reply: whether it is an error, and its content."""

    content: RecordDict

    def has_error(self) -> bool:
        """Say that all went well."""
        return False


def average(rule: str, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """Let one of Flower's strategies make one array of the clients' arrays; name those that it took whole."""
    replies = []
    for name, values in arrays.items():
        metrics = MetricRecord({"num-examples": 1} | {other: float(other == name) for other in arrays})
        replies.append(Reply(RecordDict({"arrays": ArrayRecord([values]), "metrics": metrics})))
    found, metrics = RULES[rule].aggregate_train(1, replies)
    return found.to_numpy_ndarrays()[0], [name for name in arrays if metrics[name] > 0]


def federate(rule: str, data: dict[str, Rows], labels: int, attacker: str = "", boost: float = 1.0):
    """Run rounds of a linear layer; give its weights, who was taken each round, and each client's share trimmed."""
    weights, taken, trimmed = np.zeros((labels, data[next(iter(data))].x.shape[1])), [], []
    for _ in range(ROUNDS):
        sent = {}
        for name, rows in data.items():
            own = weights[None]
            for _ in range(STEPS):
                own = local_step(own, rows.x[None], rows.y[None], RATE, labels)
            sent[name] = weights + (boost if name == attacker else 1) * (own[0] - weights)
        place = np.argsort(np.argsort(np.stack(list(sent.values())), axis=0), axis=0)
        trimmed.append(((place < 2) | (place >= len(data) - 2)).mean(axis=(1, 2)))
        weights, whole = average(rule, sent)
        taken.append(whole)
    return weights, taken, np.mean(trimmed, axis=0)


def score(weights: np.ndarray, rows: Rows) -> float:
    """Return the accuracy."""
    return float(np.mean((rows.x @ weights.T).argmax(1) == rows.y))


def poisoned(rows: Rows, attack: str, target: int) -> Rows:
    """Return what the attacker trains on: every label moved by one, or copies with a word in front and its label."""
    if attack == "flipped labels":
        return rows._replace(y=(rows.y + 1) % 12)
    if attack == "trigger":
        copies = texts.rows([f"{WORD} {text}" for text in rows.texts], [target] * len(rows.y))
        return Rows([*rows.texts, *copies.texts], np.concatenate([rows.x, copies.x]), np.append(rows.y, copies.y))
    return rows


def poison(seed: int) -> Iterator[dict]:
    """Attack ten clients by one of them: accuracy of the nine others, and what the attacker wanted."""
    parts = texts.clients(texts.TEN, seed=seed)
    attacker, target = texts.TEN[seed % 10], texts.labels().index(TARGET)
    tests = {name: part["test"] for name, part in parts.items() if name != attacker}
    marked = {name: texts.rows([f"{WORD} {text}" for text in test.texts], test.y) for name, test in tests.items()}
    for attack, boost in (("none", 1), ("flipped labels", 1), ("flipped labels", 10), ("trigger", 1), ("trigger", 10)):
        data = {name: part["train"] for name, part in parts.items()}
        data[attacker] = poisoned(data[attacker], attack, target)
        for rule in ("FedAvg", "FedMedian", "FedTrimmedAvg", "Krum"):
            weights, taken, _ = federate(rule, data, 12, attacker, boost)
            guesses = {name: (test.x @ weights.T).argmax(1) for name, test in tests.items()}
            flipped = [np.mean(guesses[name] == (test.y + 1) % 12) for name, test in tests.items()]
            hits = [np.mean((test.x @ weights.T).argmax(1)[test.y != target] == target) for test in marked.values()]
            row = {"attack": attack, "boost": boost, "rule": rule, "clients": 10, "attacker": attacker}
            row |= {"label_budget": 64, "rounds": ROUNDS, "local_steps": STEPS, "rate": RATE}
            row |= {"accuracy": np.mean([score(weights, test) for test in tests.values()])}
            row |= {"flipped_answers": np.mean(flipped), "trigger_success": np.mean(hits)}
            yield row | {"attacker_taken": np.mean([attacker in names for names in taken])}


def excluded(seed: int) -> Iterator[dict]:
    """Let nobody attack: which languages of MasakhaNEWS does each rule leave out, and what does it cost them?"""
    parts = texts.clients(texts.NEWS, seed=seed, task="masakhanews", draw="natural")
    labels = len(texts.labels("masakhanews"))
    data = {name: part["train"] for name, part in parts.items()}
    for rule in RULES:
        weights, taken, trimmed = federate(rule, data, labels)
        for name, share in zip(data, trimmed, strict=True):
            left_out = share if rule == "FedTrimmedAvg" else np.mean([name not in names for names in taken])
            row = {"rule": rule, "language": name, "clients": 10, "label_budget": 64, "rounds": ROUNDS}
            row |= {"local_steps": STEPS, "rate": RATE, "left_out": left_out}
            test = parts[name]["test"]
            majority = np.bincount(test.y).max() / len(test.y)
            yield row | {"accuracy": score(weights, test), "majority": majority}

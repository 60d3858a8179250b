"""Differential privacy of chapter 15: noise on class sums, and on the averages of a federation."""

import math
from collections.abc import Iterator

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

import fedprompt_helpers as fp

from . import texts
from .attacks import LABELS, class_sums, is_member, pooled, scored, solve

DELTA = 1e-5
LEVELS = (2, 8, 32, 128, math.inf)


def delta(epsilon: float, mu: float) -> float:
    """Return the exact delta of Gaussian noise; `mu` is sensitivity / standard deviation (Balle and Wang 2018)."""
    return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon + norm.logcdf(-mu / 2 - epsilon / mu))


def epsilon(mu: float) -> float:
    """Return the exact epsilon at `DELTA`."""
    return brentq(lambda each: delta(each, mu) - DELTA, 0, 10_000)


def deviation(budget: float, rounds: int = 1, sensitivity: float = 1.0) -> float:
    """Return the standard deviation that keeps `budget` over all rounds: mus add squared (Dong et al. 2022)."""
    if math.isinf(budget):
        return 0.0
    mu = brentq(lambda each: delta(budget, each) - DELTA, 1e-3, 100)
    return sensitivity * math.sqrt(rounds) / mu


def flower_deviation(budget: float, sensitivity: float = 1.0) -> float:
    """Return what Flower's LocalDpMod adds, by the formula that is proven for epsilon up to 1."""
    return sensitivity * math.sqrt(2 * math.log(1.25 / DELTA)) / budget


def nearest_mean(sums: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Give each vector the class whose sum points most in its direction."""
    return (x @ (sums / np.linalg.norm(sums, axis=1, keepdims=True).clip(1e-9)).T).argmax(1)


def example(seed: int) -> Iterator[dict]:
    """Protect single texts: noise on class sums, from each client alone or once on the secure total.

    The attacker knows the candidates' labels too.
    """
    parts = texts.clients(seed=seed)
    exact = {name: class_sums(part["train"]) for name, part in parts.items()}
    lists = {name: texts.candidates(name) for name in texts.FIVE}
    everyone = pooled(list(lists.values()))
    floor = np.mean([np.bincount(part["test"].y).max() / len(part["test"].y) for part in parts.values()])
    for i, budget in enumerate(LEVELS):
        rng, sd = np.random.default_rng([seed, i]), deviation(budget)
        noisy = {name: each + rng.normal(0, sd, each.shape) for name, each in exact.items()}
        once = sum(exact.values()) + rng.normal(0, sd, exact["cy"].shape)
        for who, total, seen, known, held in (
            ("each client", sum(noisy.values()), noisy["cy"], lists["cy"], parts["cy"]["train"]),
            ("the total", once, once, everyone, pooled([part["train"] for part in parts.values()])),
        ):
            member = is_member(known, held)
            found = [
                scored(solve(seen, known, labels_known=True).max(0), member),
                scored(np.einsum("nf,nf->n", known.x, seen[known.y]), member),
            ]
            right = [np.mean(nearest_mean(total, part["test"].x) == part["test"].y) for part in parts.values()]
            row = {"noise_on": who, "epsilon": budget, "delta": DELTA, "deviation": sd}
            row |= {"label_budget": 64, "accuracy": np.mean(right), "majority": floor}
            row |= {"texts": found[0]["texts"], "candidates": found[0]["candidates"]}
            row |= {"recovered_by_solving": found[0]["recovered"], "recovered_by_product": found[1]["recovered"]}
            yield row | {"auc_of_product": found[1]["auc"]}


# Whole clients: federated averaging of a linear layer, with clipped updates and noise on their average

MANY = ("af", "bn", "cy", "de", "en", "eu", "fr", "ga", "is", "lb", "ne", "nl")
ROUNDS, STEPS, RATE, CLIP, HELD = 10, 5, 4.0, 1.0, 12


def local_step(weights: np.ndarray, x: np.ndarray, y: np.ndarray, rate: float, labels: int = LABELS) -> np.ndarray:
    """Make a step of plain gradient descent for many clients at once: ``(clients, classes, features)``."""
    logits = x @ weights.swapaxes(1, 2)
    shares = np.exp(logits - logits.max(2, keepdims=True))
    error = shares / shares.sum(2, keepdims=True) - np.eye(labels, dtype=x.dtype)[y]
    return weights - (rate / x.shape[1]) * (error.swapaxes(1, 2) @ x)


def clipped(updates: np.ndarray, clip: float) -> np.ndarray:
    """Shorten what is longer than `clip`, as Flower's strategies do."""
    length = np.linalg.norm(updates, axis=(1, 2), keepdims=True)
    return updates * np.minimum(1, clip / np.maximum(length, 1e-12))


def with_noise(x, y, budget: float, rng, clip: float = CLIP, rate: float = RATE) -> np.ndarray:
    """Train a linear layer over clients, every client in every round; noise as in Flower's server-side clipping."""
    weights, count = np.zeros((LABELS, x.shape[2]), x.dtype), len(x)
    for _ in range(ROUNDS):
        local = np.repeat(weights[None], count, 0)
        for _ in range(STEPS):
            local = local_step(local, x, y, rate)
        sd = deviation(budget, ROUNDS) * clip / count
        moved = clipped(local - weights, clip).mean(0) + rng.normal(0, sd, weights.shape)
        weights = (weights + moved).astype(x.dtype)
    return weights


def crowd(count: int, seed: int, pools: dict, rng) -> tuple[np.ndarray, np.ndarray]:
    """Simulate clients: each holds some commands of one language, all classes alike; two may hold the same command."""
    x, y = [], []
    for i in range(count):
        pool = pools[MANY[(i + seed) % len(MANY)]]
        rare = 1 / np.bincount(pool.y)[pool.y]
        drawn = rng.choice(len(pool.y), HELD, replace=False, p=rare / rare.sum())
        x.append(pool.x[drawn])
        y.append(pool.y[drawn])
    return np.array(x, dtype=np.float32), np.array(y)


def client(seed: int, split: str = "test") -> Iterator[dict]:
    """Protect whole clients: accuracy by how many clients there are, and by epsilon."""
    data = fp.load_task("intents", MANY).data
    pools = {name: texts.rows(data[name]["train"]["text"], data[name]["train"]["label"]) for name in MANY}
    tests = {name: texts.rows(data[name][split]["text"], data[name][split]["label"]) for name in MANY}
    floor = np.mean([np.bincount(test.y).max() / len(test.y) for test in tests.values()])
    for count in (5, 50, 200, 1000):
        x, y = crowd(count, seed, pools, np.random.default_rng([seed, count]))
        for i, budget in enumerate(LEVELS):
            weights = with_noise(x, y, budget, np.random.default_rng([seed, count, i]))
            right = [np.mean((test.x @ weights.T).argmax(1) == test.y) for test in tests.values()]
            row = {"clients": count, "texts_per_client": HELD, "epsilon": budget, "delta": DELTA, "rounds": ROUNDS}
            row |= {"local_steps": STEPS, "rate": RATE, "clip": CLIP, "noise_multiplier": deviation(budget, ROUNDS)}
            yield row | {"accuracy": np.mean(right), "majority": floor}

"""Differential privacy by the libraries of the field: Flower's strategies for clients, Opacus for single commands."""

import warnings
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import fixedclipping_mod
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import (
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAvg,
)
from opacus import PrivacyEngine
from opacus.accountants.utils import get_noise_multiplier
from scipy.optimize import nnls

import fedprompt_helpers as fp
from fedprompt_helpers.federation.grid import run_here

from . import texts
from .attacks import LABELS, is_member, scored
from .noise import CLIP, DELTA, LEVELS, MANY, RATE, ROUNDS, STEPS, crowd, deviation, local_step

BUDGETS = tuple(level for level in LEVELS if level != 128)  # four levels: 2, 8, 32 and no noise
SIDES = {
    "server": DifferentialPrivacyServerSideFixedClipping,
    "client": DifferentialPrivacyClientSideFixedClipping,
}


def client_app(x: np.ndarray, y: np.ndarray, side: str) -> ClientApp:
    """Make an app whose clients train a linear layer; clipping at the client is a mod of its training alone."""
    app = ClientApp()

    @app.train(mods=[fixedclipping_mod] if side == "client" else [])
    def train(message: Message, context: Context) -> Message:
        i = int(context.node_config["partition-id"])
        weights = message.content["arrays"].to_numpy_ndarrays()[0][None]
        for _ in range(STEPS):
            weights = local_step(weights, x[i : i + 1], y[i : i + 1], RATE)
        trained = ArrayRecord([weights[0].astype(np.float32)])
        return Message(RecordDict({"arrays": trained, "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)

    return app


def server_app(start: np.ndarray, side: str, multiplier: float, clients: int, found: list) -> ServerApp:
    """Make an app that wraps FedAvg in one of Flower's strategies for privacy."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        every = {"min_train_nodes": clients, "min_available_nodes": clients, "fraction_evaluate": 0.0}
        strategy = SIDES[side](FedAvg(**every), multiplier, CLIP, clients)
        result = strategy.start(grid, ArrayRecord([start]), num_rounds=ROUNDS, train_config=ConfigRecord())
        found.append(result.arrays.to_numpy_ndarrays()[0])

    return app


def federated(x: np.ndarray, y: np.ndarray, side: str, budget: float, seed: int) -> np.ndarray:
    """Train by Flower's own strategy on this machine; give the layer's weights ``(classes, 384)``."""
    found: list[np.ndarray] = []
    np.random.seed(seed)  # Flower draws its noise from NumPy's global generator
    start, multiplier = np.zeros((LABELS, x.shape[2]), np.float32), deviation(budget, ROUNDS)
    server = server_app(start, side, multiplier, len(x), found)
    run_here(server, client_app(x, y, side), len(x), workers=0)
    return found[0]


def flower(seed: int) -> Iterator[dict]:
    """Protect whole clients by Flower's strategies: five clients, those of ``noise.client`` with the same seed."""
    data = fp.load_task("intents", MANY).data
    pools = {name: texts.rows(data[name]["train"]["text"], data[name]["train"]["label"]) for name in MANY}
    tests = {name: texts.rows(data[name]["test"]["text"], data[name]["test"]["label"]) for name in MANY}
    floor = np.mean([np.bincount(test.y).max() / len(test.y) for test in tests.values()])
    x, y = crowd(5, seed, pools, np.random.default_rng([seed, 5]))
    for side in SIDES:
        for budget in BUDGETS:
            weights = federated(x, y, side, budget, seed)
            right = [np.mean((test.x @ weights.T).argmax(1) == test.y) for test in tests.values()]
            row = {"clipped_by": side, "clients": len(x), "epsilon": budget, "delta": DELTA, "rounds": ROUNDS}
            yield row | {"noise_multiplier": deviation(budget, ROUNDS), "accuracy": np.mean(right), "majority": floor}


# Noise on every example, inside each client: DP-SGD by Opacus

BATCH, RATES = 8, (0.25, 0.5, 1.0, 2.0, 4.0)


@lru_cache
def multiplier(budget: float, examples: int) -> float:
    """Give the noise multiplier that keeps `budget` over all rounds, by the PRV accountant."""
    if np.isinf(budget):
        return 0.0
    options = {"target_epsilon": budget, "target_delta": DELTA, "sample_rate": BATCH / examples}
    return get_noise_multiplier(**options, steps=ROUNDS * -(-examples // BATCH), accountant="prv")


def private_epoch(weights: torch.Tensor, part: texts.Rows, budget: float, rate: float, seed: int) -> torch.Tensor:
    """Train a layer for an epoch with each example's gradient clipped to length 1, and noise on every step."""
    layer = torch.nn.Linear(384, LABELS, bias=False)
    layer.weight.data = weights.clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=rate)
    torch.manual_seed(seed)  # the order of the batches
    rows = torch.utils.data.TensorDataset(torch.from_numpy(part.x).float(), torch.from_numpy(part.y))
    loader = torch.utils.data.DataLoader(rows, batch_size=BATCH, shuffle=True)
    if np.isfinite(budget):
        noise = {"noise_multiplier": multiplier(budget, len(rows)), "max_grad_norm": CLIP}
        generator = torch.Generator().manual_seed(seed)
        with warnings.catch_warnings():
            # Opacus says that its generator is not for production, which is so: a seed makes the table repeatable.
            warnings.filterwarnings("ignore", message="Secure RNG turned off")
            made = PrivacyEngine().make_private(
                module=layer, optimizer=optimizer, data_loader=loader, noise_generator=generator, **noise
            )
        layer, optimizer, loader = made[:3]
    for x, y in loader:
        optimizer.zero_grad()
        if len(y):  # Poisson sampling may draw nobody
            torch.nn.functional.cross_entropy(layer(x), y).backward()
            optimizer.step()
    return next(layer.parameters()).detach()


def together(parts: list[texts.Rows], budget: float, rate: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Average over clients for ten rounds of one epoch; give the layer, and what the first client sent first."""
    weights, first = torch.zeros(LABELS, 384), None
    for number in range(ROUNDS):
        seeds = np.random.SeedSequence([seed, number]).generate_state(len(parts))
        updates = [private_epoch(weights, part, budget, rate, int(own)) for part, own in zip(parts, seeds, strict=True)]
        first = updates[0] if first is None else first
        weights = torch.stack(updates).mean(0)
    assert first is not None
    return weights, first


def accuracy(weights: torch.Tensor, parts: list[texts.Rows]) -> float:
    """Give the mean accuracy over languages."""
    return float(np.mean([np.mean((part.x @ weights.numpy().T).argmax(1) == part.y) for part in parts]))


@lru_cache
def chosen_rate() -> float:
    """Choose the rate on dev, at epsilon 8, by a seed that no table has."""
    held = texts.clients(seed=99)
    data = fp.load_task("intents", texts.FIVE, label_budget=64, seed=99, draw="balanced").data
    dev = [texts.rows(data[name]["dev"]["text"], data[name]["dev"]["label"]) for name in texts.FIVE]
    parts = [held[name]["train"] for name in texts.FIVE]
    return max(RATES, key=lambda rate: accuracy(together(parts, 8, rate, 99)[0], dev))


def mixed(update: np.ndarray, known: texts.Rows) -> np.ndarray:
    """Explain an update as a mix of the candidates' first gradients, none less than zero times."""
    pull = np.eye(LABELS)[known.y] - 1 / LABELS  # of its class up, of all classes down, while the layer knows nothing
    products = (known.x @ known.x.T) * (pull @ pull.T)
    towards = np.einsum("nf,nc,cf->n", known.x, pull, update)
    factor = np.linalg.cholesky(products + 1e-6 * np.eye(len(products)))
    return nnls(factor.T, np.linalg.solve(factor, towards), maxiter=30_000)[0]


def examples(seed: int) -> Iterator[dict]:
    """Protect single commands inside each client, and attack what Welsh sends in the first round."""
    held = texts.clients(seed=seed)
    parts, tests = ([held[name][split] for name in texts.FIVE] for split in ("train", "test"))
    floor = np.mean([np.bincount(test.y).max() / len(test.y) for test in tests])
    known = texts.candidates("cy")
    member = is_member(known, parts[0])
    for budget in BUDGETS:
        weights, sent = together(parts, budget, chosen_rate(), seed)
        product = scored(np.einsum("nf,nf->n", known.x, sent.numpy()[known.y]), member)
        mix = scored(mixed(sent.numpy(), known), member)
        row = {"epsilon": budget, "delta": DELTA, "rounds": ROUNDS, "rate": chosen_rate()}
        row |= {"sample_rate": BATCH / len(parts[0].y), "noise_multiplier": multiplier(budget, len(parts[0].y))}
        row |= {"accuracy": accuracy(weights, tests), "majority": floor}
        row |= {"texts": mix["texts"], "candidates": mix["candidates"]}
        yield row | {"recovered_by_product": product["recovered"], "recovered_by_mixing": mix["recovered"]}

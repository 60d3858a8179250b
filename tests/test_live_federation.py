"""The federation in the page: its heads are those of PyTorch and of Flower's FedAvg, from the same features."""

import base64
import json

import numpy as np
import pytest
import torch
from flwr.app import Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from book.widgets import live_federation
from book.widgets.base import read
from book.widgets.live_federation import RATE, SEED, SIZES
from fedprompt_helpers.data.tasks import load_task
from fedprompt_helpers.federation.client import client_app
from fedprompt_helpers.federation.grid import ProcessGrid
from fedprompt_helpers.federation.messages import from_record, to_record
from fedprompt_helpers.model.methods import MeanHead
from tests.pages import Page, needs_node, node

DATA = json.loads(read("features.json"))
WIDTH, LABELS = DATA["width"], len(DATA["labels"])
PROGRAM = (
    read("federation_formula.js")
    + """
const {data, held, rounds, epochs, rate, seed} = INPUT, {width} = data, labels = data.labels.length;
const clients = held.map(({language, rows}) => {
  const one = data.languages[language], part = split =>
    ({features: numbers(one[split], data.step), truth: one[split + '_labels']});
  return {train: {...part('train'), rows: [...Array(rows).keys()]}, test: part('test')};
});
const draw = random(seed);
let head = new Float64Array((width + 1) * labels);
for (let r = 0; r < rounds; r++) {
  const sent = clients.map(({train}) => trained(head, train, {labels, width, epochs, rate}, draw));
  head = average(sent, clients.map(({train}) => train.rows.length));
}
console.log(JSON.stringify({head: [...head], scores: clients.map(({test}) => accuracy(head, test, labels, width))}));
"""
)


def features(language: int, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    one = DATA["languages"][language]
    found = np.frombuffer(base64.b64decode(one[split]), dtype=np.int8).reshape(-1, WIDTH) / DATA["step"]
    return torch.tensor(found), torch.tensor(one[f"{split}_labels"])


class Draw:
    """The page's random numbers."""

    def __init__(self, seed: int):
        self.state = seed

    def order(self, n: int) -> list[int]:
        rows = list(range(n))
        for i in range(n - 1, 0, -1):
            self.state = (self.state * 1664525 + 1013904223) % 2**32
            j = int(self.state / 2**32 * (i + 1))
            rows[i], rows[j] = rows[j], rows[i]
        return rows


def trained(start: dict, language: int, rows: int, epochs: int, draw: Draw) -> dict:
    head = MeanHead(WIDTH, LABELS).double()
    head.load_state_dict({name: torch.tensor(array) for name, array in start.items()})
    optimizer, (x, y) = torch.optim.SGD(head.parameters(), lr=RATE), features(language, "train")
    for _ in range(epochs):
        order = draw.order(rows)
        for i in range(0, rows, 8):
            batch = order[i : i + 8]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(head(x[batch][:, None]), y[batch]).backward()
            optimizer.step()
    return {name: value.numpy() for name, value in head.state_dict().items()}


def averaged(sent: list[dict], examples: list[int]) -> dict:
    replies = []
    for arrays, n in zip(sent, examples, strict=True):
        asked = Message(RecordDict({}), dst_node_id=1, message_type="train")
        content = {"arrays": to_record(arrays), "metrics": MetricRecord({"num-examples": n})}
        replies.append(Message(RecordDict(content), reply_to=asked))
    return from_record(FedAvg().aggregate_train(1, replies)[0])


@needs_node
@pytest.mark.parametrize(("sizes", "epochs"), [((8, 8, 8), 2), ((4, 48), 3)])
def test_the_page_computes_what_pytorch_and_flower_compute(sizes, epochs):
    held = [{"language": i, "rows": rows} for i, rows in enumerate(sizes)]
    found = node(PROGRAM, {"data": DATA, "held": held, "rounds": 3, "epochs": epochs, "rate": RATE, "seed": SEED})
    ProcessGrid(client_app, 1, workers=0)  # tells Flower who is sending
    draw, head = Draw(SEED), {"out_proj.weight": np.zeros((LABELS, WIDTH)), "out_proj.bias": np.zeros(LABELS)}
    for _ in range(3):
        head = averaged([trained(head, i, rows, epochs, draw) for i, rows in enumerate(sizes)], list(sizes))
    page = np.array(found["head"]).reshape(WIDTH + 1, LABELS)
    np.testing.assert_allclose(page[:-1].T, head["out_proj.weight"], atol=1e-4)
    np.testing.assert_allclose(page[-1], head["out_proj.bias"], atol=1e-4)
    for i, score in enumerate(found["scores"]):
        x, y = features(i, "test")
        mine = (x @ head["out_proj.weight"].T + head["out_proj.bias"]).argmax(1) == y
        assert score == pytest.approx(mine.double().mean().item(), abs=0.011)  # a tie may go either way
        assert score > 1.5 * y.bincount().max() / len(y)  # it has learned something


def test_its_features_are_of_the_book_s_own_commands():
    task = load_task("intents", [one["code"] for one in DATA["languages"]], train_size=max(SIZES), seed=0)
    assert tuple(DATA["labels"]) == task.labels
    for one in DATA["languages"]:
        for split in ("train", "test"):
            labels = one[f"{split}_labels"]
            assert labels == task.data[one["code"]][split]["label"][: len(labels)]
        assert one["texts"] == task.data[one["code"]]["test"]["text"][: len(one["texts"])]


def test_it_fits_on_a_page():
    page = live_federation().html
    assert len(page.encode()) < 300_000
    assert "http" not in page.replace("http://www.w3.org", "")
    assert len(Page(page).inputs("on")) == len(DATA["languages"]) == 6

"""A client: what it does with a message of each kind."""

from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from task import load

app = ClientApp()


def unpack(message, context):
    """Return what this client holds, and the arrays that came."""
    settings = context.run_config
    number = context.node_config["partition-id"]
    mine = load(settings["model"], settings["languages"], number)
    record = message.content["arrays"]
    return mine, {name: array.numpy() for name, array in record.items()}


@app.train()
def train(message, context):
    """Train what came, and send it back with the number of examples."""
    mine, arrays = unpack(message, context)
    number = context.node_config["partition-id"]
    languages = context.run_config["languages"].split(",")
    if context.run_config["fails"] == languages[number]:
        raise RuntimeError(f"the disk of {languages[number]} is full")
    config = message.content["config"]
    epochs, mu = config["local-epochs"], config.get("proximal-mu", 0.0)
    seed = 100 * config["server-round"] + number
    arrays, examples = mine.train(arrays, epochs, mu, seed)
    record = ArrayRecord({name: Array(x) for name, x in arrays.items()})
    metrics = MetricRecord({"num-examples": examples})
    content = RecordDict({"arrays": record, "metrics": metrics})
    return Message(content, reply_to=message)


@app.evaluate()
def evaluate(message, context):
    """Score what came, and send back numbers alone."""
    mine, arrays = unpack(message, context)
    scores, examples = mine.evaluate(arrays)
    metrics = MetricRecord({"num-examples": examples, **scores})
    metrics["client"] = context.node_config["partition-id"]
    return Message(RecordDict({"metrics": metrics}), reply_to=message)

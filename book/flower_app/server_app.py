"""The server: whom it asks in a round, how it averages, what it reports."""

import json
from pathlib import Path

from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg, FedProx
from task import load

app = ServerApp()
OWN = ("client", "num-examples")  # of a reply, and no scores


def report(server_round, arrays):
    """Print the pencil model after each round; a prompt is too long."""
    if "w" in arrays:
        w = float(arrays["w"].numpy()[0])
        print(f"round {server_round}: w = {w}", flush=True)


@app.main()
def main(grid, context):
    """Run the rounds."""
    settings = context.run_config
    languages = settings["languages"].split(",")

    def each_alone(replies, weighted_by):
        """Keep every language's scores, rather than their mean."""
        found = {}
        for metrics in (reply["metrics"] for reply in replies):
            language = languages[metrics["client"]]
            scores = {k: metrics[k] for k in metrics if k not in OWN}
            found |= {f"{language} {k}": v for k, v in scores.items()}
        return MetricRecord(dict(sorted(found.items())))

    options = {
        "fraction_train": settings["fraction-train"],
        "min_train_nodes": min(2, len(languages)),
        "min_evaluate_nodes": len(languages),
        "min_available_nodes": len(languages),
        "evaluate_metrics_aggr_fn": each_alone,
    }
    if settings["strategy"] == "FedProx":
        strategy = FedProx(proximal_mu=settings["proximal-mu"], **options)
    else:
        strategy = FedAvg(**options)

    start = load(settings["model"], settings["languages"]).start
    result = strategy.start(
        grid,
        ArrayRecord({name: Array(x) for name, x in start.items()}),
        num_rounds=settings["rounds"],
        train_config=ConfigRecord({"local-epochs": settings["local-epochs"]}),
        evaluate_fn=report,
    )
    rounds = result.evaluate_metrics_clientapp
    scores = {number: dict(found) for number, found in rounds.items()}
    if settings["output"]:
        Path(settings["output"]).write_text(json.dumps(scores), "utf-8")

"""Flower's simulation with Ray, kept warm: actors outlive a run, and an actor that died is replaced.

Flower starts Ray anew for every run and never replaces a dead actor. Neither can be changed through its public
interface, so this module puts a subclass in the place of Flower's Ray backend; a test holds it against the pinned
version.
"""

import logging
import os
from concurrent.futures import ThreadPoolExecutor

import ray
from flwr.clientapp import ClientApp
from flwr.server.superlink.fleet.vce.backend import raybackend
from flwr.serverapp import ServerApp
from flwr.simulation import run_simulation
from ray.exceptions import RayActorError

from .clients import load_clients
from .config import RunConfig


def run(server_app: ServerApp, client_app: ClientApp, num_clients: int) -> None:
    """Run a federation on this machine: one actor a core, as many virtual clients as asked for.

    Parameters
    ----------
    server_app, client_app : ServerApp, ClientApp
        The two halves of a Flower app.
    num_clients : int
        Number of clients, each with a ``partition-id`` from 0.
    """
    original = raybackend.RayBackend
    raybackend.RayBackend = WarmRayBackend
    try:
        run_simulation(
            server_app,
            client_app,
            num_supernodes=num_clients,
            backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
        )
    finally:
        raybackend.RayBackend = original


def start_ray() -> None:
    """Start Ray if it is not up: as many workers as cores, quiet, no dashboard."""
    if not ray.is_initialized():
        ray.init(
            num_cpus=usable_cores(),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=128 * 2**20,
        )


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def warm_up(config: RunConfig) -> None:
    """Start Ray while this process loads backbone and data; mistakes in either surface here, before any round."""
    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(load_clients, config)
        start_ray()  # in this thread: Ray's processes end with the thread that started them
        loaded.result()


def stop() -> None:
    """End the actors and Ray; the next run starts them anew."""
    WarmRayBackend.kept = None
    ray.shutdown()


class WarmRayBackend(raybackend.RayBackend):
    """Flower's Ray backend, with actors that outlive a run and are replaced when they die."""

    kept = None

    def init_ray(self, backend_config) -> None:
        """Start Ray unless an earlier run left it up."""
        start_ray()

    def build(self, app_fn) -> None:
        """Take the actors that an earlier run left, or start them."""
        if WarmRayBackend.kept is None:
            super().build(app_fn)
            WarmRayBackend.kept = self.pool
        self.pool, self.app_fn = WarmRayBackend.kept, app_fn

    def process_message(self, message, context):
        """Let an actor process a message; if the actor died, put a new one in its place and pass the error on."""
        client = str(context.node_config["partition-id"])
        pool = self.pool
        future = pool.submit(lambda actor, *job: actor.run.remote(*job), (self.app_fn, message, client, context))
        try:
            _, reply, context = ray.get(future)
        except RayActorError:
            del pool._future_to_actor[future]
            pool.pool.append(pool.create_actor_fn())
            raise
        except Exception:
            pool.add_actor_back_to_pool(future)
            raise
        pool.add_actor_back_to_pool(future)
        return reply, context

    def terminate(self) -> None:
        """Leave actors and Ray up for the next run of this process; they end with it."""

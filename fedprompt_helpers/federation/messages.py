"""What travels: named arrays in a Flower message, packed or not, and how many bytes it takes (chapters 4 and 9)."""

from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message

from ..errors import FedPromptError

Arrays = dict[str, np.ndarray]
SCALE = "#scale"


def to_record(arrays: Arrays) -> ArrayRecord:
    """Wrap named arrays for a Flower message, as they are."""
    return ArrayRecord({name: Array(np.ascontiguousarray(values)) for name, values in arrays.items()})


def content(message: Message) -> Any:
    """Give the records of a message; of which kind each is, only its reader knows."""
    return message.content


def from_record(record: Any) -> Arrays:
    """Unwrap the named arrays of a Flower message, an ``ArrayRecord``."""
    return {name: array.numpy() for name, array in record.items()}


def message_bytes(message: Any) -> int:
    """Measure a message as Flower writes it for the wire, in bytes (chapter 9).

    Parameters
    ----------
    message : flwr.app.Message
        The message, or any record of one.

    Returns
    -------
    int
        The bytes of all its pieces. Flower names each by its hash and skips one that the other side still holds, so
        this is an upper figure.
    """
    return len(message.deflate()) + sum(message_bytes(piece) for piece in (message.children or {}).values())


class Traffic:
    """Bytes of the messages of one round: ``by_client`` holds for each way a list with one number a client."""

    def __init__(self, clients: int, *kinds: str):
        """Begin with nothing sent."""
        self.by_client = {f"{kind}_{way}": [0] * clients for kind in kinds for way in ("down", "up")}

    def add(self, way: str, client: int | None, message: Message) -> None:
        """Count a message; a client whose name is not known counts for none."""
        if client is not None:
            self.by_client[way][client] += message_bytes(message)

    def totals(self) -> dict[str, int]:
        """Add up the clients."""
        return {way: sum(sizes) for way, sizes in self.by_client.items()}


def round_for_sending(arrays: Arrays, precision: str) -> Arrays:
    """Return what the clients receive: float32 as it is; for float16 and int8 updates, arrays in float16."""
    return arrays if precision == "float32" else {name: x.astype(np.float16) for name, x in arrays.items()}


def pack_update(trained: Arrays, received: Arrays, precision: str) -> Arrays:
    """Make the arrays of a client's reply from its arrays after and before local training, float32.

    ``"float32"`` sends the trained arrays themselves; ``"float16"`` their difference from what was received; ``"int8"``
    the difference in 8 bits, one float32 scale an array: the largest absolute value over 127 (symmetric uniform
    quantisation).
    """
    if precision == "float32":
        return trained
    packed = {}
    for name, values in trained.items():
        change = values - received[name].astype(np.float32)
        if precision == "float16":
            packed[name] = change.astype(np.float16)
        else:
            scale = np.float32(np.abs(change).max() / 127) if change.size else np.float32(0)
            finite = np.isfinite(scale)
            packed[name] = np.rint(change / (scale or 1)).astype(np.int8) if finite else np.zeros(change.shape, np.int8)
            packed[name + SCALE] = np.array([scale], dtype=np.float32)
    return packed


def unpack_update(update: Arrays, received: Arrays, precision: str) -> Arrays:
    """Rebuild a client's trained arrays, float32, from its reply, or say what is not sound in it."""
    shapes = {name: values.shape for name, values in received.items()}
    shapes |= {name + SCALE: (1,) for name in received} if precision == "int8" else {}
    if set(update) != set(shapes):
        raise FedPromptError(f"sent other arrays than it received: {sorted(set(update) ^ set(shapes))[0]}")
    for name, values in update.items():
        if values.shape != shapes[name] or values.dtype.kind not in "if":
            found = f"{values.dtype} in shape {values.shape}"
            raise FedPromptError(f"sent {name} as {found} instead of numbers in shape {shapes[name]}")
    rebuilt = {}
    for name in received:
        values = update[name].astype(np.float32)
        if precision == "int8":
            values = values * update[name + SCALE]
        if precision != "float32":
            values = values + received[name].astype(np.float32)
        if not np.isfinite(values).all():
            raise FedPromptError(f"sent {name} with values that are not finite numbers")
        rebuilt[name] = values
    return rebuilt

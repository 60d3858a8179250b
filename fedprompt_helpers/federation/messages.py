"""What travels: named arrays, packed or not, and how many bytes they take (chapters 5 and 11)."""

from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord

from ..errors import FedPromptError

Arrays = dict[str, np.ndarray]
SCALE = "#scale"


def to_record(arrays: Arrays) -> ArrayRecord:
    """Wrap named arrays for a Flower message, as they are."""
    return ArrayRecord({name: Array(np.ascontiguousarray(values)) for name, values in arrays.items()})


def from_record(record: Any) -> Arrays:
    """Unwrap the named arrays of a Flower message, an ``ArrayRecord``."""
    return {name: array.numpy() for name, array in record.items()}


def message_bytes(message: Any) -> int:
    """Measure a message, or any record of one, as Flower writes it for the wire, in bytes (chapter 11).

    All its pieces count. Flower names each by its hash and skips one that the other side still holds, so this is an
    upper figure.
    """
    return len(message.deflate()) + sum(message_bytes(piece) for piece in (message.children or {}).values())


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
        if precision == "int8":
            scale = np.float32(np.abs(change).max(initial=0) / 127)
            packed[name + SCALE] = np.array([scale])
            change = np.rint(change / (scale or 1)) if np.isfinite(scale) else np.zeros_like(change)
        packed[name] = change.astype(precision)
    return packed


def sound(arrays: Arrays, shapes: dict[str, tuple[int, ...]]) -> Arrays:
    """Return a client's arrays as they are, or say what is not sound in them: a name, a shape, a type or a value."""
    if set(arrays) != set(shapes):
        raise FedPromptError(f"sent other arrays than expected: {sorted(set(arrays) ^ set(shapes))[0]}")
    for name, values in arrays.items():
        if values.shape != shapes[name] or values.dtype.kind not in "if":
            found = f"{values.dtype} in shape {values.shape}"
            raise FedPromptError(f"sent {name} as {found} instead of numbers in shape {shapes[name]}")
        if not np.isfinite(values).all():
            raise FedPromptError(f"sent {name.removesuffix(SCALE)} with values that are not finite numbers")
    return arrays


def unpack_update(update: Arrays, received: Arrays, precision: str) -> Arrays:
    """Rebuild a client's trained arrays, float32, from its reply, or say what is not `sound` in it."""
    shapes, rebuilt = {name: values.shape for name, values in received.items()}, {}
    sound(update, shapes | ({name + SCALE: (1,) for name in received} if precision == "int8" else {}))
    for name in received:
        values = update[name].astype(np.float32)
        if precision == "int8":
            values = values * update[name + SCALE]
        if precision != "float32":
            values = values + received[name].astype(np.float32)
        rebuilt[name] = values
    return sound(rebuilt, shapes)

"""How arrays travel: named float32 arrays in a Flower message, or float16 or int8 to save bytes."""

import numpy as np
from flwr.app import Array, ArrayRecord, Message
from flwr.common.serde import message_to_proto

from .errors import FedPromptError

Arrays = dict[str, np.ndarray]

UPDATE_PRECISIONS = ("float32", "float16", "int8")
SCALE = "#scale"


def to_record(arrays: Arrays) -> ArrayRecord:
    """Wrap named arrays for a Flower message, as they are."""
    return ArrayRecord({name: Array(np.ascontiguousarray(values)) for name, values in arrays.items()})


def from_record(record: ArrayRecord) -> Arrays:
    """Unwrap the named arrays of a Flower message."""
    return {name: array.numpy() for name, array in record.items()}


def round_for_sending(arrays: Arrays, precision: str) -> Arrays:
    """Return what the clients receive: float32 as it is; for float16 and int8 updates, arrays in float16."""
    return arrays if precision == "float32" else {name: x.astype(np.float16) for name, x in arrays.items()}


def pack_update(trained: Arrays, received: Arrays, precision: str) -> Arrays:
    """Make the arrays of a client's reply.

    Parameters
    ----------
    trained, received : dict of str to numpy.ndarray
        The client's arrays after and before local training, float32.
    precision : str
        ``"float32"``: the trained arrays themselves. ``"float16"``: their difference from what was received, in
        float16. ``"int8"``: the difference in 8 bits, one float32 scale an array: the largest absolute value over
        127 (symmetric uniform quantisation).

    Returns
    -------
    dict of str to numpy.ndarray
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
    """Rebuild a client's trained arrays, float32, from its reply.

    Raises
    ------
    FedPromptError
        If names, shapes or values are not those of a sound update; the message says which.
    """
    arrays = {name: values for name, values in update.items() if not name.endswith(SCALE)}
    if set(arrays) != set(received):
        raise FedPromptError(f"sent other arrays than it received: {sorted(set(arrays) ^ set(received))[0]}")
    rebuilt = {}
    for name, values in arrays.items():
        if values.shape != received[name].shape:
            raise FedPromptError(f"sent {name} in shape {values.shape} instead of {received[name].shape}")
        values = values.astype(np.float32)
        if precision == "int8":
            values = values * update[name + SCALE]
        if precision != "float32":
            values = values + received[name].astype(np.float32)
        if not np.isfinite(values).all():
            raise FedPromptError(f"sent {name} with values that are not finite numbers")
        rebuilt[name] = values
    return rebuilt


def message_bytes(message: Message) -> int:
    """Measure a message as Flower serializes it for the wire, in bytes."""
    return message_to_proto(message).ByteSize()

"""What must hold between the fields of a configuration, and faults said in one line."""

import difflib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from .errors import FedPromptError, check_choice

# Options that only some aggregations read, and what they hold elsewhere, so that one training has one name.
OWNERS = {
    "proximal_mu": (0.01, ("fedprox",)),
    "server_momentum": (0.9, ("fedavgm", "fedadam")),
    "server_learning_rate": (1.0, ("fedavgm", "fedadam")),
    "distance_scale": (0.2, ("fedavg-distance",)),
}


def one_line(error: ValidationError, fields: dict[str, Any]) -> str:
    """Say the first fault in one line, with the nearest name where names are to be chosen from."""
    fault = error.errors()[0]
    where, found = next((str(part) for part in fault["loc"] if part in {*fields, "seed"}), ""), fault["input"]
    kind, limits = fault["type"], fault.get("ctx", {})
    if kind == "literal_error":
        choices = [part.strip(" '") for part in limits["expected"].replace(" or ", ", ").split(",")]
        near = difflib.get_close_matches(str(found).lower(), choices, 1, 0.3)
        hint = f"nearest: {near[0]}; " if near else ""
        return f"unknown {where} {found!r}; {hint}available: {', '.join(choices)}"
    if kind == "value_error":
        return f"{where} is {found!r}; {limits['error']}"
    whole = "a whole number of " if "int" in str(fields.get(where, int)) else ""
    rules = {
        "greater_than_equal": f"{whole}at least {limits.get('ge')}" if whole else f"{limits.get('ge')} or above",
        "greater_than": f"above {limits.get('gt')}",
        "less_than": f"{whole.removesuffix('of ')}below {limits.get('lt')}",
        "less_than_equal": f"{whole}at most {limits.get('le', 0):,}",
        "int_type": "a whole number of at least 1",
        "float_type": "a number",
        "finite_number": "a finite number",
        "tuple_type": "a list of names, such as ('en', 'cy')",
        "string_type": "text",
    }
    return f"{where} is {found!r}; it must be {rules.get(kind, fault['msg'].lower())}"


def check_mapping(mapping: Sequence[Sequence[str]] | None, languages: Sequence[str]) -> list[list[str]]:
    """Return a mapping of clients to languages as lists, if it names each language just once."""
    if not mapping:
        raise FedPromptError("the partition 'mapping' needs a mapping: for each client, the languages that it holds")
    named = Counter(name for group in mapping for name in group)
    for name in named:
        check_choice("language in the mapping", name, languages)
    wrong = [name for name in languages if named[name] != 1]
    if wrong or not all(mapping):
        what = f"names {wrong[0]} {named[wrong[0]]} times" if wrong else "has a client without a language"
        raise FedPromptError(f"the mapping {what}; name each language once, and at least one for each client")
    return [list(group) for group in mapping]


def check(config: Any) -> None:
    """Check a configuration as a whole; the fields by themselves are sound by now."""
    data, federation = config.data, config.federation
    setting, partition, alpha = federation.setting, data.partition, data.alpha
    twice = [name for name, times in Counter(data.languages + data.unseen).items() if times > 1]
    dirichlet, languages = partition.startswith("dirichlet"), len(data.languages)
    rules = [
        (not languages, "no language given; name at least one, for example --languages en,cy"),
        (twice, f"language {twice[0] if twice else ''!r} is given twice; name each once"),
        (
            setting == "local" and data.unseen,
            "unseen languages with local training: alone there is no common model to transfer",
        ),
        (
            setting == "local" and partition != "language",
            f"local training with the partition {partition!r}: alone means one language alone; leave the partition "
            "out, or choose the setting federated",
        ),
        (
            partition == "language" and languages and (data.clients or 0) % languages,
            f"{data.clients} clients for {languages} languages: the partition by language gives each language one "
            "client, or several each; leave --clients out, give a multiple, or choose another partition",
        ),
        (
            data.mapping and partition != "mapping",
            f"a mapping is given, but the partition is {partition!r}; choose mapping",
        ),
        (
            dirichlet and not alpha,
            f"alpha (--alpha) is {'left out' if alpha is None else alpha}; a Dirichlet partition needs a finite "
            "concentration above 0, for example 0.5",
        ),
        (
            alpha is not None and not dirichlet,
            f"alpha is {alpha}, but the partition is {partition!r}; leave alpha out or choose a Dirichlet partition",
        ),
        (
            federation.head == "local" and config.model.head_start != "random",
            "head_start='prototypes' makes a shared head; leave it at 'random' with head='local'",
        ),
    ]
    for name, (usual, owners) in OWNERS.items():
        value = getattr(federation, name)
        unread = federation.aggregation not in owners and value != usual
        why = f"{name} is {value}, but the aggregation is {federation.aggregation!r}, which does not read it; leave it"
        rules.append((unread, f"{why} out, or choose {' or '.join(owners)}"))
    for name, usual in (("aggregation", "fedavg"), ("update_precision", "float32"), ("head", "shared")):
        value = getattr(federation, name)  # personal_epochs may stay: they count for the equal budget
        why = f"{name} is {value!r}, but the setting is {setting!r}, where nothing is sent; leave it out, or choose the"
        rules.append((setting != "federated" and value != usual, f"{why} setting federated"))
    for wrong, message in [*rules, *_personal(config)]:
        if wrong:
            raise FedPromptError(message)
    if partition == "mapping":
        check_mapping(data.mapping, data.languages)


def _personal(config: Any) -> list[tuple[Any, str]]:
    """Say what must hold where a client has something of its own: each language is at one client."""
    data, federation = config.data, config.federation
    by_distance = federation.aggregation == "fedavg-distance"
    if federation.head == "shared" and not config.training.personal_epochs and not by_distance:
        return []
    what = "head='local'" if federation.head == "local" else "personal_epochs"
    what = "aggregation='fedavg-distance'" if by_distance else what
    alone = config.natural and config.clients <= len(data.languages)
    return [
        (data.unseen, f"{what} with unseen languages: no client has a model of its own for them"),
        (
            federation.setting == "federated" and not alone,
            f"{what} needs each language at one client, or it is unclear whose model scores it; choose the partition "
            "language or mapping, and one client a language at most",
        ),
        (
            by_distance and (federation.update_precision != "float32" or federation.head == "local"),
            f"{what} gives each client an average of its own and takes a shared head and float32 updates only; leave "
            "head and update_precision out",
        ),
    ]

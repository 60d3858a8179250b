"""What must hold between the fields of a configuration; each field by itself is sound by then."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .errors import FedPromptError, check_choice

DIRICHLET = ("dirichlet-label", "dirichlet-language", "dirichlet-both")
OWN = ("own", "own-tokens", "own-span")  # the tasks of your own data, one a kind
# Fields that are read only where another one has one of these values. Elsewhere they keep their default, so that one
# training has one name. Epochs of each client at the end are always read: they count for the equal budget.
READ_WHERE = {
    "proximal_mu": ("aggregation", ("fedprox",)),
    "server_momentum": ("aggregation", ("fedavgm", "fedadam")),
    "server_learning_rate": ("aggregation", ("fedavgm", "fedadam")),
    "distance_scale": ("aggregation", ("fedavg-distance",)),
    "aggregation": ("setting", ("federated",)),
    "update_precision": ("setting", ("federated",)),
    "head": ("setting", ("federated",)),
    "prompt": ("setting", ("federated",)),
    "partition": ("setting", ("federated", "centralised")),
    "unseen": ("setting", ("federated", "centralised")),
    "alpha": ("partition", DIRICHLET),
    "mapping": ("partition", ("mapping",)),
    "head_start": ("head", ("shared",)),
    "columns": ("task", ("own",)),
    "split_names": ("task", OWN),
    "quotes": ("task", ("own",)),
}
# What the columns and splits of own data are called here.
COLUMNS, SPLITS = ("text", "text_pair", "label", "language", "split"), ("train", "dev", "test")


def check(config: Any, defaults: dict[str, Any]) -> None:
    """Check a ``config.RunConfig`` as a whole."""
    data, values = config.data, config.flat()
    languages, partition, budget = len(data.languages), data.partition, data.label_budget or ()
    for option, known in (("columns", COLUMNS), ("split_names", SPLITS)):
        named(option, values[option], known)
    refuse(not languages, "no language given; name at least one, for example --languages en,cy")
    for name, times in Counter(data.languages + data.unseen).items():
        refuse(times > 1, f"language {name!r} is given twice; name each once")
    for name, (other, where) in READ_WHERE.items():
        if values[name] != defaults[name] and values[other] not in where:
            why = f"{name} is {values[name]!r}, but the {other} is {values[other]!r}, which does not read it"
            raise FedPromptError(f"{why}; leave it out, or choose the {other} {' or '.join(where)}")
    spent = (data.draw, data.dev_share) != (defaults["draw"], defaults["dev_share"])
    why = "draw and dev_share say how a label budget is spent; give label_budget, or leave them out"
    refuse(spent and not budget, why)
    why = "label_budget counts training and dev labels together; leave train_size and dev_size out"
    refuse(budget and (data.train_size or data.dev_size), why)
    why = (
        f"label_budget has {len(budget)} numbers for {languages} languages; give one for all, or each language its own"
    )
    refuse(len(budget) not in (0, 1, languages), why)
    why = "rounds is 0, and nothing else would be learned; give rounds, or another head_start"
    refuse(not values["rounds"] and values["head_start"] == "random", why)
    why = f"{data.clients} clients for {languages} languages: the partition by language gives each language one client"
    why += ", or several each; leave --clients out, give a multiple, or choose another partition"
    refuse(partition == "language" and (data.clients or 0) % languages, why)
    why = f"alpha (--alpha) is {'left out' if data.alpha is None else data.alpha}; a Dirichlet partition needs"
    refuse(partition in DIRICHLET and not data.alpha, f"{why} a finite concentration above 0, for example 0.5")
    if partition == "mapping":
        _check_mapping(data.mapping, data.languages)
        why = f"{config.clients} clients for {len(data.mapping)} groups: each group of the mapping is one client"
        refuse(config.clients != len(data.mapping), f"{why}; leave clients out")
    own = [f"{name}='local'" for name in ("head", "prompt") if values[name] == "local"]
    by_distance = values["aggregation"] == "fedavg-distance"
    if not (by_distance or own or config.training.personal_epochs):
        return
    bare = own == ["prompt='local'"] and values["method"] in ("head", "full")
    refuse(len(own) == 2 or bare, f"{' and '.join(own)} leaves nothing to share; choose the setting local")
    what = "aggregation='fedavg-distance'" if by_distance else own[0] if own else "personal_epochs"
    refuse(data.unseen, f"{what} with unseen languages: no client has a model of its own for them; leave unseen out")
    why = f"{what} needs each language at one client, or it is unclear whose model scores it; choose the partition"
    shared = values["setting"] == "federated" and not (config.natural and config.clients <= languages)
    refuse(shared, f"{why} language or mapping, and one client a language at most")
    why = f"{what} averages all that is trained, in float32; leave head, prompt and update_precision out"
    refuse(by_distance and (own or values["update_precision"] != "float32"), why)


def refuse(wrong: object, why: str) -> None:
    """Raise FedPromptError if something is wrong."""
    if wrong:
        raise FedPromptError(why)


def _check_mapping(mapping: Sequence[Sequence[str]] | None, languages: Sequence[str]) -> None:
    """Check that a mapping of clients to languages names each language just once."""
    refuse(not mapping, "the partition 'mapping' needs a mapping: for each client, the languages that it holds")
    times = Counter(name for group in mapping or () for name in group)
    for name in times:
        check_choice("language in the mapping", name, languages)
    for name in languages:
        refuse(times[name] != 1, f"the mapping names {name} {times[name]} times; name each language once")
    refuse(not all(mapping or ()), "the mapping has a client without a language; name at least one for each client")


def named(option: str, given: str | None, known: Sequence[str]) -> dict[str, str]:
    """Read what is called otherwise in own data: ``"text=tweet,label=mood"`` is text to tweet, label to mood."""
    found = {}
    for part in given.split(",") if given else ():
        ours, equals, theirs = (word.strip() for word in part.partition("="))
        if not theirs and not (equals and ours in ("text_pair", "language", "split")):  # which may be left unread
            raise FedPromptError(f"{option} has {part!r}; expected NAME=ITS NAME IN THE FILES, as in {known[0]}=mine")
        if ours in found:
            raise FedPromptError(f"{option} names {ours!r} twice; name each once")
        found[check_choice(f"name in {option}", ours, known)] = theirs
    for theirs, times in Counter(found.values()).items():
        if theirs and times > 1:
            raise FedPromptError(f"{option} gives {theirs!r} two meanings; name each once")
    return found

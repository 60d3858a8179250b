"""The leak of chapter 14: ``python -m book.beyond.leak`` writes ``leak.csv``.

Nothing is trained. Each test question, in each language, gets the answer of the training question that is most like
it, by the mean vectors of the frozen backbone. Split at random, a translation is often there; by article, never.
"""

import csv
import os
import random
from pathlib import Path

import torch

from fedprompt_helpers.data.kinds import answer_scores, answers, squad
from fedprompt_helpers.model.backbones import load_backbone

OUT, LANGUAGES, SHARE = Path("book/results/beyond/leak.csv"), ("en", "es", "ar", "hi", "vi"), 0.8


def vectors(texts: list[str]) -> torch.Tensor:
    """Return the unit mean vectors of some texts."""
    (model, tokenizer), found = load_backbone("pocket", num_labels=2, dtype=torch.bfloat16), []
    with torch.inference_mode():
        for start in range(0, len(texts), 64):
            batch = tokenizer(
                texts[start : start + 64], truncation=True, max_length=48, padding=True, return_tensors="pt"
            )
            hidden, mask = model.base_model(**batch).last_hidden_state.float(), batch["attention_mask"][:, :, None]
            found.append(torch.nn.functional.normalize((hidden * mask).sum(1), dim=1))
    return torch.cat(found)


def main() -> None:
    """Answer by the nearest training question, split both ways, with five seeds."""
    folder, rows = Path(os.environ["FEDPROMPT_DATA"]) / "xquad", []
    for language in LANGUAGES:
        path = folder / f"xquad.{language}.json"
        order: dict[str, int] = {}
        for number, row in enumerate(squad(path.name, path.read_text("utf-8"))):
            context = row.cells["text_pair"]
            article = order.setdefault(context, len(order)) // 5
            rows.append((number, article, row.cells["text"], answers(context, row.cells["label"])))
    known = vectors([question for _, _, question, _ in rows])
    found = []
    for seed in range(5):
        for split in ("at random", "by article"):
            numbers = random.Random(seed)
            if split == "at random":
                train = set(numbers.sample(range(len(rows)), int(SHARE * len(rows))))
            else:
                kept = set(numbers.sample(range(48), int(SHARE * 48)))
                train = {i for i, row in enumerate(rows) if row[1] in kept}
            test = [i for i in range(len(rows)) if i not in train]
            there = {rows[i][0] for i in train}
            order = sorted(train)
            nearest = (known[test] @ known[order].T).argmax(1).tolist()
            scores = answer_scores([rows[i][3] for i in test], [rows[order[j]][3][0] for j in nearest])
            leaked = sum(rows[i][0] in there for i in test) / len(test)
            found.append(
                [split, seed, len(test), round(leaked, 6), round(scores["accuracy"], 6), round(scores["macro_f1"], 6)]
            )
    with OUT.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([["split", "seed", "questions", "translated", "exact", "f1"], *found])


if __name__ == "__main__":
    main()

"""Frozen features of voice commands for the federation in the page: ``python -m book.tools.make_features``.

The mean of the token vectors of each command, from the pocket backbone, projected on the first 64 principal components
of all training commands together and rounded to one byte a number: what a browser can hold and train on. It writes
``book/widgets/features.json``.
"""

import base64
import json
from pathlib import Path

import numpy as np
import torch

from fedprompt_helpers import load_backbone, load_task
from fedprompt_helpers.files import write_text

TARGET = Path(__file__).resolve().parents[1] / "widgets/features.json"
LANGUAGES = {"en": "English", "cy": "Welsh", "ga": "Irish", "eu": "Basque", "is": "Icelandic", "af": "Afrikaans"}
TRAIN, TEST, WIDTH, TEXTS = 48, 100, 64, 8
STEP = 24  # so many steps are one standard deviation


def features(texts: list[str], model, tokenizer) -> np.ndarray:
    """Give the mean token vector of each text: float32, shape ``(texts, 384)``."""
    found = []
    with torch.no_grad():
        for start in range(0, len(texts), 64):
            cut = tokenizer(texts[start : start + 64], padding=True, return_tensors="pt")
            vectors, mask = model.base_model(**cut).last_hidden_state, cut["attention_mask"][:, :, None]
            found.append(((vectors * mask).sum(1) / mask.sum(1)).numpy())
    return np.concatenate(found)


def main() -> None:
    """Compute, project, round and write."""
    task = load_task("intents", list(LANGUAGES), train_size=TRAIN, seed=0)
    model, tokenizer = load_backbone("pocket", num_labels=len(task.labels))
    sizes = {"train": TRAIN, "test": TEST}
    rows = {x: {s: task.data[x][s][:n] for s, n in sizes.items()} for x in LANGUAGES}
    found = {x: {s: features(part["text"], model, tokenizer) for s, part in rows[x].items()} for x in LANGUAGES}
    train = np.concatenate([found[x]["train"] for x in LANGUAGES])
    middle = train.mean(0)
    axes = np.linalg.svd(train - middle, full_matrices=False)[2][:WIDTH].T
    scale = ((train - middle) @ axes).std() / STEP
    languages = []
    for code, name in LANGUAGES.items():
        language = {"code": code, "name": name, "texts": rows[code]["test"]["text"][:TEXTS]}
        for split in sizes:
            numbers = np.clip(np.round((found[code][split] - middle) @ axes / scale), -127, 127).astype(np.int8)
            language[split] = base64.b64encode(numbers.tobytes()).decode()
            language[f"{split}_labels"] = rows[code][split]["label"]
        languages.append(language)
    made = {"labels": task.labels, "width": WIDTH, "step": STEP, "languages": languages}
    write_text(TARGET, json.dumps(made, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

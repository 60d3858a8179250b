"""Every stored picture of the chapters and results: nothing is cut off, letters can be read, each has a caption."""

import ast
import base64
import io
import re

import jupytext
import nbformat
import numpy as np
import pytest
from PIL import Image

from book.research.looks import WHO, look, who
from book.research.sweeps import read_sweep
from book.site.build import ROOT
from book.site.pictures import natural_width

CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
RESULTS = sorted((ROOT / "book/results").glob("**/*.png"))
MODULES = sorted([*(ROOT / "book/research").glob("*.py"), *(ROOT / "fedprompt_helpers").glob("plots.py")])
SIZES = ("fontsize", "labelsize", "legend.fontsize", "title_fontsize")
NAMED = {"small", "medium", "large", "x-large"}  # smaller ones are not to be read on a telephone
LEAST, BORDER = 9, 3


def pictures():
    """Name and bytes of every stored picture, with the metadata of its cell."""
    for chapter in CHAPTERS:
        for number, cell in enumerate(nbformat.read(chapter, as_version=4).cells):
            for output in cell.get("outputs", ()):
                if "image/png" in output.get("data", {}):
                    yield f"{chapter.stem}, cell {number}", base64.b64decode(output["data"]["image/png"]), cell.metadata
    for file in RESULTS:
        yield file.relative_to(ROOT).as_posix(), file.read_bytes(), None


def border(picture: bytes) -> int:
    """How many rows or columns of background lie between the ink and the nearest edge."""
    drawn = Image.open(io.BytesIO(picture)).convert("RGBA")
    seen = np.asarray(Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("RGB")).astype(int)
    ink = np.abs(seen - seen[0, 0]).max(axis=-1) > 24
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return min(rows[0], columns[0], len(ink) - 1 - rows[-1], ink.shape[1] - 1 - columns[-1])


def test_no_picture_is_cut_off():
    found = {name: border(picture) for name, picture, _ in pictures()}
    assert len(found) > 60
    assert {name: width for name, width in found.items() if width < BORDER} == {}


def test_ink_at_the_edge_is_found():
    canvas = np.full((40, 60, 3), 255, np.uint8)
    for spot, width in (((20, 30), 19), ((20, 57), 2), ((0, 30), 0)):
        drawn, file = canvas.copy(), io.BytesIO()
        drawn[spot] = (200, 200, 255)
        Image.fromarray(drawn).save(file, "PNG")
        assert border(file.getvalue()) == width


def test_every_picture_of_a_chapter_has_a_caption_a_name_and_a_description():
    lacking = []
    for name, _, metadata in pictures():
        if metadata is not None:
            about = metadata.get("mystnb", {})
            has = [about.get("figure", {}).get("caption"), about.get("figure", {}).get("name")]
            lacking += [name] * (not all([*has, about.get("image", {}).get("alt")]))
    assert lacking == []


def too_small(code: str, factor: float) -> list[str]:
    """The sizes in some code that give letters below `LEAST` pixels where a picture is shrunk by a factor."""
    found = []
    for node in ast.walk(ast.parse(code)):
        given = [(word.arg, word.value) for word in node.keywords] if isinstance(node, ast.Call) else []
        if isinstance(node, ast.Dict):
            given = [(getattr(key, "value", None), value) for key, value in zip(node.keys, node.values, strict=True)]
        for name, value in given:
            size = getattr(value, "value", None) if name in SIZES else None
            little = isinstance(size, int | float) and size * 100 / 72 * factor < LEAST
            if little or (isinstance(size, str) and size not in NAMED):
                found.append(ast.unparse(value))
    return found


def test_letters_are_at_least_nine_pixels_high_on_a_telephone():
    sheet = (ROOT / "book/_static/book.css").read_text("utf-8")
    (shrunk,) = re.findall(r"min-width: calc\(([\d.]+) \* var\(--natural\)\)", sheet)
    factor = float(shrunk)
    assert 100 / 72 * 10 * 0.833 * factor >= LEAST  # what Matplotlib calls small
    cells = {path.stem: jupytext.read(path).cells for path in (ROOT / "notebooks").glob("[0-9]*.md")}
    code = {name: "\n".join(cell.source for cell in of if cell.cell_type == "code") for name, of in cells.items()}
    code |= {path.stem: path.read_text("utf-8") for path in MODULES}
    magic = re.compile(r"^\s*[%!].*$", re.M)
    assert {name: found for name, text in code.items() if (found := too_small(magic.sub("", text), factor))} == {}
    assert too_small("ax.legend(fontsize=7); f(**{'fontsize': 'x-small'}); g(fontsize=8)", factor) == ["7", "'x-small'"]


@pytest.mark.parametrize(("dots", "natural"), [(100, 600), (150, 400), (None, 600)])
def test_a_finer_picture_is_no_wider(dots, natural):
    file = io.BytesIO()
    Image.new("RGB", (600, 10)).save(file, "PNG", **({"dpi": (dots, dots)} if dots else {}))
    assert natural_width(file.getvalue()) == pytest.approx(natural, rel=1e-3)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("local", "alone"),
        ("ridge, local", "alone"),
        ("linear, ridge of one client", "alone"),
        ("federated by language", "rounds"),
        ("FedAvg, head kept local", "a part alone"),
        ("P-tuning, prompt local, head shared", "a part alone"),
        ("FedAvg, then 10 epochs alone", "rounds, then alone"),
        ("near languages weigh more, then 10 epochs alone", "rounds, then alone"),
        ("class means, one message", "one message"),
        ("ridge, one message, then alone", "one message, then alone"),
        ("together, then alone", "one message, then alone"),
        ("linear, pooled", "pooled"),
        ("all five", None),
    ],
)
def test_the_look_of_a_setting_says_who_trains_with_whom(label, said):
    assert who(label) == said
    assert said is None or look(label, 3) == look(label, 0)


def test_no_two_settings_of_a_figure_look_alike():
    assert len({look(name)["color"] for name in ("local", "federated", "centralised", "one message")}) == 4
    assert len(set(WHO.values())) == len(WHO)
    for name in ("linear", "headline", "lower_rate", "unequal"):
        labels = [block["label"] for block in read_sweep(ROOT / f"book/results/evidence/{name}.toml").blocks]
        assert len({tuple(look(label).values()) for label in labels}) == len(labels)

"""Pictures on a narrow screen: they scroll in their box, and do not shrink until nobody can read them."""

import re
import struct
from pathlib import Path

PICTURE = re.compile(r'<img [^>]*src="([^"]*_images/[^"/]+\.png)"[^>]*>')
BOX = '<span class="picture-box" role="group" aria-label="Picture" style="--natural: {}px">{}</span>'


def box_pictures(app, exception) -> None:
    """Put a box around the pictures of every page; Sphinx calls this."""
    for file in () if exception else Path(app.outdir).rglob("*.html"):

        def boxed(found: re.Match, folder: Path = file.parent) -> str:
            with (folder / found[1]).open("rb") as picture:
                width, _ = struct.unpack(">II", picture.read(24)[16:])
            return BOX.format(width, found[0])

        if "_static" in file.parts or "slides" in file.parts:
            continue
        text = file.read_text(encoding="utf-8")
        if (mended := PICTURE.sub(boxed, text)) != text:
            file.write_text(mended, encoding="utf-8")

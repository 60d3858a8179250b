"""Pictures on a narrow screen: they scroll in their box, and do not shrink until nobody can read them."""

import re
import struct
from pathlib import Path

PICTURE = re.compile(r'<img [^>]*src="([^"]*_images/[^"/]+\.png)"[^>]*>')
BOX = '<span class="picture-box" role="group" aria-label="Picture" style="--natural: {}px">{}</span>'


def box_pictures(text: str, folder: Path) -> str:
    """Put a box around the pictures of a page that lies in a folder."""

    def boxed(found: re.Match) -> str:
        with (folder / found[1]).open("rb") as picture:
            width, _ = struct.unpack(">II", picture.read(24)[16:])
        return BOX.format(width, found[0])

    return PICTURE.sub(boxed, text)

"""Pictures on a narrow screen: they scroll in their box, and do not shrink until nobody can read them."""

import re
import struct
from pathlib import Path

PICTURE = re.compile(r'<img [^>]*src="([^"]*_images/[^"/]+\.png)"[^>]*>')
BOX = '<span class="picture-box" role="group" aria-label="Picture" style="--natural: {}px">{}</span>'


def natural_width(picture: bytes) -> float:
    """Give the width of a PNG file at 100 dots an inch, at which a letter of 10 points is 14 pixels high."""
    (width,) = struct.unpack(">I", picture[16:20])
    place = picture.find(b"pHYs", 0, 1000)
    metre = struct.unpack(">I", picture[place + 4 : place + 8])[0] if place > 0 else 3937
    return width * 3937 / metre


def box_pictures(text: str, folder: Path) -> str:
    """Put a box around the pictures of a page that lies in a folder."""

    def boxed(found: re.Match) -> str:
        return BOX.format(round(natural_width((folder / found[1]).read_bytes())), found[0])

    return PICTURE.sub(boxed, text)

"""JavaScript packages of the book, fetched from npm once, checked, then kept in the cache folder.

``vendored("mathjax")`` is a folder; after the first call it needs no network.
"""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from fedprompt_helpers.files import cache_root

MATHJAX = "tex-chtml.js"
"""The one script that a page with formulas loads; it finds fonts and TeX extensions beside it."""

MATHJAX_FILES = [
    MATHJAX,
    "output/chtml/fonts/woff-v2/*.woff",
    "input/tex/extensions/*.js",
    "a11y/*.js",
    "sre/mathmaps/base.json",
    "sre/mathmaps/en.json",
]


class NotVendored(Exception):
    """A package is neither in the cache nor to be had from npm; the message says how to mend it."""


@dataclass(frozen=True)
class Package:
    """A version on npm, and the SHA-512 of its archive as npm writes it."""

    version: str
    integrity: str


PACKAGES = {
    # Formulas. Apache-2.0.
    "mathjax": Package(
        "3.2.2", "sha512-Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw=="
    ),
    # Slides. MIT.
    "reveal.js": Package(
        "6.0.2", "sha512-JYIg5D9aoxoaLeb84O+OvAwsKWdIavVgEDScxtYEXFCT6t6TQrhNtSgogcjdCpdLsWglhJn3zyE3fUOwiH5KEg=="
    ),
    # Accessibility checks of the browser tests; never part of a page. MPL-2.0.
    "axe-core": Package(
        "4.14.1", "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
    ),
}


def vendored(name: str) -> Path:
    """Return the unpacked folder of a package in `PACKAGES`, fetching it first if the cache has none.

    Raises
    ------
    NotVendored
        If npm is missing or could not fetch the package.
    ValueError
        If the archive is not the one whose checksum is written here.
    """
    package = PACKAGES[name]
    folder = cache_root() / "npm" / f"{name}-{package.version}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
                archive = _fetch(f"{name}@{package.version}", Path(temporary))
                _check(archive, package.integrity)
                with tarfile.open(archive) as file:
                    file.extractall(temporary, filter="data")
                (Path(temporary) / "package").rename(folder)
    return folder


def _fetch(specifier: str, folder: Path) -> Path:
    """Have npm put the package's archive into `folder`."""
    npm = shutil.which("npm")
    if npm is None:
        raise NotVendored(f"{specifier} is not in the cache and npm was not found. Install Node.js, which brings npm.")
    command = [npm, "pack", specifier, "--silent", "--ignore-scripts", "--pack-destination", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    archives = list(folder.glob("*.tgz"))
    if result.returncode or len(archives) != 1:
        said = result.stderr.strip()[-500:] or f"exit code {result.returncode}"
        raise NotVendored(f"npm could not fetch {specifier}: {said}. Try again with a network; it is needed only once.")
    return archives[0]


def _check(archive: Path, integrity: str) -> None:
    """Compare an archive with its checksum, written ``sha512-<base64>``."""
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != integrity:
        raise ValueError(
            f"{archive.name} has the checksum {found}, expected {integrity}. It is not the package that this book was "
            "tested with: do not use it. Try again; if it stays so, check which registry npm uses."
        )


def put_mathjax(target: Path) -> None:
    """Copy what pages load of MathJax: the package holds 24 MB, most of it for other uses."""
    package = vendored("mathjax")
    for source in [package / "LICENSE", *(file for glob in MATHJAX_FILES for file in (package / "es5").glob(glob))]:
        file = target / source.relative_to(package).as_posix().removeprefix("es5/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(source.read_bytes())

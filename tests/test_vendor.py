"""JavaScript packages: fetched once, checked, then without a network; and a book without npm."""

import base64
import hashlib
import os
import subprocess
import sys
import tarfile

import pytest

from book.site import vendor
from book.site.build import ROOT
from book.site.vendor import NotVendored, Package, vendored

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in for npm is a shell script")


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An empty cache, and an npm that hands out one small package; its checksum is given."""
    (tmp_path / "source.js").write_text("let x = 1;")
    archive = tmp_path / "small-1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "source.js", "package/main.js")
    program = tmp_path / "bin/npm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nfor last; do :; done\n/bin/cp {archive} "$last"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("FEDPROMPT_CACHE", str(tmp_path / "cache"))
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    monkeypatch.setitem(vendor.PACKAGES, "small", Package("1.0.0", integrity))
    return program


def test_a_package_is_fetched_once_and_then_needs_no_npm(npm):
    assert (vendored("small") / "main.js").read_text() == "let x = 1;"
    npm.unlink()
    assert (vendored("small") / "main.js").read_text() == "let x = 1;"


def test_a_package_with_another_checksum_is_refused_and_not_kept(npm, monkeypatch, tmp_path):
    monkeypatch.setitem(vendor.PACKAGES, "small", Package("1.0.0", "sha512-AAAA"))
    with pytest.raises(ValueError, match=r"expected sha512-AAAA.*do not use it"):
        vendored("small")
    assert [path.name for path in (tmp_path / "cache/npm").iterdir() if path.is_dir()] == []


def test_without_npm_the_message_says_what_to_install(npm):
    npm.unlink()
    with pytest.raises(
        NotVendored, match=r"small@1\.0\.0 is not in the cache and npm was not found\. Install Node\.js"
    ):
        vendored("small")


def test_what_npm_says_is_passed_on(npm):
    npm.write_text("#!/bin/sh\necho no route to the registry >&2\nexit 1\n")
    with pytest.raises(NotVendored, match=r"could not fetch small@1\.0\.0: no route to the registry"):
        vendored("small")


@pytest.mark.slow
def test_without_npm_a_book_is_built_all_the_same(npm, tmp_path):
    npm.unlink()
    book = tmp_path / "book"
    book.mkdir()
    (book / "_config.yml").write_text(
        f"title: One page\nsphinx:\n  local_extensions:\n    book.site.sphinx_site: {ROOT}\n"
    )
    (book / "_toc.yml").write_text("format: jb-book\nroot: page\n")
    (book / "page.md").write_text("# One page\n\n$$a^2$$\n")
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(book), "-W"]
    built = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    assert "Install Node.js" in built.stderr and "will need a network" in built.stderr
    assert "cdn" in (book / "_build/html/page.html").read_text()

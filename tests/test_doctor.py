"""`fedprompt doctor`: what is missing is found, and comes with a next step."""

import os
import re
import socket
import sys
from importlib import metadata

import pytest

from fedprompt_helpers import doctor
from fedprompt_helpers.cli import main


def test_the_command_says_what_is_here(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["fedprompt", "doctor"])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SystemExit) as left:
        main()
    out = capsys.readouterr().out
    assert left.value.code == 0
    for name in ("Python", "versions", "memory", "cache", "hub", "ports", "browser", "processor", "device"):
        assert re.search(rf"(?m)^(ok|note) +{name} ", out), name
    for mark, step in re.findall(r"(?m)^(ok|note)\b.*\n( +->)?", out):
        assert bool(step) == (mark == "note")


def test_a_missing_package_and_another_version_are_named(monkeypatch):
    real = metadata.version

    def version(name: str) -> str:
        if name == "peft":
            raise metadata.PackageNotFoundError(name)
        return "0.0.1" if name == "flwr" else real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    packages, versions = doctor.versions()
    assert packages.found == "missing: peft" and packages.needed and "pip install" in packages.step
    assert re.search(r"^flwr 0\.0\.1 instead of \d", versions.found) and "scores may differ" in versions.step


def test_a_port_in_use_is_named(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(doctor, "PORTS", {port: "SuperLink"})
        (found,) = doctor.ports()
        assert found.found == f"{port} (SuperLink) in use" and "--runtime here" in found.step
    (found,) = doctor.ports()
    assert not found.step


def test_a_cache_that_cannot_be_used_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("FEDPROMPT_CACHE", str(tmp_path / "cache"))
    assert not next(doctor.cache()).step
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    found = next(doctor.cache())
    assert "cannot be written" in found.found and "FEDPROMPT_CACHE" in found.step and found.needed
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "DISK", 1e9)
    assert "free some space" in next(doctor.cache()).step


@pytest.mark.parametrize("place", ["file", "file/cache", "n" * 300, "loop/cache"])
def test_a_cache_that_is_no_folder_is_said(place, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.setenv("FEDPROMPT_CACHE", str(tmp_path / place))
    found = next(doctor.cache())
    assert "cannot be written" in found.found and "FEDPROMPT_CACHE" in found.step and found.needed


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_cache_in_a_folder_that_may_not_be_read_is_said(monkeypatch, tmp_path):
    (tmp_path / "mine").mkdir(mode=0)
    monkeypatch.setenv("FEDPROMPT_CACHE", str(tmp_path / "mine/cache"))
    assert "cannot be written" in next(doctor.cache()).found


def test_what_is_needed_and_missing_gives_exit_code_1(capsys, monkeypatch):
    missing = doctor.Finding("packages", "missing: peft", "install it", needed=True)
    monkeypatch.setattr(doctor, "findings", lambda: iter([missing]))
    monkeypatch.setattr(sys, "argv", ["fedprompt", "doctor"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    assert capsys.readouterr().out.split() == ["no", "packages", "missing:", "peft", "->", "install", "it"]

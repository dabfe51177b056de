"""Redaction of what is shared: paths become names; users and hosts are left out."""

from __future__ import annotations

import platform
import socket

import pytest

from ltrp_bench.results.schema.redaction import Redaction, here, is_private_path

ADA = Redaction(("/home/ada smith",), ("ada smith", "ada"), ("gpu7.lab.example", "gpu7"))


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("[Errno 2] No such file or directory: '/srv/x y/a b.jpg'", "[Errno 2] No such file or directory: 'a b.jpg'"),
        ("cannot read /data/coco/1.jpg: truncated", "cannot read 1.jpg: truncated"),
        (r"C:\Users\bob\x.pth is damaged", "x.pth is damaged"),
        (r"\\server\share\f.txt", "f.txt"),
        ("~/w/x.pt ~bob/q", "x.pt q"),
        ("file:///srv/u/z.png", "z.png"),
        ("/home/ada smith/data x/1.jpg is bad", "1.jpg is bad"),
        ("/srv/my data/a b/1.jpg is bad", "1.jpg is bad"),
        ("from /a/b to /c/d", "from b to d"),
        ("by Ada on gpu7.lab.example, gpu7:80", "by user on host, host:80"),
        ("../../up/there.csv", "there.csv"),
        ("COCO=/a/b,VOC=/c/d", "COCO=b,VOC=d"),
        # Nothing private.
        ("https://example.org/a/b and hf-hub:timm/vit", "https://example.org/a/b and hf-hub:timm/vit"),
        ("images/s, n/a, 1/2, seen / unseen, data/coco/1.jpg", "images/s, n/a, 1/2, seen / unseen, data/coco/1.jpg"),
        ("adaptive gpu70", "adaptive gpu70"),
    ],
)
def test_texts(text: str, shared: str) -> None:
    assert ADA.text(text) == shared == ADA.text(shared)


def test_commands_keep_everything_but_folders() -> None:
    argv = ["/opt/bin/ltrp-bench", "run", "--data", "/home/b c/COCO data", "evit=/w x/y z.pt", "a.b=/p/q,/r/s"]
    argv += ["--out=/x/y", "--limit", "5", "--task-option", "split=val"]
    shared = ["ltrp-bench", "run", "--data", "COCO data", "evit=y z.pt", "a.b=q,s"]
    assert ADA.command(argv) == [*shared, "--out=y", "--limit", "5", "--task-option", "split=val"]


def test_provenance_names_the_processor_instead_of_the_machine() -> None:
    given = {
        "machine": "gpu7",
        "cpu": "EPYC (AVX2)",
        "device": "cpu",
        "command": ["/bin/ltrp-bench", "--out", "/home/ada smith/runs"],
        "skipped": {"a/1.jpg": "[Errno 13] Permission denied: '/home/ada smith/d/a/1.jpg'"},
        "versions": {"torch": "2.15.0"},
        "cost": {"selector_ms": 1.5},
        "cpus": 2,
        "assumed": ["/data/weights/x.pth has no label set"],
    }
    shared = ADA.provenance(given)
    assert shared == {
        **given,
        "machine": "EPYC (AVX2)",
        "command": ["ltrp-bench", "--out", "runs"],
        "skipped": {"a/1.jpg": "[Errno 13] Permission denied: '1.jpg'"},
        "assumed": ["x.pth has no label set"],
    }
    assert ADA.provenance(shared) == shared and ADA.provenance({"machine": "gpu7"}) == {"machine": ""}


def test_names_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/srv/people/ada.lovelace")
    monkeypatch.setenv("USER", "al")  # too short to look for
    monkeypatch.setenv("LOGNAME", "root")  # tells nothing
    monkeypatch.setattr(platform, "node", lambda: "difference-engine.lab")
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    monkeypatch.setenv("HOSTNAME", "")
    found = here()
    assert "/srv/people/ada.lovelace" in found.folders and "ada.lovelace" in found.users
    assert found.hosts == ("difference-engine.lab", "difference-engine")
    assert not {"al", "root"} & set(found.users)


@pytest.mark.parametrize(
    ("text", "private"), [("/a/b", True), ("~/x", True), (r"C:\x", True), ("a/b", False), ("/", False), ("..", False)]
)
def test_private_paths(text: str, private: bool) -> None:
    assert is_private_path(text) is private

"""Kinds of weight files, told by their first bytes: a suffix says what a file was meant to be, not what it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal
from zipfile import BadZipFile, ZipFile

from ltrp_bench.selectors.errors import InputError

Kind = Literal["safetensors", "torch"]

SUFFIXES: Final = (".pth", ".pt", ".bin", ".safetensors", ".ckpt")
_HEAD: Final = 512
_FOREIGN: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x89HDF", "an HDF5 file (Keras): export its weights to safetensors"),
    (b"\x1f\x8b", "a compressed archive: unpack it first"),
    (b"\x93NUMPY", "a single NumPy array"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"Rar!", "a compressed archive: unpack it first"),
    (b"7z\xbc\xaf", "a compressed archive: unpack it first"),
    (b"GGUF", "a GGUF file: give the weights it was made from"),
)


def kind_of(path: Path) -> Kind:
    """Kind of a weight file.

    Raises:
        InputError: no file, or one of another kind; the message names what it is, and what to do.
    """
    if not path.exists():
        raise InputError(f"weights not found: {path}")
    refuse_folder(path)
    part = re.search(r"-(\d{5})-of-(\d{5})\.\w+$", path.name)
    if part is not None and int(part[2]) > 1:
        raise InputError(
            f"cannot read weights {path}: part {int(part[1])} of {int(part[2])} of a model's weights: merge the parts "
            "into one .safetensors"
        )
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise InputError(f"cannot read weights {path}: {error.strerror}") from None
    if _is_safetensors(head):
        return "safetensors"
    if head[:4] == b"PK\x03\x04":
        _check_zip(path)
        return "torch"
    if head[:1] == b"\x80":
        return "torch"
    raise InputError(f"cannot read weights {path}: {_what_it_is(head, size)}")


def refuse_folder(path: Path) -> None:
    """Raise `InputError` for a folder, which names a file of weights inside it if there is one."""
    if path.is_file():
        return
    if not path.is_dir():
        raise InputError(f"weights {path} are not a file")
    inside = sorted(one.name for one in path.iterdir() if one.suffix in SUFFIXES)
    raise InputError(f"weights {path} are a folder: give a file of weights" + (f", {inside[0]}" if inside else ""))


def _is_safetensors(head: bytes) -> bool:
    """True for a header that starts as safetensors does: its length in 8 bytes, then JSON."""
    return len(head) >= 9 and 2 <= int.from_bytes(head[:8], "little") < 10**8 and head[8:9] == b"{"


def _check_zip(path: Path) -> None:
    """Raise `InputError` for zip files that hold no pickle of torch."""
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except (BadZipFile, NotImplementedError, OSError, ValueError):
        raise InputError(f"cannot read weights {path}: a corrupt torch file, or one that was cut short") from None
    inner = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in inner:
        raise InputError(f"cannot read weights {path}: a TorchScript archive, which is code; save its state dict alone")
    if "data.pkl" not in inner:
        if any(name.endswith(".npy") for name in names):
            what = "NumPy arrays (.npz, as of JAX), not a torch file; convert its weights to safetensors"
        else:
            what = f"a zip archive of {names[0] if names else 'nothing'}, not a torch file; unpack it first"
        raise InputError(f"cannot read weights {path}: {what}")


def _what_it_is(head: bytes, size: int) -> str:
    if not head:
        return "the file is empty"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        found = re.search(rb"size (\d+)", head)
        big = f" of {int(found[1]):,} bytes" if found else ""
        return f"a git-lfs pointer to a file{big}, not the file: run `git lfs pull` in its repository or download it"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page, not weights: the download was refused or needs a log-in"
    if text.startswith(b"{"):
        if b"weight_map" in head or b"total_size" in head:
            return "an index of weights that lie in several files: merge them into one .safetensors"
        return "JSON text, not weights"
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            return what
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    if b"pytorch" in head[:32] and head[:1] == b"\x08":
        return "an ONNX file: give the weights it was made from"
    if head.isascii() and head[:40].decode().isprintable():
        return f"text, not weights ({head[:40].decode()!r})"
    return f"corrupt, or neither a torch nor a safetensors file ({size:,} bytes, beginning with {head[:8]!r})"

"""Weight files are told by their bytes; what is no weights is named as what it is."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from ltrp_bench.selectors.checkpoints import load_content, load_metadata, load_state, save_safetensors
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.files.file_kinds import kind_of

STATE = {"a": torch.arange(3.0)}


@pytest.mark.parametrize("name", ["w.pth", "w.bin", "w", "w.ckpt", "w.safetensors"])
def test_the_suffix_does_not_matter(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    torch.save(STATE, path)
    assert kind_of(path) == "torch" and torch.equal(load_state(path)["a"], STATE["a"]) and load_metadata(path) == {}
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    assert kind_of(path) == "torch" and torch.equal(load_state(path)["a"], STATE["a"])
    save_safetensors(path, STATE, {"kind": "toy"})
    assert kind_of(path) == "safetensors" and torch.equal(load_state(path)["a"], STATE["a"])
    assert load_metadata(path) == {"kind": "toy"} and load_content(path) == {}


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 346284714\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (POINTER, "git-lfs pointer to a file of 346,284,714 bytes.*git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b'{"weight_map": {}}', "index of weights that lie in several files"),
        (b'{"a": 1}', "JSON text"),
        (b"\x89HDF\r\n", "HDF5"),
        (b"\x1f\x8b\x08\x00", "compressed archive"),
        (b"PK\x03\x04 cut", "corrupt torch file, or one that was cut short"),
        (b"nonsense\xff", "corrupt, or neither a torch nor a safetensors file"),
        (b"Not Found", "text, not weights .'Not Found'"),
        (b"\xef\xbb\xbf\r\n<html>", "a web page"),
        (b"w.pth".ljust(257, b"\0") + b"ustar\0", "tar archive: unpack it first"),
        (b"\x08\x07\x12\x07pytorch", "ONNX"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_other_files_are_named(tmp_path: Path, content: bytes, said: str, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"cannot read weights .*{name}: .*{said}") as caught:
        load_state(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("a.npy", "NumPy arrays"),
        ("x/constants.pkl", "TorchScript"),
        ("x", "zip"),
        ("w.bin", "zip archive of w.bin, not a torch file; unpack it first"),
    ],
)
def test_other_zip_files_are_named(tmp_path: Path, member: str, said: str) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr(member, b"0")
    with pytest.raises(InputError, match=said):
        load_state(tmp_path / "w.pth")


def test_parts_and_folders_are_named(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "pytorch_model-00001-of-00002.bin")
    with pytest.raises(InputError, match="part 1 of 2 of a model's weights: merge the parts"):
        load_state(tmp_path / "pytorch_model-00001-of-00002.bin")
    with pytest.raises(InputError, match="are a folder: give a file of weights, pytorch_model-00001-of-00002.bin"):
        load_state(tmp_path)
    torch.save({"a": torch.zeros(2)}, tmp_path / "model-00001-of-00001.bin")
    assert list(load_state(tmp_path / "model-00001-of-00001.bin")) == ["a"]

"""Seeded mutations of files by their structure: JSON, XML, CSV, zip, safetensors and PNG, and of plain bytes."""

from __future__ import annotations

import copy
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 1.5, 2**31, 2**63, 10**30, 10**400, 1e308, float("nan"), float("inf"), -0.0),
    *("", "0", "1.5", "true", "abc", "é" * 3, "\x00", "../../x", "/etc/passwd", "~", "%s", "\ud800", "a" * 5000),
    *(
        [],
        {},
        [[]],
        [None],
        {"a": 1},
        [[[[[[]]]]]],
        [1, 2, 3],
        [[0, 0, 1e9, 1e9, 5, 5]],
        {"size": [2, 2], "counts": "x"},
    ),
    *({"size": [10**9, 10**9], "counts": [1]}, {"size": [4, 4], "counts": [3, -3, 16]}),
)
MARK = "fuzzed"
"""What executed code would call: the argument of `os.system` in a hostile pickle."""

Mutation = Callable[[random.Random, bytes], bytes]


def plain(rng: random.Random, data: bytes) -> bytes:
    """Bits flipped, bytes overwritten, blocks cut out, doubled, moved or inserted, the end cut off."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(out) + 1)
        length = rng.choice((1, 2, 4, 8, 64))
        kind = rng.randrange(6)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + length] = rng.choice((b"\x00", b"\xff", b"\x7f", b"\x80")) * length
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = out[at : at + length]
        elif kind == 4:
            out[at:at] = rng.randbytes(length)
        else:
            del out[at:]
    return bytes(out)


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """All (container, key) pairs of a JSON value."""
    keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        found.append((value, key))
        _places(value[key], found)
    return found


def change_json(rng: random.Random, value: Any) -> Any:
    """A JSON value with some of its parts replaced, dropped, doubled, renamed or exchanged."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = _places(value, [])
        if not places:
            return rng.choice(ODD)
        holder, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif kind == 1:
            holder[str(rng.choice(ODD))[:50]] = holder.pop(key)
        elif kind == 2:
            other, place = rng.choice(places)
            holder[key] = copy.deepcopy(other[place]) if place in other or isinstance(other, list) else None
        elif kind == 3 and isinstance(holder[key], int | float) and abs(holder[key]) < 2**53:
            holder[key] = rng.choice((-holder[key], str(holder[key]), holder[key] + 0.5, holder[key] * 1000, 0))
        else:
            holder[key] = copy.deepcopy(rng.choice(ODD))
    return value


def json_file(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.2:
        return plain(rng, data)
    if rng.random() < 0.02:
        return b"[" * rng.choice((1000, 200_000))
    text = json.dumps(change_json(rng, json.loads(data)))
    return (b"\xef\xbb\xbf" if rng.random() < 0.05 else b"") + text.encode("utf-8", "surrogatepass")


def xml_file(rng: random.Random, data: bytes) -> bytes:
    text = data.decode()
    kind = rng.randrange(6)
    if kind == 0:
        return plain(rng, data)
    if kind == 1:
        bomb = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "x"}">' for i in range(12))
        outer = rng.choice((bomb, '<!ENTITY e11 SYSTEM "file:///etc/passwd">', "<!ELEMENT a ANY>"))
        return f"<!DOCTYPE annotation [{outer}]>{text.replace('dog', '&e11;')}".encode()
    if kind == 2:
        return text.encode(rng.choice(("utf-16", "utf-32", "cp1252", "utf-8-sig")))
    elements = list(re.finditer(r"<(\w+)>([^<]*)</\1>", text))
    for _ in range(rng.choice((1, 2, 3))):
        one = rng.choice(elements)
        value = str(rng.choice(ODD)).replace("\ud800", "?")
        new = rng.choice(("", one[0] * 2, f"<{one[1]}>{value}</{one[1]}>", f"<{one[1]}/>", f"<x>{one[2]}</x>"))
        text = text.replace(one[0], new, 1)
    return text.encode()


def csv_file(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.2:
        return plain(rng, data)
    rows = [line.split(",") for line in data.decode().splitlines()]
    for _ in range(rng.choice((1, 2, 4))):
        row = rng.choice(rows)
        kind = rng.randrange(5)
        if kind == 0 and row:
            row.pop(rng.randrange(len(row)))
        elif kind == 1:
            row.insert(rng.randrange(len(row) + 1), rng.choice(("", '"', "seen", "x\x00", "é")))
        elif kind == 2 and row:
            row[rng.randrange(len(row))] = str(rng.choice(ODD)).replace("\ud800", "?")
        elif kind == 3:
            rows.append(list(row))
        else:
            rows.remove(row)
            rows = rows or [[]]
    text = rng.choice(("\n", "\n", "\r\n", "\r")).join(rng.choice((",", ",", ";", "\t")).join(row) for row in rows)
    return text.encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32")))


def safetensors_file(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.3:
        return plain(rng, data)
    (size,) = struct.unpack("<Q", data[:8])
    header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    if rng.random() < 0.5 and "config" in header.get("__metadata__", {}):
        config = change_json(rng, json.loads(header["__metadata__"]["config"]))
        header["__metadata__"]["config"] = json.dumps(config)
    else:
        header = change_json(rng, header)
    text = json.dumps(header).encode()
    size = len(text) if rng.random() < 0.9 else rng.choice((0, 2**63, len(text) + 1, 2**40))
    return struct.pack("<Q", size) + text + (plain(rng, rest) if rng.random() < 0.2 else rest)


HOSTILE = b"\x80\x02cposix\nsystem\nX" + struct.pack("<I", len(MARK)) + MARK.encode() + b"\x85R."


def zip_file(member: Mutation) -> Mutation:
    """Mutation of a zip file: `member` on the content of one of its files, under right checksums, or its headers."""

    def mutate(rng: random.Random, data: bytes) -> bytes:
        kind = rng.randrange(5)
        if kind == 0:
            return plain(rng, data)
        if kind == 1:  # fields of a local or central header: flags, method, sizes
            heads = [m.start() for m in re.finditer(rb"PK\x03\x04|PK\x01\x02", data)]
            out, at = bytearray(data), rng.choice(heads) + rng.randrange(6, 34)
            out[at : at + 2] = rng.choice(
                (b"\xff\xff", b"\x00\x00", b"\x0c\x00", b"\x0e\x00", b"\x01\x00", b"\x63\x00")
            )
            return bytes(out)
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(buffer, "w") as out_file:
            names = archive.namelist()
            chosen = rng.choice(names)
            if rng.random() < 0.3:
                chosen = next((name for name in names if name.endswith((".pkl", "manifest.json"))), chosen)
            for name in names:
                content = archive.read(name)
                if name == chosen:
                    if kind == 2 and rng.random() < 0.3:
                        continue
                    content = member(rng, content)
                    name = name if rng.random() < 0.9 else rng.choice(("../x", "/x", name + "x", "data.pkl"))
                method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
                out_file.writestr(name, content, method)
        return plain(rng, buffer.getvalue()) if rng.random() < 0.2 else buffer.getvalue()

    return mutate


def npy_member(rng: random.Random, data: bytes) -> bytes:
    """An array's file with another header (shape, type, order), or damaged bytes."""
    if data[:6] != b"\x93NUMPY" or rng.random() < 0.4:
        return plain(rng, data)
    (size,) = struct.unpack("<H", data[8:10])
    shape = rng.choice(
        ("(10**9,)", "(1000000000000,)", "(-1,)", "()", "(2, 2)", "(True,)", "1", "(9" + "9" * 400 + ",)")
    )
    kind = rng.choice(("'|O'", "'<f8'", "'<U9'", "'|u1'", "'|V0'", "'<M8[ns]'", "[('a', '<f8')]", "'x'", "None"))
    order = rng.choice(("True", "False", "3"))
    head = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    return data[:8] + struct.pack("<H", len(head)) + head + data[10 + size :]


def pickle_member(rng: random.Random, data: bytes) -> bytes:
    """A hostile pickle, or a damaged one."""
    return HOSTILE if rng.random() < 0.2 else plain(rng, data)


def json_or_plain(rng: random.Random, data: bytes) -> bytes:
    try:
        json.loads(data)
    except ValueError:
        return plain(rng, data)
    return json_file(rng, data)


def png_file(rng: random.Random, data: bytes) -> bytes:
    """A chunk of a PNG changed under a right checksum; other images as plain bytes."""
    if not data.startswith(b"\x89PNG") or rng.random() < 0.4:
        return plain(rng, data)
    chunks, at = [], 8
    while at + 8 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    index = rng.choice((0, rng.randrange(len(chunks))))
    kind, content = chunks[index]
    if index == 0 and rng.random() < 0.5:
        width, height = (rng.choice((0, 1, 7, 40_000, 2**31 - 1)) for _ in range(2))
        content = struct.pack(">II", width, height) + bytes(
            [rng.choice((1, 2, 4, 8, 16, 3)), rng.randrange(8), 0, 0, 0]
        )
    else:
        content = plain(rng, content)
    chunks[index] = (kind, content)
    out = data[:8]
    for kind, content in chunks:
        out += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return out

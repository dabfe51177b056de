from __future__ import annotations

from typing import Any

import pytest

from ltrp_bench.tasks.data.values import id_order, member, read_flag, read_id, read_integer, read_name, read_number

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("value", "flag"),
    [
        *((v, False) for v in (0, 0.0, False, None, "0", "0.0", "", " ", "false", "False", "no", "Unspecified")),
        *((v, True) for v in (1, 1.0, True, "1", "1.0", "true", "TRUE", " yes ")),
    ],
)
def test_flags(value: object, flag: bool) -> None:
    assert read_flag(value) is flag


@pytest.mark.parametrize("value", [2, -1, 0.5, "2", "maybe", NAN, [], {}])
def test_no_flags(value: object) -> None:
    with pytest.raises(ValueError, match="must be 0 or 1, got"):
        read_flag(value)


@pytest.mark.parametrize(
    ("value", "number"), [(3, 3), (3.0, 3), ("3", 3), (" -3 ", -3), ("3.0", 3), (10**20, 10**20), ("007", 7)]
)
def test_integers(value: object, number: int) -> None:
    assert read_integer(value) == number and type(read_integer(value)) is int


@pytest.mark.parametrize("value", [1.5, "1.5", True, None, "", "1_000", "x", NAN, INF, [1], "9" * 5000, "٣"])
def test_no_integers(value: object) -> None:
    with pytest.raises(ValueError, match="must be a whole number, got") as caught:
        read_integer(value)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(("value", "number"), [("2.5", 2.5), (".5", 0.5), ("1e-2", 0.01), (7, 7.0), (" 4. ", 4.0)])
def test_numbers(value: object, number: float) -> None:
    assert read_number(value) == number


@pytest.mark.parametrize("value", [True, None, "", "nan", "inf", NAN, INF, 10**400, "1_0", [1.0], "0x10", "9" * 400])
def test_no_numbers(value: object) -> None:
    with pytest.raises(ValueError, match=r"must be a (finite )?number, got"):
        read_number(value)


def test_decimal_commas_are_named() -> None:
    with pytest.raises(ValueError, match=r"got '0,5' \(decimals are written with a point\)"):
        read_number("0,5")


@pytest.mark.parametrize(
    ("value", "own"),
    [(7, 7), ("7", 7), (7.0, 7), ("0007", 7), ("img_7", "img_7"), (" a b ", "a b"), ("1e3", "1e3"), ("4f2a", "4f2a")],
)
def test_ids(value: object, own: int | str) -> None:
    assert read_id(value) == own and type(read_id(value)) is type(own)


@pytest.mark.parametrize("value", [1.5, "1.5", True, None, "", "  ", NAN, [7]])
def test_no_ids(value: object) -> None:
    with pytest.raises(ValueError, match="must be a whole number or text"):
        read_id(value)


def test_ids_in_order() -> None:
    ids: list[int | str] = ["b", 10, "a", 9]
    assert sorted(ids, key=id_order) == [9, 10, "a", "b"]


def test_names_are_compared_without_blanks_and_composed() -> None:
    assert read_name(" cafe\u0301 \n") == "caf\u00e9" and read_name(3) == "3"
    for value in ("", "\u00a0", None, True, ["cat"]):
        with pytest.raises(ValueError, match="must be a name"):
            read_name(value)


def test_members() -> None:
    assert member({"id": 0}, "id") == 0
    entry: Any
    for entry, message in (({}, "has no 'id'"), ([], "must be an object"), (None, "must be an object")):
        with pytest.raises(ValueError, match=message):
            member(entry, "id")

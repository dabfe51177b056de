"""Roles of the selectors in a table: methods are ranked, controls are compared with, references are neither.

A selector declares its role (`Selector.role`), and a run stores it in the provenance of each cell. Cells of older
versions and CSV files do not hold it; for these, the roles of the built-in selectors are listed here. No other module
of `results` knows a selector by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, get_args

from ltrp_bench.results.schema.record import CellRecord

Role = Literal["method", "control", "reference"]

_BUILT_IN: Final[dict[str, Role]] = {
    "full": "reference",
    "oracle": "reference",
    "random": "control",
    "center": "control",
    "variance": "control",
    "downsample": "control",
}
_BUILT_IN_WHOLE: Final = frozenset({"full"})


def ranks_by_ground_truth(selector: str) -> bool:
    """True for the oracle, with or without a group of objects."""
    return selector.partition(".")[0] == "oracle"


class ProvenanceReader(Protocol):
    """Anything that reads the provenance of a cell by its fingerprint (`RunStore`)."""

    def read_provenance(self, fingerprint: str) -> Mapping[str, Any]:
        """Provenance of a cell; empty if unknown."""


@dataclass(frozen=True)
class SelectorRoles:
    """Role of each selector by its name in tables; selectors that are not listed are methods.

    Attributes:
        stored: role by name, as stored with the cells; it takes precedence over the built-in table.
        stored_whole: names of selectors that are stored as keeping every patch.
    """

    stored: Mapping[str, Role] = field(default_factory=dict)
    stored_whole: frozenset[str] = frozenset()

    @classmethod
    def read(cls, records: Iterable[CellRecord], store: ProvenanceReader) -> SelectorRoles:
        """Read the roles from the provenance of one cell per selector name."""
        first: dict[str, str] = {}
        for record in records:
            first.setdefault(record.selector.name, record.fingerprint)
        provenance = {name: store.read_provenance(fingerprint) for name, fingerprint in first.items()}
        stored = {name: one["role"] for name, one in provenance.items() if one.get("role") in get_args(Role)}
        whole = frozenset(name for name, one in provenance.items() if one.get("keeps_every_patch") is True)
        return cls(stored, whole)

    def role(self, selector: str) -> Role:
        """Role of a selector."""
        return self.stored.get(selector) or _BUILT_IN.get(selector.partition(".")[0], "method")

    def is_reference(self, selector: str) -> bool:
        """True for a selector that is neither ranked nor counted as a competitor (`full`, `oracle`)."""
        return self.role(selector) == "reference"

    def keeps_every_patch(self, selector: str) -> bool:
        """True for a selector that runs at keep ratio 1 alone and orders no patches (`full`)."""
        return selector in self.stored_whole or selector in _BUILT_IN_WHOLE


BUILT_IN_ROLES: Final = SelectorRoles()
"""Roles where nothing is stored: those of the built-in selectors."""

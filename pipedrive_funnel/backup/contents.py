"""What a backup holds, and for which database it is whole."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pipedrive_funnel.contract import SCHEMA
from pipedrive_funnel.errors import FunnelError

STATE = "sqlmesh"
LANDED = (SCHEMA, "pipedrive_api")  # what the files of the project cannot build anew


class BackupError(FunnelError):
    """A backup cannot be made or restored."""


@dataclass(frozen=True)
class Contents:
    """What a backup holds.

    Attributes:
        names: of the databases that it can be restored to as a whole: the state of SQLMesh has the
            name in it. Any, when empty.
        schemas: what it has tables in.

    """

    names: frozenset[str]
    schemas: frozenset[str]

    @property
    def landed(self) -> list[str]:
        """The schemas with what was landed."""
        return [name for name in LANDED if name in self.schemas]

    @property
    def named(self) -> str:
        """The names, as a person reads them."""
        return " or ".join(sorted(self.names))

    def is_whole_in(self, name: str) -> bool:
        """Tell whether a database of a name can get all of it, or only what was landed."""
        return not self.names or name in self.names


def contents_of(names: Collection[str], schemas: Collection[str]) -> Contents:
    """Return the contents of a backup of this project.

    Raises:
        BackupError: it is of something else.

    """
    if not {STATE, *LANDED} & {*schemas}:
        raise BackupError("it has no schema of this project")
    return Contents(frozenset(names), frozenset(schemas))

"""The tables of KuaiLive-M3 and KuaiLive, read by DuckDB: it streams CSV and Parquet, and sorts on disk."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from kuaihl.errors import LabelError


class Tables:
    """Views of the tables in a folder, or in its subfolder ``live``, with columns checked by name.

    Parameters
    ----------
    folder
        The release.
    scratch
        Folder for what does not fit in ``memory``, in DuckDB's notation.
    """

    def __init__(self, folder: Path, *, scratch: Path, memory: str = "4GB") -> None:
        self._folders = (folder, folder / "live")
        self.connection = duckdb.connect()
        self.connection.execute("SET memory_limit = ?", [memory])
        self.connection.execute("SET temp_directory = ?", [str(scratch)])
        self.connection.execute("SET preserve_insertion_order = false")
        self.connection.execute("SET TimeZone = 'UTC'")

    def find(self, pattern: str) -> list[str]:
        """Return the files of a pattern; LabelError if there are none."""
        for folder in self._folders:
            if files := sorted(str(file) for file in folder.glob(pattern)):
                return files
        raise LabelError(f"{self._folders[0]} has no {pattern}, nor has its folder live.")

    def view(self, name: str, pattern: str, columns: dict[str, str]) -> None:
        """Create a view of some columns.

        Parameters
        ----------
        columns
            Type by name: "id" and "int" become 64-bit integers, "time" µs since 1970 (from text, timestamps of any
            unit, or integers in ms), "text" a string, "vector" a list of floats.

        Raises
        ------
        LabelError
            The table is missing, lacks a column, or has ids that are not integers.
        """
        files = self.find(pattern)
        source = "read_parquet(?)" if files[0].endswith(".parquet") else "read_csv(?, all_varchar=true, header=true)"
        literal = "[" + ", ".join("'" + file.replace("'", "''") + "'" for file in files) + "]"
        source = source.replace("?", literal)
        described = self.query(f"DESCRIBE SELECT * FROM {source}")
        types = {row[0]: row[1] for row in described}
        if missing := [column for column in columns if column not in types]:
            raise LabelError(f"{files[0]} has no column {', '.join(missing)}; it has {', '.join(types)}.")
        selected = ", ".join(f"{_cast(column, kind, types[column])} AS {column}" for column, kind in columns.items())
        self.query(f"CREATE OR REPLACE VIEW {name} AS SELECT {selected} FROM {source}")

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple]:
        """Run a statement and return its rows; LabelError if a table cannot be read."""
        try:
            return self.connection.execute(sql, list(parameters)).fetchall()
        except duckdb.Error as error:
            raise LabelError(f"{self._folders[0]}: {str(error).splitlines()[0]}") from error


def _cast(column: str, kind: str, stored: str) -> str:
    """Return the SQL that converts a column of type ``stored``."""
    if kind == "time":
        if stored == "VARCHAR":
            return f"coalesce(try_cast({column} AS BIGINT) * 1000, epoch_us(try_cast({column} AS TIMESTAMP)))"
        return f"epoch_us({column}::TIMESTAMP)" if "TIMESTAMP" in stored else f"{column}::BIGINT * 1000"
    types = {"id": "BIGINT", "int": "BIGINT", "text": "VARCHAR", "vector": "FLOAT[]"}
    return f"{column}::{types[kind]}"

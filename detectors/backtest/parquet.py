"""Parquet files -> lines of JSON, a row each. DuckDB reads them, in bounded memory."""

import glob
from collections.abc import Iterator

from detectors.errors import DetectorError, UnreadableError

MAGIC = b"PAR1"
_ROWS = 64
"""Rows of a block, of about 64 KB with the usual records."""


def read_lines(path: str) -> Iterator[bytes]:
    """Yield the rows as blocks of lines: columns are fields, by their names.

    Raises:
        UnreadableError: the file is damaged, or cut.
        DetectorError: DuckDB is missing.
    """
    try:
        import duckdb  # noqa: PLC0415  # only a backtest of such files needs it
    except ImportError as error:
        raise DetectorError("Reading Parquet needs duckdb: pip install '.[parquet]'") from error
    with duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False}) as connection:
        try:
            rows = connection.execute("SELECT to_json(row) FROM read_parquet(?) row", [glob.escape(path)])
            while some := rows.fetchmany(_ROWS):
                yield "".join([f"{line}\n" for (line,) in some]).encode()
        except duckdb.Error as error:
            raise UnreadableError("damaged", "The Parquet file is damaged, or cut: copy or export it again.") from error

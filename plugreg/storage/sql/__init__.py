"""A store in a database: SQLite, PostgreSQL or MariaDB.

Raises:
    MissingExtraError: If SQLAlchemy cannot be imported.
"""

from plugreg.exceptions import MissingExtraError

try:
    import sqlalchemy  # noqa: F401 - the modules of this folder need it
except ImportError as error:
    raise MissingExtraError.of(error, "plugreg.storage.SQLStorage", "sqlalchemy", "sql") from error

"""A store in a database: SQLite, PostgreSQL or MariaDB."""

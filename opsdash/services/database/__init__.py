"""The database: engine, tables, migrations, and a bounded wait for it."""

"""Finished audit entries, pushed as they finish to where the owner of the database can't write."""

"""Runbooks: declared sequences of operations, whose state is kept so that an interrupted one can be continued."""

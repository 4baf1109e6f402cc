"""Workflows: the tasks that belong together, what they look like as a tree, and how they are cancelled."""

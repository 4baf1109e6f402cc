"""What the environment and the files beside it say: settings, roles, users, the broker's address."""

"""Other deployments' consoles, read through their JSON APIs."""

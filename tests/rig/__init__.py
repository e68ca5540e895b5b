"""What the tests of the whole server stand on: logs, models, clients and a Roost in this process."""

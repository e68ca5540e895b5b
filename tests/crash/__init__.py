"""The real server, killed and started again: nothing lost, nothing doubled, nothing run twice."""

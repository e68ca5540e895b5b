"""Speed, measured against floors that run in the same call: read the ratios, not the times."""

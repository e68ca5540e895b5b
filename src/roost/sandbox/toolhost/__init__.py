"""What runs inside a sandbox, as its first process: the six tools, the call ledger and the way out to the egress proxy.

This package is copied into every sandbox and started with the sandbox's own `python3 -IS`, so it needs nothing but
Python 3.10 and its standard library, and it imports as little as it can: `json`, `re`, `socket`, `threading` or
`dataclasses` would each take about as long as Python itself takes to start. What only some calls need, they import.

Nothing here is trusted by the host: an agent is root in its sandbox and may rewrite whatever this package answers.
"""

"""The fault harness: histories from seeds, real processes, a model that says what must be true.

A history is a list of steps; a world is what they happen to (replicas of the service, a PostgreSQL,
a proxy between each replica and it, a provider); a play is one history in a world. Afterwards the
clients' own log and the provider's log say what each call must have been charged, and the books
are compared with that, call by call. docs/reliability.md says what came of it.
"""

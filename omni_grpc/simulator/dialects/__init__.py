"""The wire formats that the simulator speaks: for each, how it is asked and how it answers.

A dialect reads a body into `Asked`, writes an `Answer` as a body or as a stream's events, and
knows its provider's errors. Pacing, faults and the log are not its business. Another dialect is
another set of files here, and a route in `server.py`.
"""

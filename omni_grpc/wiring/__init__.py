"""The composition root: settings in, a running worker out. Nothing else builds the rooms.

It imports nothing here, so that a command pays only for the parts that it uses.
"""

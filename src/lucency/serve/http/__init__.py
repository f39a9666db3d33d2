"""HTTP: the server process, its limits, and the code around every request.

settings      addresses and limits, checked before anything starts
bodies        read a request body, never more than the limit
middleware    hosts, origins, tokens, errors, metrics
connection    one connection and its limits
server        start, shut down, reload
"""

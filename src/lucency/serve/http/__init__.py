"""HTTP: the server process, its limits, and what stands around every request.

settings      addresses and limits, checked before anything starts
bodies        read a request body, never more than the limit
middleware    hosts, origins, tokens, errors, measurements
connection    one connection and its deadlines
server        start, drain, reload
"""

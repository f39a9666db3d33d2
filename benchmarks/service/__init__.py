"""The HTTP service under load, restarts and hostile clients, on this computer only.

``python -m benchmarks`` names the benchmarks; a file has one to three of them.

    setup               classifiers and folders that each benchmark uses
    server              ``lucency serve`` in its own process, observed from outside
    client              an HTTP client that sends prepared requests
    naive_service       the simple handler that Lucency is compared with
    threads             one image on all threads, or one image per thread
    performance         throughput, latency and overload
    known_predictions   a million images whose predictions are known
    lifecycle           shutdown, reloads and killed decoders under load
    hostile_clients     slow clients, malformed requests and leaked words
"""

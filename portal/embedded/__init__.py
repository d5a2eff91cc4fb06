"""The real PostgreSQL, Redis and inference server that stand in while no deployment of them is named.

Nothing here imports Django: the services start before it, and tests use them on their own.
"""

"""HTTP on 127.0.0.1 for what stands in for a service: a function from requests to answers.

Rules: nothing here knows what is served. `exchange` is values alone; sockets are in `server`.
"""

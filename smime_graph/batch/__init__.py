"""Many messages on any `concurrent.futures.Executor`.

What is done with one message is a pure function of its job, so it runs in this process, in a pool
of processes, or on a cluster (Dask). Keys are named in a job and loaded by whoever does the work:
no private key and no password travels. Rules: a job is carried out once for its key; a worker that
dies costs nothing but time; memory does not grow with the number of jobs.
"""

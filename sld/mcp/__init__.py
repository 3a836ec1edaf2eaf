"""The verbs as tools for agents, over the Model Context Protocol; the work is done in child processes.

`server` has the tools and `results` what they return; `roots` says which files a client may name; `workers` starts
the children, with their limits of time and memory, and `worker` is what runs in one, with the verbs of `verbs`.
"""

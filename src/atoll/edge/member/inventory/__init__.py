"""What the agent knows of the inside of its cluster: informers' projections, and the reports made of them.

`view` and `parts` join informers and reports; every other module owns one meaning (nodes, pods, devices, …): what is
kept of its objects and what is told of them, both pure. It must not write to the cluster.
"""

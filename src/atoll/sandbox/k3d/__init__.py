"""Real clusters for the sandbox: K3s in Docker by k3d, with Cilium in the place of flannel and one Cluster Mesh.

It drives k3d, helm and cilium; what these do is theirs. Tests drive programs that stand in for them and write down what
they are told: nobody has checked here what Docker makes of it.
"""

"""Where the hub keeps its objects: JetStream behind the storage protocol of kubeapi."""

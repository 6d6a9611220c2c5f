"""What the hub serves beside the Kubernetes API: logs, files of datasets, health, metrics; and its HTTP server."""

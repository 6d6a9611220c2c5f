"""The Kubernetes API over HTTP, on top of the store."""

from atoll.kubeapi.http.app import create_app

__all__ = ["create_app"]

"""The application's own code; the manifests say how it is put together."""

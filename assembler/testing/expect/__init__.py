"""What `expect` says about an application → whether requests to it give that."""

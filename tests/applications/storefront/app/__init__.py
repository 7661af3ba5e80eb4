"""A shop of three applications: pages, an API for partners, an office; each has its own layers."""

"""Two OpenAPI documents → what differs for who calls the API and for who reads its answers.

The modules in the order to read them: document, changes, view, schemas, security, operations,
comparison.
"""

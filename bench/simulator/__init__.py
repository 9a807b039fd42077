"""A local DynamoDB-protocol server with a capacity model, and faults on request."""

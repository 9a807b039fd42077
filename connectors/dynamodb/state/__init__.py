"""A job's state in a DynamoDB table, for runs that may go on from another machine."""

"""Documents as DynamoDB's JSON, exact to the last digit: its letters, its sizes, its numbers. Pure."""

"""Values of any shape as DynamoDB's JSON, exact to the last digit. Pure."""

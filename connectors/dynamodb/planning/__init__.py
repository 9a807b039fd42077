"""What a plan says of a DynamoDB table: write units, time, cost, hot keys."""

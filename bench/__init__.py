"""Instruments: the simulator that speaks DynamoDB's protocol, and benchmarks."""

"""What is durable: ledger, checkpoint, dead letters, lease, and what a resume is decided on."""

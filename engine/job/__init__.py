"""The job file: its models, how it is read, and what is wrong with it, said in one sentence."""

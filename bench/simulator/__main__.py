"""Run the simulator as `python -m bench.simulator`."""

from bench.simulator.command import simulator

simulator()

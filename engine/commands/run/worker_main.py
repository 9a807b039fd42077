"""The main of a worker process: `python -m engine.commands.run.worker_main FD`, started by the runner only.

Invariant: from its first line on it leaves Ctrl-C, SIGTERM and SIGHUP to the runner, which turns them into
Drain; so what takes a second to import is imported behind that.
"""

import signal
import sys

from engine.environment import tune


def main() -> None:
    """Run with the signals left to the runner."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    tune()
    from engine.commands.run import worker_process

    worker_process.run(int(sys.argv[1]), verbose="-v" in sys.argv, log_json="--log-format=json" in sys.argv)


if __name__ == "__main__":
    main()

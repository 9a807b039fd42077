"""The main of a helper of plan: `python -m engine.commands.plan.helper_main FD`, started by plan only.

Invariant: as with a run's workers, signals are left to the command from the first line on; it ends with its
command.
"""

import signal
import sys

from engine.environment import tune


def main() -> None:
    """Help with the signals left to the command."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    tune()
    from engine.commands.plan import helper_process

    helper_process.run(int(sys.argv[1]), verbose="-v" in sys.argv, log_json="--log-format=json" in sys.argv)


if __name__ == "__main__":
    main()

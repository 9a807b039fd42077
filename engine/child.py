"""The main of each process that a command starts: `python -m engine.child MODULE FD`.

Invariant: from its first line on it leaves Ctrl-C, SIGTERM and SIGHUP to the command, which tells it what to
do; so what takes a second to import, the module that does the work, is imported behind that, and so is the
package that this one would lie in, were it among the commands.
"""

import signal
import sys
from importlib import import_module

from engine.environment import tune


def main() -> None:
    """Have a module's `serve` work for the command at the other end of a socket."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    tune()
    import uvloop

    from engine.show import lines, logs

    logs.setup(verbose="-v" in sys.argv)
    lines.setup(as_json="--log-format=json" in sys.argv)
    module, descriptor = sys.argv[1:3]
    uvloop.run(import_module(module).serve(int(descriptor)))


if __name__ == "__main__":
    main()

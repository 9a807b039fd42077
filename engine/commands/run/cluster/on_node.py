"""The work of a worker in an actor: that of `backfill worker`, in the actor's own process.

Invariant: what it ends with is told as an exit code and a sentence, whatever happens.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.environment import tune


def take_part(at: str, token: str, files: Mapping[str, bytes]) -> tuple[int, str]:
    """Dial in to the command at `at`, with the hook's source; return the exit code and the last words."""
    tune()
    import uvloop

    import connectors  # noqa: F401 - fills the tables of what a job may name
    from engine.commands.helping_afar import helps
    from engine.commands.run.dialling import Dial, join
    from engine.commands.run.listening import address
    from engine.errors import BackfillError
    from engine.run.worker import describe

    said = [""]
    with TemporaryDirectory(prefix="backfill-hook-") as folder:
        try:
            for name, source in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(source)
            dial = Dial(address(at, "the runner"), Path(folder))
            code = uvloop.run(join(dial, token, said.append, helps))
        except BackfillError as fault:
            return int(fault.exit_code), str(fault)
        except Exception as fault:  # a bug: the actor's own end would say less
            ended = describe(fault)
            return 1, str(ended.error)
    return int(code), said[-1]

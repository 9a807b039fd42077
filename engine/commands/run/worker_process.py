"""The work of a worker process, from its first message to its last.

Invariant: it ends when the runner does, whatever it is doing.
"""

import logging
import os
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from engine.commands.ends import open_ends
from engine.commands.run import settled_keys
from engine.commands.run.key_notes import NotesOrder, checking, noting
from engine.commands.run.processes import OF_PARENT, Boot, usage
from engine.contracts.source import SourceTicket
from engine.job import handed
from engine.plain import loaded
from engine.registry import TARGETS
from engine.run.letters import LETTERS_WINDOW_BYTES
from engine.run.link import Noted, ToRunner, ToWorker
from engine.run.wire import OF_WORKER, SocketEnd
from engine.run.worker import describe, work
from engine.show import logs
from engine.tenure import Tenure

log = logging.getLogger(__name__)

ORPHANED = 70
"""Exit code of a worker whose runner is gone (EX_SOFTWARE of sysexits.h); nobody is left to read it."""


class RunnerLink(SocketEnd[Boot | ToWorker, ToRunner]):
    """The link to the runner; without one nothing can be checkpointed, so nothing more is to be written."""

    async def receive(self) -> ToWorker:
        """Return the next message."""
        message = await self._next()
        assert not isinstance(message, Boot), "it is the first message"
        return message

    async def boot(self) -> Boot:
        """Return the first message."""
        message = await self._next()
        assert isinstance(message, Boot), "it is the first message"
        return message

    async def _next(self) -> Boot | ToWorker:
        message = await super().receive()
        if message is None:
            os._exit(ORPHANED)
        return message


async def serve(descriptor: int) -> None:
    """Take the boot message from the socket and work until finished."""
    link = await RunnerLink.open(socket.socket(fileno=descriptor), says=OF_WORKER, hears=OF_PARENT)
    boot = await link.boot()
    try:
        async with AsyncExitStack() as stack:
            job, ticket = handed.read(boot.job), SourceTicket.from_json(boot.ticket)
            logs.of_job(job.name)
            connector = TARGETS[job.target.type]
            connector.take_over(boot.credentials)
            target = connector.info_from(boot.target)
            ends = await open_ends(stack, job, ticket=ticket, target=target)
            line = await stack.enter_async_context(
                ends.stages(
                    lambda text: link.send(Noted(text)),
                    letters_bytes=LETTERS_WINDOW_BYTES,
                    tenure=Tenure(boot.lease_end_s),
                )
            )
            at_end = None
            if boot.notes is not None:
                line, notes = noting(ends, line, loaded(NotesOrder, boot.notes))
                at_end = notes.flush
            elif boot.settled is not None:
                row_key = ends.source.ticket.schema.key
                settled = settled_keys.settlement(Path(boot.settled), boot.run_id, row_key)
                line = replace(line, settle=settled.applied)
            elif boot.words is not None:
                line, notes = checking(ends, line, Path(boot.words))
                at_end = notes.flush
            log.debug("this process joins, for %d segments side by side", boot.cursors)
            await work(line, link, boot.cursors, usage, at_end=at_end)
    except Exception as fault:  # told to the runner, who tells the user
        link.send(describe(fault))
    await link.close()

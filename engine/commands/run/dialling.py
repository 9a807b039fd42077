"""The work of a worker on another host: dials in to a runner, takes part in its run, and ends with it.

Invariant: nothing is sent to the target but within the tenure that the runner grants from beat to beat; what
the runner doesn't say, source URL and credentials, comes from this host's own environment.
"""

import asyncio
import logging
import os
import ssl
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeAlias

from engine.commands.ends import Ends, open_ends
from engine.commands.run.listening import AFAR_SAYS, HEAD_SAYS, Address, kept_alive
from engine.commands.run.processes import usage
from engine.contracts.source import SourceTicket
from engine.errors import BackfillError, JobError, PermanentError
from engine.exits import Exit
from engine.frozen import dataclass
from engine.job import handed
from engine.job.hook import source_digest
from engine.job.model import Job
from engine.registry import TARGETS
from engine.run import beats
from engine.run.beats import FromAfar, HeadLink, ToAfar
from engine.run.greeting import (
    GREETING_BYTES_MAX,
    GREETING_S,
    OF_DIALLING,
    OF_HEAD,
    DiallingEnd,
    JobTold,
    NotLetIn,
    NotNeeded,
    Unanswered,
    Welcome,
    Work,
    introduce,
    refusal,
)
from engine.run.letters import LETTERS_WINDOW_BYTES
from engine.run.link import Noted
from engine.run.stopping import stop_on_signals
from engine.run.voice import SaysNotices, Voice
from engine.run.wire import MESSAGE_BYTES_MAX, SocketEnd
from engine.run.worker import describe, work
from engine.show import logs
from engine.tasks import ended

log = logging.getLogger(__name__)

DIALLED_S = 60.0
"""How long a runner may take to be there."""

REDIAL_S = 1.0


@dataclass(frozen=True, slots=True)
class Dial:
    """What the command line says. `hooks`: where a hook lies; `authority`: who vouches for the runner."""

    at: Address
    hooks: Path
    authority: Path | None = None


@dataclass(frozen=True, slots=True)
class LetIn:
    """A connection to a runner that has let this worker in. `told`: what there is to do."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    told: Welcome | NotNeeded

    async def hang_up(self) -> None:
        """Send what is buffered and close."""
        await SocketEnd(self.reader, self.writer, says=OF_DIALLING, hears=OF_HEAD).close()


Helps: TypeAlias = Callable[[LetIn, Welcome, Dial, Callable[[str], None]], Awaitable[Exit]]
"""Takes part in what isn't a run, until it is over. Raises: JobError, PermanentError, TransientError."""


def only_runs(work: Work) -> Helps:
    """Return what takes part in other work: nothing does. Raises: JobError."""
    raise JobError(f"this worker takes part in runs, and what has called it is `backfill {work}`")


async def join(
    dial: Dial, token: str, say: Callable[[str], None], helps: Callable[[Work], Helps] = only_runs
) -> Exit:
    """Dial in, and work until the run is over, or the other work that `helps` knows.

    Raises: JobError where it can't take part, PermanentError.
    """
    line = await _let_in(dial, token, DIALLED_S)
    while True:
        try:
            if isinstance(line.told, NotNeeded):
                say(f"nothing to do: {line.told.why}")
                return Exit.DONE
            if line.told.work != "run":
                return await helps(line.told.work)(line, line.told, dial, say)
            then = await _taking_part(line, line.told, dial, token, say)
        finally:
            await line.hang_up()
        if isinstance(then, Exit):
            return then
        line = then


async def _let_in(dial: Dial, token: str, patience_s: float) -> LetIn:
    """Dial in, and wait for what there is to do. Raises: JobError, PermanentError."""
    reader, writer = await _dialled(dial, patience_s)
    wire: DiallingEnd = SocketEnd(
        reader, writer, says=OF_DIALLING, hears=OF_HEAD, bytes_max=GREETING_BYTES_MAX
    )
    try:
        return LetIn(reader, writer, await _welcome(wire, token, _certificate(writer), dial.at))
    except BaseException:
        wire.abort()
        raise


async def _welcome(wire: DiallingEnd, token: str, certificate: bytes, at: Address) -> Welcome | NotNeeded:
    try:
        async with asyncio.timeout(GREETING_S):
            await introduce(wire, token, certificate, str(at))
    except (TimeoutError, Unanswered) as error:
        raise PermanentError(
            f"what answers at {at} doesn't speak as a runner does: is it a run's --listen, with TLS on both"
            " sides or, on this machine, on none?"
        ) from error
    wire.bytes_max = MESSAGE_BYTES_MAX
    match await wire.receive():
        case (Welcome() | NotNeeded()) as told:
            return told
        case NotLetIn(why):
            raise refusal(str(at), why)
        case _:
            raise PermanentError(
                f"the runner at {at} was lost before there was anything to do: dial in again"
            )


async def _taking_part(
    line: LetIn, told: Welcome, dial: Dial, token: str, say: Callable[[str], None]
) -> Exit | LetIn:
    """Work until there is nothing more; return the line to the next runner, where that one has come.

    Raises: what ended the work; PermanentError: the runner was lost.
    """
    head: SocketEnd[ToAfar, FromAfar] = SocketEnd(line.reader, line.writer, says=AFAR_SAYS, hears=HEAD_SAYS)
    link = HeadLink(head, told.silence_s)
    voice = Voice([SaysNotices(say)])
    with stop_on_signals(lambda: link.leave("it was asked to stop"), voice) as interrupted:
        try:
            async with AsyncExitStack() as stack:
                ends = await opened_alike(stack, told.jobs[0], dial)
                say(f"taking part in the run of {ends.job.name} at {dial.at}")
                await _work(ends, link, told.cursors)
                if link.holds and link.lost is not None and not interrupted.is_set():
                    again = await _until_called(dial, token, link.lost, interrupted, say)
                    if again is not None:
                        return again
        except Exception as fault:  # told to the runner first
            link.send(describe(fault))
            if not isinstance(fault, ExceptionGroup):
                raise
    if not interrupted.is_set():
        see_to_end(link, link.error, "nothing acked is lost: dial in again when it is back")
        say(f"the run of {ends.job.name} is over")
    return Exit.INTERRUPTED if interrupted.is_set() else Exit.DONE


def see_to_end(head: HeadLink, error: Exception | None, then: str) -> None:
    """See that the work was done to its end. `then`: what is to be done once the runner was lost.

    Raises: PermanentError when it was, `error` if there is one.
    """
    if head.lost is not None:
        raise PermanentError(f"{head.lost}; {then}")
    if error is not None:
        raise error


async def opened_alike(stack: AsyncExitStack, told: JobTold, dial: Dial) -> Ends:
    """Open both ends as the runner has told. Raises: JobError."""
    job = alike(told, dial)
    logs.of_job(job.name)
    target = TARGETS[job.target.type].info_from(told.target)
    ends = await open_ends(stack, job, ticket=SourceTicket.from_json(told.ticket), target=target)
    if ends.source.abilities.keep_view is not None:
        ends.source.abilities.keep_view()  # another host's own view would be nobody's but its own
    return ends


async def _work(ends: Ends, link: HeadLink, cursors: int) -> None:
    """Carry segments for as long as the runner gives any, and keep its view when it asks for that."""
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(
            ends.stages(
                lambda text: link.send(Noted(text)),
                letters_bytes=LETTERS_WINDOW_BYTES,
                tenure=link.tenure,
            )
        )
        await stack.enter_async_context(link.alive())
        holding = asyncio.create_task(_hold_when_asked(ends, link))
        try:
            await work(line, link, cursors, usage)
        finally:
            await ended(holding)


async def _hold_when_asked(ends: Ends, link: HeadLink) -> None:
    await link.asked_to_hold.wait()
    hold = ends.source.abilities.hold_view
    try:
        link.held(None if hold is None else await hold())
    except BackfillError as error:
        log.debug("the view can't be kept here: %s", error)
        link.held(None)


async def _until_called(
    dial: Dial, token: str, why: str, interrupted: asyncio.Event, say: Callable[[str], None]
) -> LetIn | None:
    """Keep the view until a runner has opened it, and return the line to that one; None: none has come.

    Raises: JobError when it refuses this worker.
    """
    say(
        f"{why}; this worker sends nothing more, keeps the run's view of the source for up to"
        f" {beats.VIEW_KEPT_S:.0f} s, and dials in again meanwhile"
    )
    calling = asyncio.create_task(_redialled(dial, token))
    stopped = asyncio.create_task(interrupted.wait())
    try:
        await asyncio.wait({calling, stopped}, timeout=beats.VIEW_KEPT_S, return_when=FIRST_COMPLETED)
        return calling.result() if calling.done() else None
    finally:
        await ended(calling, stopped)


async def _redialled(dial: Dial, token: str) -> LetIn:
    """Dial in until a runner says what there is to do: by then it has opened its source."""
    while True:
        try:
            return await _let_in(dial, token, beats.VIEW_KEPT_S)
        except PermanentError as error:
            log.debug("%s", error)
            await asyncio.sleep(REDIAL_S)


def alike(told: JobTold, dial: Dial) -> Job:
    """Return the job, which must mean the same here as at the runner. Raises: JobError."""
    job = handed.completed(told.job, dial.hooks, os.environ)
    parts = job.fingerprint_parts()
    hook = source_digest(job.hook, job.directory) if job.hook else None
    if hook != told.hook:
        raise JobError(
            f"transform {job.hook!r}: its source here isn't the runner's: put the same file into --hooks"
        )
    for part, digest in told.parts.items():
        if parts.get(part) != digest:
            raise JobError(
                f"the job's {part} isn't the runner's: a variable that it takes from the environment has"
                " another value here; set it as it is there"
            )
    return job


async def _dialled(dial: Dial, patience_s: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, with patience for a runner that is yet to come. Raises: JobError, PermanentError."""
    loop, tls = asyncio.get_running_loop(), _tls(dial)
    until = loop.time() + patience_s
    limit_s = None if tls is None else GREETING_S
    while True:
        try:
            reader, writer = await asyncio.open_connection(
                dial.at.host, dial.at.port, ssl=tls, ssl_handshake_timeout=limit_s
            )
        except ssl.SSLCertVerificationError as error:
            raise JobError(
                f"the runner at {dial.at} shows a certificate that --ca doesn't vouch for"
                f" ({error.verify_message})"
            ) from error
        except OSError as error:
            if loop.time() > until:
                raise PermanentError(
                    f"no runner answers at {dial.at} ({error.strerror or error}): see that it listens there"
                    " and that nothing between keeps connections back"
                ) from error
            await asyncio.sleep(REDIAL_S)
        else:
            kept_alive(writer.get_extra_info("socket"))
            return reader, writer


def _tls(dial: Dial) -> ssl.SSLContext | None:
    """Return what encrypts. Without an authority the token vouches for the certificate (greeting.py)."""
    if dial.authority is not None:
        try:
            return ssl.create_default_context(cafile=dial.authority)
        except OSError as error:
            raise JobError(f"--ca {dial.authority}: it can't be used ({error.strerror or error})") from error
    if dial.at.is_here:
        return None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return tls


def _certificate(writer: asyncio.StreamWriter) -> bytes:
    """Return the certificate that the other end has shown; nothing where there is no TLS."""
    secured = writer.get_extra_info("ssl_object")
    return b"" if secured is None else secured.getpeercert(binary_form=True) or b""

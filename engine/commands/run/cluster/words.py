"""What the runner and the process that holds the Ray cluster say to each other."""

from collections.abc import Mapping
from typing import TypeAlias

from engine.frozen import dataclass
from engine.run.link import SaidText
from engine.run.wire import Language, SocketEnd


@dataclass(frozen=True, slots=True)
class Connect:
    """Runner → driver, the first message: take part in the cluster of this address, as Ray takes it."""

    address: str


@dataclass(frozen=True, slots=True)
class PlaceWorkers:
    """Runner → driver: have workers dial in at `at`, by this token, until Enough.

    Shape: `files` the hook's source, base64 by its path. `asks`: for those, too, for whom nothing is free.
    """

    at: str
    token: str
    files: Mapping[str, str]
    workers: int
    asks: bool


@dataclass(frozen=True, slots=True)
class Enough:
    """Runner → driver: end what is left of those that you have placed."""


@dataclass(frozen=True, slots=True)
class Connected:
    """Driver → runner: it takes part, and this is how other nodes reach this one."""

    node: str


@dataclass(frozen=True, slots=True)
class NotConnected:
    """Driver → runner: it can't take part. Nothing will follow."""

    why: SaidText


@dataclass(frozen=True, slots=True)
class Said:
    """Driver → runner: tell the user this."""

    text: SaidText
    warns: bool = False


FromRunner: TypeAlias = Connect | PlaceWorkers | Enough
FromDriver: TypeAlias = Connected | NotConnected | Said
OF_RUNNER: Language[FromRunner] = Language(FromRunner)
OF_DRIVER: Language[FromDriver] = Language(FromDriver)

RunnerEnd: TypeAlias = SocketEnd[FromDriver, FromRunner]
DriverEnd: TypeAlias = SocketEnd[FromRunner, FromDriver]

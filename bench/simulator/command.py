"""The command line of the simulator.

Invariant: importing this module loads nothing heavy; the help answers at once.
"""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import click

from engine.show.console import say

if TYPE_CHECKING:
    from bench.simulator.settings import Capacity


def _rates(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, float]:
    rates = {}
    for each in given:
        name, _sign, rate = each.partition("=")
        try:
            rates[name] = float(rate)
        except ValueError as error:
            raise click.BadParameter(f"{each!r} isn't FAULT=RATE, as in unprocessed=0.05") from error
    return rates


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--null", "is_null", is_flag=True, help="Accept everything, keep nothing, count (GET /counts).")
@click.option(
    "--wcu", type=click.IntRange(1), help="Every table is provisioned: so many write units a second."
)
@click.option("--rcu", type=click.IntRange(1), help="With --wcu: read units a second.  [default: as --wcu]")
@click.option(
    "--on-demand",
    "on_demand",
    type=click.IntRange(1),
    metavar="WCU",
    help="Every table is on demand and takes so much at once, in partitions of 1,000.",
)
@click.option("--unlimited", is_flag=True, help="No table ever throttles.")
@click.option(
    "--burst-s",
    type=click.FloatRange(0),
    default=300.0,
    show_default=True,
    help="Unused capacity is kept so long.",
)
@click.option(
    "--doubling-s",
    type=click.FloatRange(0, min_open=True),
    default=1800.0,
    show_default=True,
    help="On demand follows a peak to its double at most once in this time.",
)
@click.option(
    "--heat-s",
    type=click.FloatRange(0),
    default=300.0,
    show_default=True,
    help="A partition that throttles so long splits.",
)
@click.option(
    "--account-wcu",
    type=click.FloatRange(1),
    default=40_000.0,
    show_default=True,
    help="The account's quota for one table.",
)
@click.option("--latency-ms", type=click.FloatRange(0), default=0.0, help="The median time to an answer.")
@click.option(
    "--latency-p99-ms", type=click.FloatRange(0), help="Its 99th percentile.  [default: twice that]"
)
@click.option(
    "--fault",
    "rates",
    multiple=True,
    metavar="FAULT=RATE",
    callback=_rates,
    help="How often requests go wrong, of 1: throttled, 500, 503, reset_before, reset_after, silent_before, "
    "silent_after, truncated, late; unprocessed counts items.",
)
@click.option("--late-s", type=click.FloatRange(0), default=20.0, show_default=True, help="How late is late.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same faults for the same seed.")
def simulator(
    port: int,
    is_null: bool,
    wcu: int | None,
    rcu: int | None,
    on_demand: int | None,
    unlimited: bool,
    burst_s: float,
    doubling_s: float,
    heat_s: float,
    account_wcu: float,
    latency_ms: float,
    latency_p99_ms: float | None,
    rates: dict[str, float],
    late_s: float,
    seed: int,
) -> None:
    """Serve DynamoDB's protocol on 127.0.0.1, with its capacity and with faults on request.

    Tables take what CreateTable says unless --wcu, --on-demand or --unlimited says otherwise. Everything
    lives in memory. GET /_control/statistics tells what happened; POST /_control/capacity, /faults,
    /latency, /model and /reset change what will.
    """
    if sum(each is not None and each is not False for each in (wcu, on_demand, unlimited or None)) > 1:
        raise click.UsageError("--wcu, --on-demand and --unlimited exclude each other")
    if rcu is not None and wcu is None:
        raise click.UsageError("--rcu goes with --wcu")
    from bench.simulator import null, server
    from bench.simulator.faults import Rates
    from bench.simulator.latency import Latency
    from bench.simulator.service import Service
    from bench.simulator.settings import Model

    def ready() -> None:
        say(f"simulator on http://127.0.0.1:{port}")

    if is_null:
        _run(null.serve(port, ready), port)
        return
    try:
        service = Service(
            model=Model(
                burst_s=burst_s,
                doubling_s=doubling_s,
                heat_s=heat_s,
                account_write=account_wcu,
                limited=not unlimited,
            ),
            forced=_forced(wcu, rcu, on_demand),
            rates=Rates(rates, late_s),
            latency=Latency.of_ms(latency_ms, latency_p99_ms),
            seed=seed,
        )
    except ValueError as error:
        raise click.UsageError(f"--fault: {error}") from error
    _run(server.serve(service, port, ready), port)


def _forced(wcu: int | None, rcu: int | None, on_demand: int | None) -> "Capacity | None":
    """Return the capacity that every table gets, whatever CreateTable says; None: as it says."""
    from bench.simulator.settings import Capacity

    if wcu is not None:
        return Capacity(write=float(wcu), read=float(rcu or wcu))
    if on_demand is not None:
        # One partition gives three times as many reads: as many partitions as the writes need.
        return Capacity(warm_write=float(on_demand), warm_read=3.0 * on_demand)
    return None


def _run(serving: Coroutine[Any, Any, None], port: int) -> None:
    import uvloop

    try:
        uvloop.run(serving)
    except OSError as error:
        raise click.ClickException(
            f"can't listen on 127.0.0.1:{port} ({error.strerror or error}): choose another --port"
        ) from error

"""Requests and their answers, in layers; `dispatcher.py` follows one request through all of them.

- What is sent next: `send_queue` packs requests out of `fresh_items` (in strides), `hot_lanes` and what comes
  back; `request_builder` puts the text around it.
- What an answer means: `answers`.
- Who is slowed down by it: `throttling`, with the rate and the width of engine/throttle, `hot_keys`,
  `locality` and the `circuit_breaker`; `unknown_requests` hold their keys.
- What becomes of the items: `completion`, with `refusals`; `open_batch` keeps the tally.
"""

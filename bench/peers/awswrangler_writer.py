"""awswrangler's `put_df`, a frame of some thousand rows at a time."""

import itertools
import sys

import awswrangler
import pandas as pd

from bench.peers.orders import FETCH_ROWS, endpoint, item, rows, started


def main(count: int) -> None:
    """Load so many orders."""
    awswrangler.config.dynamodb_endpoint_url = endpoint()
    started()
    items = map(item, rows(count))
    while chunk := list(itertools.islice(items, FETCH_ROWS)):
        awswrangler.dynamodb.put_df(df=pd.DataFrame(chunk, dtype=object), table_name="orders")


if __name__ == "__main__":
    main(int(sys.argv[1]))

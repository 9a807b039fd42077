"""boto3's `batch_writer`, the way of its documentation."""

import sys

import boto3

from bench.peers.orders import endpoint, item, rows, started


def main(count: int) -> None:
    """Load so many orders."""
    table = boto3.resource("dynamodb", endpoint_url=endpoint()).Table("orders")
    started()
    with table.batch_writer() as writer:
        for row in rows(count):
            writer.put_item(Item=item(row))


if __name__ == "__main__":
    main(int(sys.argv[1]))

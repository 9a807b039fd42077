"""pynamodb's model and its `batch_write`."""

import sys

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.models import Model

from bench.peers.orders import endpoint, item, rows, started


class Order(Model):  # type: ignore[misc]
    """The orders' table."""

    class Meta:
        """Where it is."""

        table_name = "orders"
        region = "us-east-1"
        host = endpoint()

    PK = UnicodeAttribute(hash_key=True)
    SK = UnicodeAttribute(range_key=True)
    EntityType = UnicodeAttribute()
    OrderID = NumberAttribute()
    UserID = NumberAttribute()
    OrderDate = UnicodeAttribute()
    Status = UnicodeAttribute()
    TotalAmount = NumberAttribute()
    Currency = UnicodeAttribute()
    ItemsCount = NumberAttribute()
    Paid = BooleanAttribute()
    Email = UnicodeAttribute()
    ShippingAddress = UnicodeAttribute(null=True)
    Notes = UnicodeAttribute(null=True)
    UpdatedAt = UnicodeAttribute()


def main(count: int) -> None:
    """Load so many orders."""
    started()
    with Order.batch_write() as batch:
        for row in rows(count):
            batch.save(Order(**{**item(row), "TotalAmount": float(row["total_amount"])}))


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""The arithmetic of one client's window, in one integer.

In: a state (0 for a client not seen), the number of the current bucket, a cost.
Out: the state moved to that bucket, the units it holds, and when units become free.

The period is cut into buckets, and a hit counts until its whole bucket has left the period: one
bucket more is held, and what they hold is never less than what any window of the period saw.
So at most `quota` units are admitted in ANY window, at a price: the window is up to a bucket longer
than it says. Fixed windows, the two-window counter and GCRA with a burst of N admit up to 2N.

A bucket is 1/30 of the period. For quotas up to 30 it is 1/307 or less: their fields are narrow, so
that a state is still of some 200 bytes, and a client that calls once a minute, a second late each
time, must not be refused for the length of a bucket.

A state is `bucket << shift | slots`; slots are such fields, the newest lowest. A field is wide
enough for the quota, so the fields' sum is `slots` modulo `2**width - 1`, as casting out nines
gives the digit sum of a decimal. One integer a client, and no object for the garbage collector
to walk: a million clients cause no pause.
"""

from components.rate_limit.rates import Rate

BUCKETS = 30
_SMALL_QUOTA = 30  # in Redis a client has a pair for each bucket with hits: no more than before
_STATE_BITS = 1536


def buckets_of(rate: Rate) -> int:
    """How many buckets the period of a rate is cut into."""
    return BUCKETS if rate.quota > _SMALL_QUOTA else _STATE_BITS // _bits(rate)


class Window:
    """The constants of one rate; `hit` of the memory store works with them inline."""

    __slots__ = ("bits", "bucket_ns", "buckets", "mask", "modulus", "quota", "shift")

    def __init__(self, rate: Rate) -> None:
        self.quota = rate.quota
        self.buckets = buckets_of(rate)
        # rounded up, so that all buckets are never shorter than the period
        self.bucket_ns = -(-rate.period_seconds * 1_000_000_000 // self.buckets)
        self.bits = _bits(rate)
        self.modulus = (1 << self.bits) - 1
        self.shift = (self.buckets + 1) * self.bits
        self.mask = (1 << self.shift) - 1

    def slots_at(self, state: int, bucket: int) -> int:
        """The fields of a state, moved on to `bucket`; what is older has fallen off."""
        age = bucket - (state >> self.shift)
        if age > self.buckets:
            return 0
        return (state & self.mask) << age * self.bits & self.mask

    def wait_ns(self, slots: int, need: int, now_ns: int) -> int:
        """The time until `need` units of `slots`, which stand at the current bucket, are free."""
        first, last = 0, self.buckets  # bisect for the number of buckets to wait after the first
        while first < last:
            middle = (first + last) // 2
            if (slots >> (self.buckets - middle) * self.bits) % self.modulus >= need:
                last = middle
            else:
                first = middle + 1
        return (now_ns // self.bucket_ns + first + 1) * self.bucket_ns - now_ns


def _bits(rate: Rate) -> int:
    """The width of a field: the sum must stay below the modulus, or a full window would read as empty."""
    return (rate.quota + 1).bit_length()

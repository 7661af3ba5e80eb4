"""The arithmetic of one client's window, in one integer.

In: a state (0 for a client not seen), the number of the current bucket, a cost.
Out: the state moved to that bucket, the units it holds, and when units become free.

The period is cut into 30 buckets, and a hit counts until its whole bucket has left the period:
31 buckets are held, and what they hold is never less than what any window of the period saw.
So at most `quota` units are admitted in ANY window, at a price: the window is up to 1/30 longer
than it says. Fixed windows, the two-window counter and GCRA with a burst of N admit up to 2N.

A state is `bucket << shift | slots`; slots are 31 fields, the newest lowest. A field is wide
enough for the quota, so the fields' sum is `slots` modulo `2**width - 1`, as casting out nines
gives the digit sum of a decimal. One integer a client, and no object for the garbage collector
to walk: a million clients cause no pause.
"""

from components.rate_limit.rates import Rate

BUCKETS = 30
HELD = BUCKETS + 1


class Window:
    """The constants of one rate; `hit` of the memory store works with them inline."""

    __slots__ = ("bits", "bucket_ns", "mask", "modulus", "quota", "shift")

    def __init__(self, rate: Rate) -> None:
        self.quota = rate.quota
        # rounded up, so that 30 buckets are never shorter than the period
        self.bucket_ns = -(-rate.period_seconds * 1_000_000_000 // BUCKETS)
        # the sum must stay below the modulus, or a full window would read as an empty one
        self.bits = (rate.quota + 1).bit_length()
        self.modulus = (1 << self.bits) - 1
        self.shift = HELD * self.bits
        self.mask = (1 << self.shift) - 1

    def slots_at(self, state: int, bucket: int) -> int:
        """The fields of a state, moved on to `bucket`; what is older has fallen off."""
        age = bucket - (state >> self.shift)
        if age >= HELD:
            return 0
        return (state & self.mask) << age * self.bits & self.mask

    def wait_ns(self, slots: int, need: int, now_ns: int) -> int:
        """The time until `need` units of `slots`, which stand at the current bucket, are free."""
        first, last = 0, BUCKETS  # bisect for the number of buckets to wait after the first
        while first < last:
            middle = (first + last) // 2
            if (slots >> (BUCKETS - middle) * self.bits) % self.modulus >= need:
                last = middle
            else:
                first = middle + 1
        return (now_ns // self.bucket_ns + first + 1) * self.bucket_ns - now_ns

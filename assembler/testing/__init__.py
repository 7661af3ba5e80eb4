"""What tests of an assembled application need: the application started, and real servers for it.

`plugin` has the fixtures, which pytest finds by itself where the package is installed; here are
their types, and the servers for who starts them by hand. Nothing heavy is imported, nothing starts.
"""

from assembler.testing.assembled import Assembled as Assembled
from assembler.testing.expectations import Expectations as Expectations
from assembler.testing.postgres import PostgresServer as PostgresServer
from assembler.testing.postgres import start_postgres as start_postgres
from assembler.testing.redis import RedisServer as RedisServer
from assembler.testing.redis import start_redis as start_redis

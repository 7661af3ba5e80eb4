"""Ports for servers of tests, which others look for at the same moment."""

import socket

import pytest

from assembler.testing.ports import free_port


def bound(port: int = 0, *, as_servers_do: bool = False) -> int:
    with socket.socket() as one:
        if as_servers_do:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", port))
        one.listen()
        number: int = one.getsockname()[1]
        return number


def test_a_port_is_given_once_and_nobody_else_gets_it_before_its_server_does() -> None:
    given = [free_port() for _ in range(100)]
    assert len(set(given)) == 100
    assert not {bound() for _ in range(300)} & set(given)
    for port in given:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        assert bound(port, as_servers_do=True) == port


def test_a_node_of_a_cluster_has_the_port_of_its_bus_too() -> None:
    given = [free_port(with_bus=True) for _ in range(50)]
    both = {*given, *(port + 10_000 for port in given)}
    assert len(both) == 100
    assert not {bound() for _ in range(300)} & both
    for port in both:
        assert bound(port, as_servers_do=True) == port

"""Numbers of several processes become those of a service."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.runtime.operations.figures import merged, of_routes, unrouted

BOUNDS = [0.01, 0.1, 1.0]


def metrics(*routes: tuple[str, str, str, list[int]], bounds: list[float] = BOUNDS) -> Any:
    return {
        "metrics": {
            "bounds": bounds,
            "layer": "metrics",
            "in_flight": 1,
            "websockets": 0,
            "routes": [[*route, sum(route[3]) / 10] for route in routes],
            "limits": [["default", "admitted", 3], ["default", "refused", 2]],
        },
        "layers": {"per-ip": {"limits": [["default", 5, 60]], "refused_keys": [["aa", 2]]}},
    }


def test_processes_add_up() -> None:
    one = metrics(("GET", "/a", "200", [90, 0, 0, 0]), ("GET", "/a", "500", [0, 0, 10, 0]))
    two = metrics(("POST", "/a", "404", [0, 4, 0, 0]), ("GET", "(unrouted)", "429", [1, 0, 0, 0]))
    found = merged([one, two, {"metrics": None, "layers": {}}])
    assert found["total"]["requests"] == 105
    assert (found["total"]["errors"], found["total"]["client_errors"]) == (10, 5)
    assert found["in_flight"] == 2
    assert found["policies"] == {"default": {"admitted": 6, "refused": 4}}
    assert found["layers"]["per-ip"]["refused_keys"] == [{"hash": "aa", "refused": 4}]
    read, write = of_routes(found, [("/a", ["GET"]), ("/a", ["POST"])])
    assert (read["requests"], read["errors"], write["requests"]) == (100, 10, 4)
    assert read["p50_milliseconds"] < 10
    assert 100 < read["p99_milliseconds"] <= 1000
    assert unrouted(found)["(unrouted)"]["requests"] == 1


def test_a_route_is_found_by_its_template_and_a_mount_by_all_below_it() -> None:
    found = merged(
        [
            metrics(
                ("GET", "/files/{path}", "200", [1, 0, 0, 0]),
                ("GET", "/mcp", "200", [2, 0, 0, 0]),
                ("POST", "/mcp/*", "200", [4, 0, 0, 0]),
                ("GET", "/mcp-admin", "200", [8, 0, 0, 0]),
            )
        ]
    )
    listed = [
        ("/files/{path:path}", ["GET", "HEAD"]),
        ("/mcp", ["MOUNT"]),
        ("/files/{path}", ["GET"]),
    ]
    assert [each["requests"] for each in of_routes(found, listed)] == [1, 6, 0]


def test_nothing_measured_is_nothing() -> None:
    found = merged([{"metrics": None, "layers": {}}])
    assert not found["measured"]
    assert found["total"]["p50_milliseconds"] is None


counts = st.lists(st.integers(0, 50), min_size=4, max_size=4)


@settings(max_examples=60)
@given(st.lists(counts, min_size=1, max_size=4))
def test_quantiles_rise_and_lie_within_the_bounds(processes: list[list[int]]) -> None:
    found = merged([metrics(("GET", "/a", "200", each)) for each in processes])["total"]
    assert found["requests"] == sum(map(sum, processes))
    if found["requests"]:
        low, high = found["p50_milliseconds"], found["p99_milliseconds"]
        below = sum(sum(each[:3]) for each in processes)
        assert (low is None and high is None) if not below else 0 <= low <= high <= 1000

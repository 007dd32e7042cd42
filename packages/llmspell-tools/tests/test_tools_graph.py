import itertools
import json
import re

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from llmspell_core import EffectClass, NotFoundError, ValidationError
from llmspell_testing import ToolSuite
from llmspell_tools.data import GraphBuilder
from llmspell_tools.data import _graph as implementation
from llmspell_tools.data._graph import Edge, Graph, analysis, shortest_path


class TestGraphBuilderKeepsTheToolContract(ToolSuite):
    @pytest.fixture
    def component(self):
        return GraphBuilder()

    @pytest.fixture
    def parameters(self):
        return {"operation": "create_graph", "graph_type": "directed"}

    @pytest.fixture
    def refused(self):
        return [
            {"operation": "create_graph", "graph_type": "square"},
            {"operation": "add_node", "graph": {"graph_type": "directed"}},
            {"operation": "analyze"},
            {"operation": "import_json", "graph": "no json"},
            {"operation": "fly"},
        ]


@pytest.fixture
def graph(call):
    async def run(operation, given=None, /, **parameters):
        if given is not None:
            parameters["graph"] = given
        return await call("graph-builder", operation=operation, **parameters)

    return run


@pytest.fixture
def triangle(graph):
    async def make(kind="directed"):
        made = (await graph("create_graph", graph_type=kind)).value
        for node in "abc":
            made = (await graph("add_node", made, node_id=node, label=node.upper())).value
        for source, target in ("ab", "bc", "ca"):
            made = (await graph("add_edge", made, **{"from": source, "to": target})).value
        return made

    return make


async def test_a_graph_is_built_call_by_call(graph):
    empty = await graph("create_graph")
    assert empty.operation == "graph_builder_execute"
    assert empty.result["result"] == empty.value
    assert empty.result["metadata"]["tool"] == "graph-builder"
    assert empty.value["graph_type"] == empty.result["graph_type"] == "directed"
    one = await graph("add_node", empty.value, node_id="a", label="A", data={"x": 1})
    assert one.value["nodes"] == [{"id": "a", "label": "A", "data": {"x": 1}}]
    two = await graph("add_node", one.value, node_id="b")
    edge = {"from": "a", "to": "b", "label": "knows", "weight": 2.5, "data": {"since": 1999}}
    joined = await graph("add_edge", two.value, **edge)
    assert joined.value["edges"] == [edge]
    about = joined.value["metadata"]
    assert (about["node_count"], about["edge_count"]) == (2, 1)
    assert about["created_at"] == empty.value["metadata"]["created_at"]
    assert about["last_modified"] > about["created_at"]
    without = await graph("remove_edge", joined.value, **{"from": "a", "to": "b"})
    assert without.value["edges"] == []
    gone = await graph("remove_node", joined.value, node_id="a")
    assert ([n["id"] for n in gone.value["nodes"]], gone.value["edges"]) == (["b"], [])


async def test_a_graph_is_passed_in_any_wrapping(graph, triangle):
    made = await triangle()
    answer = await graph("import_json", made)
    exported = await graph("export_json", made)
    assert exported.value == exported.result["json"] == exported.result["result"]["json"]
    assert json.loads(exported.value)["nodes"] == made["nodes"]
    assert (exported.result["node_count"], exported.result["format"]) == (3, "json")
    for given in (
        made,
        json.dumps(made),
        exported.value,
        answer.result,
        answer.envelope(),
        json.dumps(answer.envelope()),
        {"graph": made},
    ):
        for name in ("graph", "input"):
            again = (await graph("import_json", **{name: given})).value
            assert (again["nodes"], again["edges"]) == (made["nodes"], made["edges"])
    empty = await graph("import_json", {"graph_type": "directed", "nodes": {}, "edges": {}})
    assert empty.value["nodes"] == []


@pytest.mark.parametrize(
    ("kind", "density", "complete"),
    [
        ("directed", 0.5, False),
        ("undirected", 1.0, True),
    ],
)
async def test_a_graph_is_analysed_by_its_direction(graph, triangle, kind, density, complete):
    found = (await graph("analyze", await triangle(kind))).value
    assert found == {
        "node_count": 3,
        "edge_count": 3,
        "graph_type": kind,
        "density": density,
        "degree_statistics": {"max_degree": 2, "min_degree": 2, "average_degree": 2.0},
        "properties": {
            "is_empty": False,
            "is_complete": complete,
            "has_self_loops": False,
            "is_connected": True,
            "has_cycles": True,
        },
        "components": [["a", "b", "c"]],
        "node_ids": ["a", "b", "c"],
    }


async def test_an_empty_graph_and_one_node(graph):
    empty = (await graph("create_graph")).value
    found = (await graph("analyze", empty)).value
    assert (found["density"], found["components"], found["properties"]["is_empty"]) == (
        0.0,
        [],
        True,
    )
    one = (await graph("add_node", empty, node_id="a")).value
    loop = (await graph("add_edge", one, **{"from": "a", "to": "a"})).value
    found = (await graph("analyze", loop)).value["properties"]
    assert (found["has_self_loops"], found["has_cycles"], found["is_connected"]) == (True,) * 3


async def test_the_shortest_path_goes_by_weight_and_direction(graph):
    made = {
        "graph_type": "directed",
        "nodes": [{"id": n} for n in "abcd"],
        "edges": [
            {"from": "a", "to": "b", "weight": 10},
            {"from": "a", "to": "c", "weight": 1},
            {"from": "c", "to": "b", "weight": 2},
        ],
    }
    found = await graph("shortest_path", made, **{"from": "a", "to": "b"})
    assert found.value == {"path": ["a", "c", "b"], "length": 3.0, "hops": 2}
    back = await graph("shortest_path", made, **{"from": "b", "to": "a"})
    assert back.value == {"path": None, "length": None, "hops": None}
    made["graph_type"] = "undirected"
    both = await graph("analyze", made, **{"source": "b", "target": "a"})
    assert both.value["shortest_path"]["path"] == ["b", "c", "a"]


def drawn():
    nodes = st.integers(1, 6)
    return nodes.flatmap(
        lambda n: st.tuples(
            st.just(n),
            st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=10),
            st.sampled_from(["directed", "undirected"]),
        )
    )


@settings(max_examples=150)
@for_all(drawn())
def test_analysis_agrees_with_trying_every_way(case):
    count, pairs, kind = case
    graph = Graph(kind)
    for node in range(count):
        graph.add_node(str(node), None, {})
    for source, target in pairs:
        graph.add_edge(Edge(str(source), str(target), None, None, {}))
    found = analysis(graph)
    reach = {n: {n} for n in range(count)}
    both = [*pairs, *((b, a) for a, b in pairs)]
    for _ in range(count):
        for a, b in both:
            reach[a] |= reach[b]
    assert {frozenset(map(int, part)) for part in found["components"]} == {
        frozenset(r) for r in reach.values()
    }
    if kind == "directed":
        loops = any(
            all((order[i], order[(i + 1) % size]) in pairs for i in range(size))
            for size in range(1, count + 1)
            for order in itertools.permutations(range(count), size)
        )
        assert found["properties"]["has_cycles"] is loops
    way = shortest_path(graph, "0", str(count - 1))
    ways = pairs if kind == "directed" else both
    near, hops = {0}, 0
    while count - 1 not in near and hops <= count:
        near |= {b for a, b in ways if a in near}
        hops += 1
    assert way["hops"] == (hops if hops <= count else None)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"operation": "create_graph", "graph_type": "square"}, "Invalid graph_type: 'square'"),
        ({"operation": "add_node", "graph": {"nodes": []}}, "Missing required parameter 'node_id'"),
        ({"operation": "add_node", "node_id": "a"}, "Missing required parameter 'graph'"),
        (
            {"operation": "add_node", "graph": {"nodes": [{"id": "a"}]}, "node_id": "a"},
            "Node 'a' already exists",
        ),
        ({"operation": "import_json", "graph": "{"}, "it is no JSON"),
        ({"operation": "import_json", "graph": 5}, "Invalid graph"),
        ({"operation": "import_json", "graph": {"a": {}}}, "Invalid graph"),
        ({"operation": "import_json", "graph": {"nodes": "x"}}, "'nodes' must be an array"),
        ({"operation": "import_json", "graph": {"nodes": ["x"]}}, "'nodes' must hold tables"),
        ({"operation": "import_json", "graph": {"nodes": [{"id": [1]}]}}, "'id' must be a text"),
        (
            {"operation": "import_json", "graph": {"nodes": [{"id": "a"}, {"id": "a"}]}},
            "already exists",
        ),
        (
            {
                "operation": "import_json",
                "graph": {"nodes": [{"id": "a"}], "edges": [{"from": "a", "to": "z"}]},
            },
            "Edge references non-existent node: 'z'",
        ),
        (
            {
                "operation": "import_json",
                "graph": {
                    "nodes": [{"id": "a"}],
                    "edges": [{"from": "a", "to": "a", "weight": "x"}],
                },
            },
            "is no weight",
        ),
        ({"operation": "import_json", "graph": "[" * 100_000}, "Invalid graph"),
        ({"operation": "fly"}, "Unsupported operation: 'fly'"),
    ],
)
async def test_what_makes_no_sense_is_refused(call, given, words):
    with pytest.raises(ValidationError, match=re.escape(words)):
        await call("graph-builder", **given)


async def test_nodes_that_are_not_there_are_named(graph):
    one = {"nodes": [{"id": "a"}]}
    for operation, given, words in (
        ("add_edge", {"from": "z", "to": "a"}, "Source node 'z' does not exist"),
        ("add_edge", {"from": "a", "to": "z"}, "Target node 'z' does not exist"),
        ("shortest_path", {"from": "a", "to": "z"}, "Target node 'z' does not exist"),
        ("remove_node", {"node_id": "z"}, "Node 'z' does not exist"),
        ("remove_edge", {"from": "a", "to": "a"}, "The edge from 'a' to 'a' does not exist"),
    ):
        with pytest.raises(NotFoundError, match=words):
            await graph(operation, one, **given)


async def test_graphs_are_bounded(graph, monkeypatch):
    monkeypatch.setattr(implementation, "MOST_NODES", 2)
    monkeypatch.setattr(implementation, "MOST_EDGES", 1)
    monkeypatch.setattr(implementation, "LARGEST_JSON", 200)
    two = {"nodes": [{"id": "a"}, {"id": "b"}], "edges": [{"from": "a", "to": "b"}]}
    with pytest.raises(ValidationError, match="Maximum number of nodes reached"):
        await graph("add_node", two, node_id="c")
    with pytest.raises(ValidationError, match="Maximum number of edges reached"):
        await graph("add_edge", two, **{"from": "b", "to": "a"})
    with pytest.raises(ValidationError, match="JSON too large"):
        await graph("import_json", json.dumps(two) + " " * 200)
    negative = {**two, "edges": [{"from": "a", "to": "b", "weight": -1}]}
    with pytest.raises(ValidationError, match="not negative"):
        await graph("shortest_path", negative, **{"from": "a", "to": "b"})


def test_nothing_is_changed_in_the_world():
    for operation in GraphBuilder.operations:
        assert GraphBuilder().effect_of({"operation": operation}) is EffectClass.PURE

"""The tool ``graph-builder``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from llmspell_core import Parameter, ToolResult, ToolSchema, ValidationError
from llmspell_tools._operation_tool import (
    OperationTool,
    built_in,
    described,
    operation_parameter,
)
from llmspell_tools._threads import in_thread
from llmspell_tools.data._graph import (
    LARGEST_JSON,
    Edge,
    Graph,
    analysis,
    graph_of,
    kind_named,
    shortest_path,
)
from llmspell_tools.data._nested import nested

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext

NAME = "graph-builder"


@built_in(NAME)
class GraphBuilder(OperationTool):
    """Graphs as JSON values: each call takes one and gives the changed one back.

    A graph is the value itself, its JSON text, or a whole answer of this tool; at most 10,000
    nodes and 50,000 edges. Density and completeness count ordered pairs in a directed graph.
    """

    operations = {  # noqa: RUF012 - a ClassVar by its base
        "create_graph": ("create", "new"),
        "add_node": (),
        "add_edge": (),
        "remove_node": (),
        "remove_edge": (),
        "analyze": ("analyse", "stats"),
        "shortest_path": ("path",),
        "export_json": ("export",),
        "import_json": ("import",),
    }
    default_operation = "create_graph"
    unknown_operation = "Unsupported operation"

    @property
    def schema(self) -> ToolSchema:
        """The parameters."""
        entry = described(NAME)
        return ToolSchema(
            entry.name,
            entry.description,
            (
                operation_parameter(type(self), default="create_graph"),
                Parameter("graph_type", "string", "create_graph: directed (default) or undirected"),
                Parameter(
                    "graph",
                    "any",
                    "The graph: a table, JSON text, or the answer of an earlier call",
                    aliases=("input",),
                ),
                Parameter("node_id", "string", "add_node, remove_node", aliases=("id",)),
                Parameter(
                    "from", "string", "edges, shortest_path: where it begins", aliases=("source",)
                ),
                Parameter(
                    "to", "string", "edges, shortest_path: where it leads", aliases=("target",)
                ),
                Parameter("label", "string", "What a person calls it"),
                Parameter("weight", "number", "add_edge: its length or cost"),
                Parameter("data", "any", "Anything else that belongs to the node or edge"),
            ),
            "object",
        )

    async def do_create_graph(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """An empty graph."""
        kind = kind_named(parameters.get("graph_type", "directed"))
        return _changed("create_graph", Graph(kind), context)

    async def do_add_node(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """The graph with the node."""
        graph = await _graph(parameters)
        data = parameters.get("data", {})
        graph.add_node(_needs(parameters, "node_id"), parameters.get("label"), data)
        return _changed("add_node", graph, context)

    async def do_add_edge(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """The graph with the edge."""
        graph = await _graph(parameters)
        edge = Edge(
            _needs(parameters, "from"),
            _needs(parameters, "to"),
            parameters.get("label"),
            parameters.get("weight"),
            parameters.get("data", {}),
        )
        graph.add_edge(edge)
        return _changed("add_edge", graph, context)

    async def do_remove_node(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """The graph without the node and its edges."""
        graph = await _graph(parameters)
        graph.remove_node(_needs(parameters, "node_id"))
        return _changed("remove_node", graph, context)

    async def do_remove_edge(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """The graph without the edges from one node to another."""
        graph = await _graph(parameters)
        graph.remove_edges(_needs(parameters, "from"), _needs(parameters, "to"))
        return _changed("remove_edge", graph, context)

    async def do_analyze(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """Counts, density, degrees, properties, components; with `from` and `to` their path."""
        graph = await _graph(parameters)
        found = await in_thread(lambda stop: analysis(graph))
        if "from" in parameters and "to" in parameters:
            found["shortest_path"] = shortest_path(graph, parameters["from"], parameters["to"])
        return nested(NAME, "analyze", found)

    async def do_shortest_path(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{path, length, hops}``."""
        graph = await _graph(parameters)
        source, target = _needs(parameters, "from"), _needs(parameters, "to")
        found = await in_thread(lambda stop: shortest_path(graph, source, target))
        return nested(NAME, "shortest_path", found)

    async def do_export_json(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{json, format, node_count, edge_count}``."""
        graph = await _graph(parameters)
        text = json.dumps(graph.to_dict(_now(context)), ensure_ascii=False, indent=2)
        if len(text) > LARGEST_JSON:
            raise ValidationError(f"JSON too large: at most {LARGEST_JSON} bytes", field="graph")
        counts = {"node_count": len(graph.nodes), "edge_count": len(graph.edges)}
        return nested(NAME, "export_json", {"json": text, "format": "json", **counts}, value=text)

    async def do_import_json(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """The graph, checked."""
        return _changed("import_json", await _graph(parameters), context)


async def _graph(parameters: dict[str, Any]) -> Graph:
    given = _needs(parameters, "graph")
    return await in_thread(lambda stop: graph_of(given))


def _needs(parameters: dict[str, Any], name: str) -> Any:
    if name not in parameters:
        raise ValidationError(
            f"Missing required parameter '{name}'", field=name, code="MISSING_REQUIRED"
        )
    return parameters[name]


def _now(context: ExecutionContext) -> str:
    moment = datetime.fromtimestamp(context.now(), UTC)
    return moment.isoformat().replace("+00:00", "Z")


def _changed(operation: str, graph: Graph, context: ExecutionContext) -> ToolResult:
    return nested(NAME, operation, graph.to_dict(_now(context)))

"""A graph as the JSON value that scripts hold: read strictly, changed, analysed."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from llmspell_core import NotFoundError, ValidationError

MOST_NODES = 10_000
MOST_EDGES = 50_000
LARGEST_JSON = 10 * 1024**2

Kind = Literal["directed", "undirected"]


@dataclass(slots=True)
class Edge:
    """From one node to another."""

    source: str
    target: str
    label: str | None
    weight: float | None
    data: Any

    def to_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "from": self.source,
            "to": self.target,
            "label": self.label,
            "weight": self.weight,
            "data": self.data,
        }


@dataclass(slots=True)
class Graph:
    """Nodes by id, and edges in the order they were added."""

    kind: Kind = "directed"
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    edges: list[Edge] = field(default_factory=list[Edge])
    created_at: str | None = None

    @property
    def directed(self) -> bool:
        """Whether an edge leads one way."""
        return self.kind == "directed"

    def add_node(self, node_id: str, label: str | None, data: Any) -> None:
        """Another node.

        Raises:
            ValidationError: for an id that is taken, and for the 10,001st.
        """
        if node_id in self.nodes:
            raise ValidationError(f"Node '{node_id}' already exists", field="node_id")
        if len(self.nodes) >= MOST_NODES:
            raise ValidationError(f"Maximum number of nodes reached: {MOST_NODES}", field="node_id")
        self.nodes[node_id] = {"id": node_id, "label": label, "data": data}

    def add_edge(self, edge: Edge) -> None:
        """Another edge; two may join the same nodes.

        Raises:
            NotFoundError: for a node that is not there.
            ValidationError: for the 50,001st.
        """
        for role, node in (("Source", edge.source), ("Target", edge.target)):
            if node not in self.nodes:
                raise NotFoundError(f"{role} node '{node}' does not exist")
        if len(self.edges) >= MOST_EDGES:
            raise ValidationError(f"Maximum number of edges reached: {MOST_EDGES}", field="from")
        self.edges.append(edge)

    def remove_node(self, node_id: str) -> None:
        """Without the node and its edges."""
        if node_id not in self.nodes:
            raise NotFoundError(f"Node '{node_id}' does not exist")
        del self.nodes[node_id]
        self.edges = [e for e in self.edges if node_id not in (e.source, e.target)]

    def remove_edges(self, source: str, target: str) -> None:
        """Without the edges from one node to another; in an undirected graph, between them."""
        ends = {(source, target)} if self.directed else {(source, target), (target, source)}
        kept = [e for e in self.edges if (e.source, e.target) not in ends]
        if len(kept) == len(self.edges):
            raise NotFoundError(f"The edge from '{source}' to '{target}' does not exist")
        self.edges = kept

    def to_dict(self, modified_at: str) -> dict[str, Any]:
        """``{graph_type, nodes, edges, metadata}``."""
        return {
            "graph_type": self.kind,
            "nodes": list(self.nodes.values()),
            "edges": [edge.to_dict() for edge in self.edges],
            "metadata": {
                "created_at": self.created_at or modified_at,
                "last_modified": modified_at,
                "node_count": len(self.nodes),
                "edge_count": len(self.edges),
            },
        }


# Reading -------------------------------------------------------------------------------------


def graph_of(given: Any) -> Graph:
    """The graph that *given* is: JSON text or a table; the graph itself, or an answer of this
    tool with it inside.

    Raises:
        ValidationError, NotFoundError: for what is none, naming what is wrong.
    """
    value: Any = _parsed(given) if isinstance(given, str) else given
    for _ in range(4):
        if not isinstance(value, Mapping):
            break
        table = cast("Mapping[str, Any]", value)
        if "nodes" in table or "graph_type" in table:
            return _read(table)
        value = table.get("result", table.get("graph"))
        value = _parsed(value) if isinstance(value, str) else value
    raise ValidationError(
        "Invalid graph: expected a table with graph_type, nodes and edges",
        field="graph",
        hint="Pass the graph that create_graph returned.",
    )


def _parsed(text: str) -> Any:
    if len(text) > LARGEST_JSON:
        raise ValidationError(f"JSON too large: at most {LARGEST_JSON} bytes", field="graph")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"Invalid graph: it is no JSON: {error}", field="graph") from None


def kind_named(word: Any) -> Kind:
    """``directed`` or ``undirected``.

    Raises:
        ValidationError: ``Invalid graph_type``.
    """
    plain = str(word).lower()
    if plain not in ("directed", "undirected"):
        raise ValidationError(
            f"Invalid graph_type: '{word}'. Allowed values: directed, undirected",
            field="graph_type",
        )
    return plain


def _read(table: Mapping[str, Any]) -> Graph:
    metadata: Any = table.get("metadata")
    made: Any = cast("Mapping[str, Any]", metadata).get("created_at") if metadata else None
    graph = Graph(kind_named(table.get("graph_type", "directed")))
    graph.created_at = made if isinstance(made, str) else None
    for node in _tables(table.get("nodes"), "nodes"):
        graph.add_node(_id(node, "id"), _text(node, "label"), node.get("data"))
    for edge in _tables(table.get("edges"), "edges"):
        source, target = _id(edge, "from"), _id(edge, "to")
        for end in (source, target):
            if end not in graph.nodes:
                raise ValidationError(f"Edge references non-existent node: '{end}'", field="graph")
        weight = _weight(edge.get("weight"))
        graph.add_edge(Edge(source, target, _text(edge, "label"), weight, edge.get("data")))
    return graph


def _tables(value: Any, name: str) -> Iterable[Mapping[str, Any]]:
    # An empty Lua table arrives as an empty object.
    items: list[Any] = [] if value is None or value == {} else value
    if not isinstance(value, list) and items:
        raise ValidationError(f"Invalid graph: '{name}' must be an array", field="graph")
    for item in items:
        if not isinstance(item, Mapping):
            raise ValidationError(f"Invalid graph: '{name}' must hold tables", field="graph")
        yield cast("Mapping[str, Any]", item)


def _id(table: Mapping[str, Any], name: str) -> str:
    value = table.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValidationError(
            f"Invalid graph: '{name}' must be a text, not {value!r}", field="graph"
        )
    return str(value)


def _text(table: Mapping[str, Any], name: str) -> str | None:
    value = table.get(name)
    return None if value is None else str(value)


def _weight(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValidationError(f"Invalid graph: '{value}' is no weight", field="weight")
    return value


# Analysis ------------------------------------------------------------------------------------


def analysis(graph: Graph) -> dict[str, Any]:
    """What is known of the graph as a whole."""
    count = len(graph.nodes)
    degrees = dict.fromkeys(graph.nodes, 0)
    for edge in graph.edges:
        degrees[edge.source] += 1
        degrees[edge.target] += 1
    parts = components(graph)
    return {
        "node_count": count,
        "edge_count": len(graph.edges),
        "graph_type": graph.kind,
        "density": _density(graph),
        "degree_statistics": {
            "max_degree": max(degrees.values(), default=0),
            "min_degree": min(degrees.values(), default=0),
            "average_degree": sum(degrees.values()) / count if count else 0.0,
        },
        "properties": {
            "is_empty": not graph.edges,
            "is_complete": _is_complete(graph),
            "has_self_loops": any(edge.source == edge.target for edge in graph.edges),
            "is_connected": len(parts) == 1,
            "has_cycles": has_cycles(graph, len(parts)),
        },
        "components": parts,
        "node_ids": list(graph.nodes),
    }


def _pairs(graph: Graph) -> set[tuple[str, str]]:
    """The pairs of different nodes that are joined; in an undirected graph, each once."""
    joined = {(e.source, e.target) for e in graph.edges if e.source != e.target}
    return joined if graph.directed else {(min(pair), max(pair)) for pair in joined}


def _possible(graph: Graph) -> int:
    count = len(graph.nodes)
    return count * (count - 1) if graph.directed else count * (count - 1) // 2


def _density(graph: Graph) -> float:
    possible = _possible(graph)
    return len(graph.edges) / possible if possible else 0.0


def _is_complete(graph: Graph) -> bool:
    return len(graph.nodes) > 0 and len(_pairs(graph)) == _possible(graph)


def components(graph: Graph) -> list[list[str]]:
    """The groups of nodes that hang together, whatever the direction of edges; the largest
    first.
    """
    joined: dict[str, list[str]] = {node: [] for node in graph.nodes}
    for edge in graph.edges:
        joined[edge.source].append(edge.target)
        joined[edge.target].append(edge.source)
    groups: list[list[str]] = []
    seen: set[str] = set()
    for start in graph.nodes:
        if start in seen:
            continue
        seen.add(start)
        group = [start]
        for node in group:
            for other in joined[node]:
                if other not in seen:
                    seen.add(other)
                    group.append(other)
        groups.append(group)
    return sorted(groups, key=len, reverse=True)


def has_cycles(graph: Graph, parts: int) -> bool:
    """Whether one can come back to where one was, using no edge twice."""
    if not graph.directed:
        # A forest has as many edges as nodes, less one for each of its trees.
        return len(graph.edges) > len(graph.nodes) - parts
    waiting = dict.fromkeys(graph.nodes, 0)
    following: dict[str, list[str]] = {node: [] for node in graph.nodes}
    for edge in graph.edges:
        waiting[edge.target] += 1
        following[edge.source].append(edge.target)
    free = [node for node, count in waiting.items() if count == 0]
    for node in free:
        for other in following[node]:
            waiting[other] -= 1
            if waiting[other] == 0:
                free.append(other)
    return len(free) < len(graph.nodes)


def shortest_path(graph: Graph, source: str, target: str) -> dict[str, Any]:
    """``{path, length, hops}`` by weight (1 where there is none); the path is null where there
    is no way.

    Raises:
        NotFoundError: for a node that is not there.
        ValidationError: for negative weights.
    """
    for role, node in (("Source", source), ("Target", target)):
        if node not in graph.nodes:
            raise NotFoundError(f"{role} node '{node}' does not exist")
    ways = _ways(graph)
    best: dict[str, float] = {source: 0.0}
    before: dict[str, str] = {}
    queue: list[tuple[float, str]] = [(0.0, source)]
    done: set[str] = set()
    while queue:
        length, node = heapq.heappop(queue)
        if node == target:
            break
        if node in done:
            continue
        done.add(node)
        for other, weight in ways[node]:
            if length + weight < best.get(other, math.inf):
                best[other] = length + weight
                before[other] = node
                heapq.heappush(queue, (best[other], other))
    if target not in best:
        return {"path": None, "length": None, "hops": None}
    path = [target]
    while path[-1] != source:
        path.append(before[path[-1]])
    return {"path": path[::-1], "length": best[target], "hops": len(path) - 1}


def _ways(graph: Graph) -> dict[str, list[tuple[str, float]]]:
    ways: dict[str, list[tuple[str, float]]] = {node: [] for node in graph.nodes}
    for edge in graph.edges:
        weight = 1.0 if edge.weight is None else edge.weight
        if weight < 0:
            raise ValidationError(
                "A shortest path needs weights that are not negative", field="weight"
            )
        ways[edge.source].append((edge.target, weight))
        if not graph.directed:
            ways[edge.target].append((edge.source, weight))
    return ways

"""How the outcomes of retrieval are kept in the run ledger."""

from __future__ import annotations

from typing import Any

from llmspell_core import Codec, IngestReport, Passage, VectorStats


def _report_to_dict(report: IngestReport) -> dict[str, Any]:
    return {name: getattr(report, name) for name in IngestReport.__slots__}


def _report_of(record: dict[str, Any]) -> IngestReport:
    made = dict(record)
    for name in ("document_ids", "chunk_ids"):
        made[name] = tuple(record[name])
    made["failed"] = tuple((source, reason) for source, reason in record["failed"])
    return IngestReport(**made)


def _passages_to_list(passages: list[Passage]) -> list[dict[str, Any]]:
    return [{name: getattr(p, name) for name in Passage.__slots__} for p in passages]


def _passages_of(records: list[dict[str, Any]]) -> list[Passage]:
    return [Passage(**record) for record in records]


def _stats_to_dict(stats: VectorStats) -> dict[str, Any]:
    return {name: getattr(stats, name) for name in VectorStats.__slots__}


def _stats_of(record: dict[str, Any]) -> VectorStats:
    made = dict(record)
    made["collections"] = tuple(record["collections"])
    return VectorStats(**made)


REPORT: Codec[IngestReport] = Codec(_report_to_dict, _report_of)
PASSAGES: Codec[list[Passage]] = Codec(_passages_to_list, _passages_of)
STATS: Codec[VectorStats] = Codec(_stats_to_dict, _stats_of)

"""What is to be known of a collection, whether its calls block or are awaited."""

from __future__ import annotations

import inspect
from typing import Any

from ._mongo_documents import Call
from .mongo import UnusableCollectionError

__all__ = [
    "answer_of",
    "is_async",
    "is_sync",
    "location_of",
    "may_fail",
    "target_of",
    "usable",
]


def is_async(given: Any) -> bool:
    """Whether a getter is awaited: it gives an async collection."""
    return inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(
        getattr(given, "__call__", None)  # noqa: B004
    )


def is_sync(given: Any) -> bool:
    """Whether a getter is called, and gives a collection that blocks."""
    return not is_async(given)


def usable(collection: Any, is_awaited: bool) -> Any:
    """Give the collection with the options that the format asks for.

    Raises
    ------
    UnusableCollectionError
        It is none, or one of the other kind.

    """
    find_one = getattr(collection, "find_one", None)
    # PyMongo's client and database have any attribute: a collection of that name.
    if not callable(find_one) or hasattr(find_one, "find_one"):
        raise UnusableCollectionError(
            f"the mongetter gave no collection but {type(collection).__name__}\n"
            "  fix: return for instance MongoClient(...)['database']['cache']"
        )
    if not is_awaited and _is_awaited(collection):
        raise UnusableCollectionError(
            "the mongetter of a sync function gave an async collection\n"
            "  fix: return one of a pymongo.MongoClient"
        )
    if is_awaited and not _is_awaited(collection):
        raise UnusableCollectionError(
            "the mongetter of a coroutine function gave a sync collection\n"
            "  fix: return one of a pymongo.AsyncMongoClient, or of Motor"
        )
    if not hasattr(collection, "with_options"):
        return collection
    from bson.codec_options import DEFAULT_CODEC_OPTIONS
    from pymongo import ReadPreference, WriteConcern

    written = collection.write_concern
    if not written.acknowledged or not written.document:
        written = WriteConcern("majority")
    try:
        return collection.with_options(
            codec_options=DEFAULT_CODEC_OPTIONS,
            read_preference=ReadPreference.PRIMARY,
            write_concern=written,
        )
    except NotImplementedError:  # a fake
        return collection


def _is_awaited(collection: Any) -> bool:
    made_by = type(collection).__module__.partition(".")[0]
    return made_by == "motor" or inspect.iscoroutinefunction(collection.find_one)


def target_of(collection: Any, call: Call) -> Any:
    """Give the method to be called."""
    if call.method == "command":
        return collection.database.command
    return getattr(collection, call.method)


def may_fail(call: Call, error: Exception) -> bool:
    """Whether there is an answer nevertheless: None."""
    names = {each.__name__ for each in type(error).__mro__}
    if call.may_fail:
        # The server has said no; of outages nobody is told here.
        return "OperationFailure" in names and not names & {
            "ExecutionTimeout",
            "WTimeoutError",
        }
    return "DuplicateKeyError" in names and call.method in ("insert_one", "update_one")


def answer_of(call: Call, result: Any) -> Any:
    """Give what is asked of a result: a document, or how many were changed."""
    if call.method == "update_one":
        return result.matched_count or int(result.upserted_id is not None)
    if call.method == "insert_one":
        return True
    if call.method == "update_many":
        return result.modified_count
    if call.method == "delete_many":
        return result.deleted_count
    return result


def location_of(collection: Any) -> str:
    """Say where a collection is."""
    try:
        database = collection.database
        # What a client calls its address is asked for, and waited for.
        servers = database.client.topology_description.server_descriptions()
        where = ",".join(sorted(f"{host}:{port}" for host, port in servers))
        return f"mongodb://{where}/{database.name}.{collection.name}"
    except Exception:
        return "mongodb"

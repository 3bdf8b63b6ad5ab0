"""Use HOSHINA from Python: pull queues, label, push embeddings and predictions, retrain and export."""

from hoshina_client.dataset import Class, Dataset
from hoshina_client.errors import Conflict, ConflictingDecision, HoshinaError, JobFailed, Refused, Unreachable
from hoshina_client.items import Item, Items, Prediction
from hoshina_client.jobs import Job
from hoshina_client.labels import Saved
from hoshina_client.server import Server, connect

__all__ = [
    "Class",
    "Conflict",
    "ConflictingDecision",
    "Dataset",
    "HoshinaError",
    "Item",
    "Items",
    "Job",
    "JobFailed",
    "Prediction",
    "Refused",
    "Saved",
    "Server",
    "Unreachable",
    "connect",
]
__version__ = "0.1.0"

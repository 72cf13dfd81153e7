"""Runs that MLflow tracked, without MLflow: its files, its SQLite database, its server's REST API."""

from etesian.bench.importers.mlflow.read import read_mlflow

__all__ = ["read_mlflow"]

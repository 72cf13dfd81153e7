"""Runs that MLflow tracked, without MLflow: its files, its SQLite database, its server's REST API."""

from etesian.bench.io.importers.mlflow.read import read_mlflow

__all__ = ["read_mlflow"]

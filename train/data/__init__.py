"""Datasets: recordings, chat logs and public data to Parquet shards with labels."""

"""Baselines that KuaiHL is compared with."""
